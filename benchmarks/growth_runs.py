"""The trainings of benchmarks.growth: shallow ones, grown ones that start from them, deep ones."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.rows import run_to_its_end
from contnet.commands.grammar import override_of
from contnet.commands.recorded import recorded_overrides
from contnet.errors import ConfigError
from contnet.runs.folder import LAST, RESULT

BRANCHES = "branches"
"""The folder of the checkpoints that a shallow run leaves after every epoch."""

CHECKPOINTS = (
    "+callbacks.branches={{_target_: pytorch_lightning.callbacks.ModelCheckpoint, "
    "dirpath: '{folder}', filename: '{{epoch}}', save_top_k: -1, save_on_train_epoch_end: true, "
    "auto_insert_metric_name: false}}"
)


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

        A run that was stopped goes on from its last checkpoint.
        """
        last = self.folder / LAST
        self._check()
        if not (self.folder / RESULT).exists():
            start = last if last.exists() else self.start
            resume = [override_of("ckpt_path", start.resolve())] if start else []
            print(f"{self.side}, seed {self.seed}", flush=True)
            folder = override_of("hydra.run.dir", self.folder.resolve())
            run_to_its_end([*self.overrides, f"seed={self.seed}", *resume, folder])
        result: dict[str, Any] = json.loads((self.folder / RESULT).read_text())
        return result

    def _check(self) -> None:
        """Raise ConfigError if the folder holds a run with other overrides."""
        if not any((self.folder / file).exists() for file in (RESULT, LAST)):
            return
        used = recorded_overrides(self.folder, {"ckpt_path", "seed"}, lambda name: False)
        if sorted(used) != sorted(self.overrides):
            raise ConfigError(
                f"--output must be another folder: {self.folder} holds a run with other overrides "
                f"than {' '.join(self.overrides)}"
            )


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
    keep = CHECKPOINTS.format(folder=(made.folder / BRANCHES).resolve())
    return replace(made, overrides=[*made.overrides, f"lr_schedule.decay={decay}", keep])


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
    start = parent.folder / BRANCHES / f"{shared - 1}.ckpt" if shared else None
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
