"""The state of a training in a checkpoint: does it fit the run that is to be resumed?

Lightning, the optimizer and the callbacks load their parts without a look at them, and a wrong part
fails much later, or not at all. So each part is compared with that of a new run: equal keys, equal
shapes.
"""

from typing import Any

from omegaconf import DictConfig
from pytorch_lightning import Trainer
from torch import Tensor, nn

from contnet.commands.optimization import optimizer
from contnet.errors import ConfigError
from contnet.metrics import Score
from contnet.runs.checkpoint import PREFIX, Record

FITTED = "fit_loop"
"""The loop of Lightning that trains."""


def check_training_state(
    checkpoint: dict[str, Any], config: DictConfig, network: nn.Module, trainer: Trainer
) -> None:
    """Check the parts of a checkpoint that a run takes over when it is resumed.

    Args:
        checkpoint: a checkpoint that follows the schema.
        config: the configuration to resume with.
        network: the network with the weights of the checkpoint; it may be changed.
        trainer: the Trainer of the run.

    Raises:
        ConfigError: if a part does not fit.
    """
    weights = {f"{PREFIX}{name}": value for name, value in network.state_dict().items()}
    _compare("state_dict", checkpoint["state_dict"], weights)
    if "current_model_state" in checkpoint:
        _compare("current_model_state", checkpoint["current_model_state"], weights)
        average = checkpoint.get("averaging_state", {})
        _require(list(average) == ["n_averaged"], "averaging_state", "n_averaged alone")
        _require(average["n_averaged"].numel() == 1, "averaging_state.n_averaged", "one number")
    _check_loops(checkpoint, trainer)
    _check_position(checkpoint)
    _require(len(checkpoint["optimizer_states"]) == 1, "optimizer_states", "a list of one")
    _require(len(checkpoint["lr_schedulers"]) == 1, "lr_schedulers", "a list of one")
    epochs = checkpoint["lr_schedulers"][0].get("epochs", 0)
    _require(epochs <= checkpoint["epoch"] + 1, "lr_schedulers[0].epochs", "no more than are done")
    _check_optimizer(checkpoint["optimizer_states"][0], config.optimizer, network)


def _require(allowed: bool, place: str, what: str) -> None:
    if not allowed:
        raise ConfigError(
            f"ckpt_path must be the checkpoint of such a run; its {place} is not {what}"
        )


def _compare(place: str, found: Any, expected: Any) -> None:
    """Compare a part of a checkpoint with that of a new run: keys, kinds and shapes."""
    if isinstance(expected, dict):
        _require(isinstance(found, dict), place, "a dictionary")
        other = sorted(set(found) ^ set(expected))
        _require(not other, place, f"that of this network: only one of them has {other[:1]}")
        for key, value in expected.items():
            _compare(f"{place}.{key}", found[key], value)
    elif isinstance(expected, Tensor):
        shape = tuple(expected.shape)
        fits = isinstance(found, Tensor) and tuple(found.shape) == shape
        _require(fits, place, f"a tensor of shape {shape}")
    else:
        _require(type(found) is type(expected), place, f"a {type(expected).__name__}")


def _check_loops(checkpoint: dict[str, Any], trainer: Trainer) -> None:
    expected = trainer.fit_loop.state_dict()
    loops = checkpoint["loops"]
    _require(FITTED in loops, "loops", "that of a training")
    found = {**loops[FITTED]}
    state = found.pop("state_dict", {})
    loader = state.get("combined_loader", []) if isinstance(state, dict) else None
    fits = isinstance(loader, list) and all(
        isinstance(one, dict) and type(one.get("n_batches")) is int for one in loader
    )
    _require(
        fits and len(loader or []) <= 1, "loops.fit_loop.state_dict", "the place in one loader"
    )
    expected.pop("state_dict")
    _compare("loops.fit_loop", found, expected)
    epochs = found["epoch_progress"]["current"].values()
    is_near = all(0 <= count - checkpoint["epoch"] <= 1 for count in epochs)
    _require(is_near, "loops.fit_loop.epoch_progress", f"at epoch {checkpoint['epoch']}")


def _check_position(checkpoint: dict[str, Any]) -> None:
    record = Record.of(checkpoint)
    (expected,) = Score(len(record.classes)).gathered()
    for rank, found in enumerate(record.position or []):
        _compare(f"contnet.position[{rank}]", found, expected)


def _check_optimizer(state: dict[str, Any], options: DictConfig, network: nn.Module) -> None:
    """Compare the state of an optimizer with that of a new one after a step with gradients of 0."""
    made = optimizer(options)(network)
    groups = [len(group["params"]) for group in made.param_groups]
    found = [len(group["params"]) for group in state["param_groups"]]
    _require(found == groups, "optimizer_states[0].param_groups", f"of {groups} parameters")
    if not str(options._target_).startswith("torch.optim."):
        return  # an optimizer of the user's own may keep what it likes
    for parameter in network.parameters():
        parameter.grad = parameter.detach().clone().zero_()
    made.step(lambda: 0.0)
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    expected = made.state_dict()["state"]
    place = "optimizer_states[0].state"
    _require(set(state["state"]) <= set(numbers), place, "that of its parameters")
    for index, number in enumerate(numbers):
        if number in state["state"]:
            kept = state["state"][number]
            if {"momentum_buffer": None} in (kept, expected[index]):
                continue  # momentum was 0, or is now
            _compare(f"{place}.{number}", kept, expected[index])
