"""The trainings of benchmarks.growth: shallow ones, grown ones that start from them, deep ones."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.rows import holds_another_run, trained
from contnet.errors import ConfigError
from contnet.runs.folder import LAST

EVERY_EPOCH = (
    "callbacks.best.filename='{epoch}'",
    "callbacks.best.monitor=null",
    "callbacks.best.save_top_k=-1",
    "+callbacks.best.save_on_train_epoch_end=true",
    "+callbacks.best.auto_insert_metric_name=false",
)
"""What makes the callback of the best checkpoint keep all of them.

A callback of the study's own, or another folder, is what the record of a run may not repeat.
"""


@dataclass(frozen=True)
class Plan:
    """A point of the grid: when a network grows, and how.

    Args:
        at: the share of the run at which it grows.
        to: the nodes that it grows to.
        epsilon: `keep` or `grow`.
        decay: the share of the run over which the learning rate falls.
        shape: the shape of that fall.
        more: further overrides.
    """

    at: float
    to: int
    epsilon: str
    decay: float
    shape: str
    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = f"at {self.at:g}, to {self.to}, {self.epsilon}, decay {self.decay:g} {self.shape}"
        return " ".join([name, *self.more])


@dataclass(frozen=True)
class Training:
    """One run in a folder of its own.

    Args:
        side: the plan of a grown network as text, or the nodes of one that does not grow.
        seed: the seed.
        folder: the folder of the run.
        overrides: its overrides.
        start: the checkpoint that it starts from, if it starts from one.
        phases: pairs of a share of the epochs of the grid, and the nodes in this time.
    """

    side: str
    seed: int
    folder: Path
    overrides: list[str]
    phases: tuple[tuple[float, int], ...]
    start: Path | None = None

    def train(self) -> dict[str, Any]:
        """Train to the end, unless that is done, and return the result.

        Raises:
            ConfigError: if the run fails, or the folder holds a run with other overrides.
        """
        options = [*self.overrides, f"seed={self.seed}"]
        title = f"{self.side}, seed {self.seed}"
        # A record may not repeat what names files; this name is the same in every study.
        if holds_another_run(self.folder, options, "callbacks.best.filename"):
            raise ConfigError(
                f"--output must be another folder: {self.folder} holds a run with other overrides "
                f"than {' '.join(self.overrides)}"
            )
        result = trained(self.folder, options, title, self.start)
        if result is None:
            raise ConfigError(f"{title} failed")
        return result


def throughout(
    common: list[str], n_basis: int, epochs: int, of: int, seed: int, out: Path
) -> Training:
    """Return the training of a network that has as many nodes from start to end.

    Args:
        common: overrides of all trainings.
        n_basis: the nodes.
        epochs: length of the run.
        of: length of the grown runs.
        seed: the seed.
        out: the folder of the study.
    """
    overrides = [*common, f"model.initial_time_d={n_basis}", f"epochs={epochs}"]
    folder = out / f"{n_basis}-throughout-{epochs}" / str(seed)
    side = f"{n_basis} node{'s' * (n_basis > 1)} throughout"
    return Training(side, seed, folder, overrides, ((epochs / of, n_basis),))


def shallow(common: list[str], epochs: int, decay: float, seed: int, out: Path) -> Training:
    """Return the training of one node throughout, which keeps a checkpoint after every epoch."""
    made = throughout(common, 1, epochs, epochs, seed, out / f"decay-{decay:g}")
    more = [f"lr_schedule.decay={decay}", *EVERY_EPOCH]
    return replace(made, overrides=[*made.overrides, *more])


def grown(common: list[str], plan: Plan, epochs: int, parent: Training, out: Path) -> Training:
    """Return the training of a network that grows, from the last checkpoint before its plan parts.

    Args:
        common: overrides of all trainings.
        plan: when it grows, how far, and how.
        epochs: length of the run.
        parent: the shallow training, whose learning rate is stable for as long as that of any plan.
        out: the folder of the study.
    """
    shared = math.floor(round(epochs * min(plan.at, 1 - plan.decay), 9))
    start = parent.folder / LAST.with_name(f"{shared - 1}.ckpt") if shared else None
    overrides = [
        *common,
        "model.initial_time_d=1",
        f"epochs={epochs}",
        f"refine.at=[{plan.at}]",
        f"refine.to=[{plan.to}]",
        f"refine.epsilon={plan.epsilon}",
        f"lr_schedule.decay={plan.decay}",
        f"lr_schedule.shape={plan.shape}",
        *plan.more,
    ]
    name = str(plan).replace(", ", "_").replace(" ", "-").replace("=", "-")
    phases = ((plan.at, 1), (1 - plan.at, plan.to))
    return Training(str(plan), parent.seed, out / name / str(parent.seed), overrides, phases, start)
