"""A comparison: what was found, in groups, and as tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contnet.comparison.evaluations import (
    SETTINGS,
    Network,
    manifestations,
    names_of,
    read_evaluation,
)
from contnet.comparison.files import DamagedError
from contnet.comparison.groups import Group, group, machines_of, obstacles
from contnet.comparison.runs import EVALUATION, LeftOut, find, read
from contnet.comparison.tables import Table
from contnet.runs.folder import RESULT
from contnet.runs.rounding import Figure, shortened, shown

HEADINGS = {
    "test_accuracy": "test accuracy",
    "val_accuracy": "val accuracy",
    "test_loss": "test loss",
    "parameters": "params",
    "train_seconds": "seconds",
    "images_per_second": "images/s",
    "n_f_evals": "evals",
}
"""The figures of a run that a table may show, and the headings of their columns, short as those of
a study."""

FIGURES = tuple(name for name in HEADINGS if name != "test_loss")

MEANING = "mean ± standard deviation over seeds"


@dataclass(frozen=True)
class Comparison:
    """Runs and evaluations beside each other.

    Args:
        shared: the settings that somebody typed and that are equal in all runs.
        groups: the runs, in groups of those that differ in nothing but the seed.
        networks: the networks of the evaluations.
        left_out: the folders that give no figures, and why.
    """

    shared: dict[str, str] = field(default_factory=dict)
    groups: Sequence[Group] = ()
    networks: Sequence[Network] = ()
    left_out: Sequence[LeftOut] = ()

    @property
    def tables(self) -> list[Table]:
        """The tables of the runs and of the evaluations, if there are any."""
        tables = [runs_table(self.shared, self.groups)] if self.groups else []
        return tables + ([networks_table(self.networks)] if self.networks else [])


def compare(names: Sequence[str | Path]) -> Comparison:
    """Read runs and evaluations, and group the runs by the settings in which they differ.

    Args:
        names: folders of runs, sweeps or evaluations, folders around them, or patterns.

    Raises:
        ConfigError: if no run is found, or none at one of the names.
    """
    folders, left_out = find(names)
    runs, networks = [], []
    for folder in folders:
        is_evaluation = (folder / EVALUATION).exists()
        try:
            if is_evaluation:
                networks += read_evaluation(folder)
            if (folder / RESULT).exists() or not is_evaluation:
                runs.append(read(folder))
        except DamagedError as error:
            left_out.append(LeftOut(folder, str(error)))
    shared, groups = group(runs)
    return Comparison(shared, groups, networks, left_out)


def runs_table(
    shared: dict[str, str],
    groups: Sequence[Group],
    names: Sequence[str] = FIGURES,
    best: Group | None = None,
) -> Table:
    """Return the table of groups of runs.

    Args:
        shared: the settings that all runs share.
        groups: the groups, a row each.
        names: the figures to show; those that no run has are left out.
        best: a group to mark, if any.
    """
    settings = list(groups[0].settings)
    columns = [shortened([one.settings[key] for one in groups]) for key in settings]
    machines = machines_of(groups)
    if len(machines) > 1:
        settings.append("machine")
        columns.append(
            [", ".join(str(machines.index(name) + 1) for name in one.machines) for one in groups]
        )
    if best is not None:
        settings.insert(0, "")
        columns.insert(0, ["*" if one is best else "" for one in groups])
    n_settings = len(settings)
    settings.append("runs")
    columns.append([str(len(one.runs)) for one in groups])
    for name in names:
        figures = [one.figure(name) for one in groups]
        if any(figures):
            settings.append(HEADINGS[name])
            columns.append(_cells(groups, figures))
    return Table(
        title=MEANING,
        above=_shared(shared),
        headings=settings,
        n_settings=n_settings,
        rows=list(zip(*columns, strict=True)),
        below=obstacles(groups),
        records=[_record(shared, one, names) for one in groups],
    )


def networks_table(networks: Sequence[Network]) -> Table:
    """Return the table of networks in manifestations, accuracy and latency side by side."""
    rows = manifestations(networks)
    columns = {
        key: [row[i] for row in rows]
        for i, key in enumerate(SETTINGS)
        if len({row[i] for row in rows}) > 1 or key in ("scheme", "steps")
    }
    n_settings = len(columns)
    names = names_of(networks)
    for figure, heading in (("accuracy", "accuracy"), ("latency_ms", "ms")):
        found = [[one.figures.get(row, {}).get(figure) for row in rows] for one in networks]
        singles = [Figure.of([] if v is None else [v]) for column in found for v in column]
        texts = shown(singles)
        for i, (name, network) in enumerate(zip(names, networks, strict=True)):
            marked = [figure == "accuracy" and row in network.trained for row in rows]
            cells = texts[i * len(rows) : (i + 1) * len(rows)]
            columns[f"{name} {heading}"] = [
                f"{cell}{'*' if mark else ''}" for cell, mark in zip(cells, marked, strict=True)
            ]
    return Table(
        title="manifestations of each network: test accuracy, and ms per image",
        above=[],
        headings=list(columns),
        n_settings=n_settings,
        rows=list(zip(*columns.values(), strict=True)),
        below=_below(networks),
        records=[
            {"network": name, **dict(zip(SETTINGS, row, strict=True)), **network.figures[row]}
            for name, network in zip(names, networks, strict=True)
            for row in network.figures
        ],
    )


def _shared(shared: dict[str, str]) -> list[str]:
    return [f"in all runs: {' '.join(f'{k}={v}' for k, v in shared.items())}"] if shared else []


def _below(networks: Sequence[Network]) -> list[str]:
    lines = ["* as trained"]
    if len({network.folder for network in networks}) > 1:
        lines += _machines(networks)
    data = list(dict.fromkeys(network.data for network in networks))
    if len(data) > 1:
        lines.append(f"accuracies on different images are not to be compared: {'; '.join(data)}")
    return lines


def _machines(networks: Sequence[Network]) -> list[str]:
    """Return the lines on machines whose milliseconds are not to be compared."""
    machines = dict.fromkeys(network.machine for network in networks)
    if None in machines:
        return ["ms: the machine of an evaluation is not recorded"]
    if len(machines) == 1:
        return []
    named = zip(names_of(networks), networks, strict=True)
    told = "; ".join(f"{name} on {network.machine}" for name, network in named)
    return [f"ms of different machines are not to be compared: {told}"]


def _cells(groups: Sequence[Group], figures: Sequence[Figure | None]) -> list[str]:
    """Return the texts of a column; a figure of fewer runs than the row has says so."""
    return [
        text if figure is None or figure.n == len(one.runs) else f"{text} (n={figure.n})"
        for text, figure, one in zip(shown(figures), figures, groups, strict=True)
    ]


def _record(shared: dict[str, str], one: Group, names: Sequence[str]) -> dict[str, object]:
    record: dict[str, object] = {**shared, **one.settings, "runs": len(one.runs)}
    record["machine"] = "; ".join(one.machines)
    for name in names:
        figure = one.figure(name)
        if figure is not None:
            record |= {f"{name}_mean": figure.mean, f"{name}_std": figure.deviation}
    return record
