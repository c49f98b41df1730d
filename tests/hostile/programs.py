"""Files whose pickle stream is a program: it calls something, never ends, or asks for memory."""

import builtins
import functools
import importlib
import operator
import os
import pickle
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import torch

from tests.hostile.crafting import (
    CANARY,
    OWNED,
    SHELL,
    Call,
    Crafted,
    Good,
    archived,
    put,
    saved,
    with_object,
    with_stream,
)

CALLS: dict[str, tuple[str, Any, tuple[Any, ...]]] = {
    "a_shell": ("contnet/classes", os.system, (SHELL,)),
    "a_shell_for_a_weight": ("state_dict/network.head.linear.bias", os.system, (SHELL,)),
    "a_shell_for_momenta": ("optimizer_states/0/state/0/momentum_buffer", os.system, (SHELL,)),
    "a_shell_for_a_callback": ("callbacks/Throughput", os.system, (SHELL,)),
    "a_shell_for_a_loop": ("loops/fit_loop", os.system, (SHELL,)),
    "a_process": ("contnet/config/dataset", subprocess.run, (("touch", OWNED),)),
    "eval": ("contnet/config", eval, (f"open({OWNED!r}, 'w')",)),
    "exec": ("lr_schedulers", exec, (f"open({OWNED!r}, 'w')",)),
    "a_partial_function": ("contnet/depth", functools.partial, (os.system, SHELL)),
    "a_method_by_name": ("contnet", operator.methodcaller, ("touch",)),
    "an_attribute": ("contnet/classes", getattr, (Path, "touch")),
    "an_import": ("contnet/classes", importlib.import_module, ("this",)),
    "a_path_that_is_touched": ("epoch", Path.touch, (Path(OWNED),)),
    "a_file_that_is_written": ("epoch", builtins.open, (CANARY, "w")),
    "a_folder_that_is_removed": ("epoch", shutil.rmtree, (".",)),
    "another_file": ("state_dict", torch.load, (CANARY,)),
    "a_variable_of_the_environment": ("contnet/classes", os.getenv, ("SECRET",)),
    "an_exit": ("contnet", exit, (0,)),
    "an_exit_at_once": ("contnet", os._exit, (0,)),
    "an_abort": ("contnet", os.abort, ()),
    "a_long_sleep": ("contnet", time.sleep, (10**6,)),
    "memory": ("contnet/classes", bytearray, (10**12,)),
    "many_numbers": ("contnet/classes", range, (10**12,)),
    "a_large_tensor": ("state_dict/network.head.linear.bias", torch.zeros, ((10**12,),)),
}
"""Calls, by what they want: the place in the tree, a function and its arguments."""


def _calling(place: str, function: Any, arguments: tuple[Any, ...]) -> Crafted:
    return lambda good: saved(put(good.tree(), place, Call(function, arguments)))


def asks_the_server(good: Good) -> bytes:
    call = Call(urllib.request.urlopen, (good.url,))
    return saved(put(good.tree(), "contnet/classes", call))


def calls_as_a_plain_pickle(good: Good) -> bytes:
    return pickle.dumps(Call(os.system, (SHELL,)))


def calls_before_an_archive(good: Good) -> bytes:
    return pickle.dumps(Call(os.system, (SHELL,))) + good.content


def calls_after_an_archive(good: Good) -> bytes:
    return good.content + pickle.dumps(Call(os.system, (SHELL,)))


def is_a_compiled_module(good: Good) -> bytes:
    """Return an archive that torch.load hands to the interpreter of TorchScript."""
    entries = {"archive/constants.pkl": b"\x80\x02).", "archive/code/__torch__.py": b"import os"}
    return archived({**good.entries(), **entries})


def _text(value: str) -> bytes:
    return pickle.BINUNICODE + len(value.encode()).to_bytes(4, "little") + value.encode()


SYSTEM = b"cposix\nsystem\n"
SHELL_TUPLE = _text(SHELL) + pickle.TUPLE1

