"""Which hostile files and folders do no harm, and why: commands may end well on them."""

from tests.hostile import archives, programs, records, sizes
from tests.hostile.crafting import Crafted

FILES: dict[str, Crafted] = {
    **programs.FILES,
    **archives.FILES,
    **records.FILES,
    **sizes.FILES,
}
"""All hostile files, by what each one does."""

READ_ONCE = {
    *("goes_on_after_its_end", "stops_twice", "calls_before_an_archive"),
    *("calls_after_an_archive", "is_a_compiled_module", "holds_its_stream_twice"),
    *("holds_an_archive_in_its_comment", "holds_a_second_archive_behind"),
    *("stands_in_a_longer_file", "has_two_directories", "has_names_of_a_terminal"),
    "has_a_path_upwards",
}
"""There is one parse of the file. What it does not lead to is never read, let alone executed."""

ARE_NUMBERS = {"has_an_integer_weight", "has_a_basis_of_another_kind"}
"""Other numbers, and another basis of one node: the network computes with them."""

NOT_USED = {
    "every_part_that_is_not_built_names_a_shell",
    *("has_a_strategy_of_many_processes", "has_a_tolerance_that_is_no_number"),
    *("has_nothing_for_contnet_config_scheme", "has_nothing_for_contnet_position"),
    *("has_a_list_for_contnet_depth", "has_more_blocks_than_the_network"),
}
"""Neither command uses the part: it is not built, or the network has no such thing."""

NOT_EVALUATED = {
    *("has_a_list_for_optimizer_states", "has_no_loops_fit_loop", "has_an_argument_of_no_network")
}
"""Only training uses the state of a training, and data set and network bring their channels."""

NOT_TRAINED = {
    *records.FILES,
    *(f"has_{name}" for name, (place, _) in sizes.SIZES.items() if place.startswith(sizes.CONFIG)),
}
"""Training resumes with the user's configuration. It builds nothing from that of the file."""

ENDING_WELL = READ_ONCE | ARE_NUMBERS | NOT_USED
"""Files that both commands may end well on."""

LATE = {"all_weights_are_nan", "all_entries_are_one", "has_a_tolerance_of_1e-300"}
"""Numbers that make the computation fail: what is computed until then is saved, as for any run."""

HARMLESS_FOLDERS = {
    "its_record_moves_the_run",  # the typed hydra.run.dir replaces it
    "its_checkpoint_is_a_link",  # a study reads what the link leads to
    "its_record_has_a_batch_of_10_to_12",  # no batch has more images than there are
}
"""Folders on which a command may end well."""


def may_end_well(command: str, name: str) -> bool:
    """Return True if a command may end well on the file or folder of a name."""
    others = NOT_EVALUATED if command == "evaluate" else NOT_TRAINED
    return name in ENDING_WELL | others | HARMLESS_FOLDERS
