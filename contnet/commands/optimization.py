"""From a configuration to the optimizer of a network and its learning-rate schedule."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer

from contnet.commands.instantiate import check_kind, factory
from contnet.training.optimizer import parameter_groups


def optimizer(options: DictConfig) -> Callable[[nn.Module], Optimizer]:
    """Return a function that makes the optimizer of a network's parameters.

    When the optimizer loads a state, it keeps its own settings, such as learning rate and weight
    decay. PyTorch would replace them by those of the state. So a run can be resumed with other
    settings.
    """
    decay_all = options.get("decay_norm_and_bias", True)
    others = [str(key) for key in options if key != "decay_norm_and_bias"]
    build = factory("optimizer", OmegaConf.masked_copy(options, others))

    def make(network: nn.Module) -> Optimizer:
        made: Optimizer = build(parameter_groups(network, decay_norm_and_bias=decay_all))
        check_kind("optimizer", options, made, Optimizer, "an optimizer of PyTorch")
        made.register_load_state_dict_pre_hook(_with_settings_of)
        return made

    return make


def _with_settings_of(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return a state to load, with the settings of the optimizer in place of its own."""
    groups = zip(optimizer.param_groups, state["param_groups"], strict=True)
    settings = [{**made, "params": saved["params"]} for made, saved in groups]
    return {**state, "param_groups": settings}


def schedule(config: DictConfig) -> Callable[..., dict[str, Any]]:
    """Return a function that makes the learning-rate schedule of an optimizer.

    Its arguments are the optimizer and the number of its steps in an epoch.
    """
    build = factory("lr_schedule", config.lr_schedule)

    def make(optimizer: Optimizer, *, steps_per_epoch: int) -> dict[str, Any]:
        made: dict[str, Any] = build(
            optimizer, epochs=config.epochs, steps_per_epoch=steps_per_epoch
        )
        return made

    return make