OPCODES: dict[str, bytes] = {
    "calls_with_inst": b"(" + _text(SHELL) + b"iposix\nsystem\n",
    "calls_with_obj": b"(" + SYSTEM + _text(SHELL) + b"o",
    "calls_with_newobj": SYSTEM + SHELL_TUPLE + pickle.NEWOBJ,
    "calls_with_newobj_ex": SYSTEM + SHELL_TUPLE + b"}" + pickle.NEWOBJ_EX,
    "calls_a_name_from_the_stack": _text("posix")
    + _text("system")
    + pickle.STACK_GLOBAL
    + SHELL_TUPLE
    + b"R",
    "calls_an_extension": pickle.EXT1 + b"\x01" + SHELL_TUPLE + b"R",
    "calls_what_a_tensor_is_made_of": b"ctorch._utils\n_rebuild_tensor_v2\n" + SHELL_TUPLE + b"R",
    "calls_a_parameter_s_state": b"ctorch._utils\n_rebuild_parameter_with_state\n"
    + SHELL_TUPLE
    + b"R",
    "makes_a_quantized_tensor": b"ctorch._utils\n_rebuild_qtensor\n" + SHELL_TUPLE + b"R",
    "calls_a_storage": b"ctorch\nFloatStorage\n" + pickle.LONG1 + b"\x06\0\0\0\0\0\x10)\x85R",
    "calls_through_a_dotted_name": b"ctorch._utils\nos.system\n" + SHELL_TUPLE + b"R",
    "calls_a_torch_function": b"ctorch.serialization\nload\n" + SHELL_TUPLE + b"R",
    "sets_attributes_of_a_dictionary": b"ccollections\nOrderedDict\n)R}"
    + _text("__class__")
    + SYSTEM
    + b"sb",
    "sets_state_of_a_function": SYSTEM + b"}b",
    "asks_for_a_persistent_file": pickle.PERSID + b"/etc/passwd\n",
    "asks_for_a_storage_that_is_a_path": b"("
    + _text("storage")
    + b"ctorch\nFloatStorage\n"
    + _text("../../canary")
    + _text("cpu")
    + b"K\x04tQ",
    "is_a_list_in_itself": b"]q\0h\0a",
    "is_a_dictionary_in_itself": b"}q\0" + _text("a") + b"h\0s",
    "doubles_a_list_forty_times": b"]" + b"".join(b"q\0](h\0h\0e" for _ in range(40)),
    "hashes_a_tuple_that_doubles": b"}K\x01" + b"q\x01h\x01\x86" * 60 + b"Ns",
    "has_a_long_integer": pickle.LONG4 + (10**6).to_bytes(4, "little") + b"\x7f" * 10**6,
    "has_an_integer_of_255_bytes": pickle.LONG1 + b"\xff" + b"\x7f" * 255,
    "has_an_integer_of_many_digits": b"I" + b"9" * 10**6 + b"\n",
    "remembers_at_a_large_number": b"]" + pickle.LONG_BINPUT + b"\xff\xff\xff\xff",
    "announces_a_string_of_4_gb": pickle.BINUNICODE + b"\xff\xff\xff\xff" + b"a",
    "announces_a_string_of_2_to_63_bytes": pickle.BINUNICODE8 + b"\xff" * 7 + b"\x7f" + b"a",
    "announces_a_frame_of_2_to_63_bytes": pickle.FRAME + b"\xff" * 7 + b"\x7f" + b"N",
    "is_nested_100000_deep": b"]" * 10**5 + b"a" * (10**5 - 1),
    "takes_from_an_empty_stack": b"000",
    "ends_in_a_mark": b"(((",
    "recalls_what_was_never_there": b"h\x07",
    "has_text_that_is_no_utf_8": pickle.BINUNICODE + b"\x02\0\0\0\xff\xfe",
    "has_text_with_half_a_surrogate": pickle.BINUNICODE + b"\x03\0\0\0\xed\xa0\x80",
    "has_an_unknown_instruction": b"\xf7",
}
"""Programs that take the place of the classes' names."""


FILES: dict[str, Crafted] = {
    **{f"calls_{name}": _calling(*call) for name, call in CALLS.items()},
    **{name: with_object(code) for name, code in OPCODES.items()},
    "is_only_a_call": with_stream(SYSTEM + SHELL_TUPLE + b"R."),
    "has_an_empty_stream": with_stream(b""),
    "has_a_stream_without_an_end": with_stream(b"}q\0"),
    "goes_on_after_its_end": lambda good: with_stream(good.stream()[2:] + SYSTEM)(good),
    "stops_twice": lambda good: with_stream(good.stream()[2:] + SYSTEM + SHELL_TUPLE + b"R.")(good),
    "has_two_million_instructions": with_stream(b"N0" * 10**6 + b"N."),
    "is_of_a_newer_protocol": lambda good: archived(
        {**good.entries(), "archive/data.pkl": b"\x80\x05" + good.stream()[2:]}
    ),
    "asks_the_server": asks_the_server,
    "calls_as_a_plain_pickle": calls_as_a_plain_pickle,
    "calls_before_an_archive": calls_before_an_archive,
    "calls_after_an_archive": calls_after_an_archive,
    "is_a_compiled_module": is_a_compiled_module,
}
"""The files of this module, by what each one does."""
