"""Rules for the keys of the configuration."""

from collections.abc import Callable
from functools import partial
from typing import Any

from omegaconf import DictConfig, ListConfig

from contnet import arguments
from contnet.ode.bases import BASES
from contnet.ode.gradient import GRADIENTS
from contnet.ode.schemes import ADAPTIVE_SCHEMES, SCHEMES

Rule = Callable[[str, Any], Any]


at_least_0 = partial(arguments.number, minimum=0)


above_0 = partial(arguments.number, minimum=0, exclusive=True)


def _zero(name: str, value: Any) -> None:
    if value:
        raise ValueError(
            f"{name} must be 0, got {value!r}; limit_train_batches trains on a part of the images"
        )


def _two_shares(name: str, value: Any) -> None:
    if not isinstance(value, ListConfig) or len(value) != 2:
        raise ValueError(f"{name} must be a list of two numbers, got {value!r}")
    for share in value:
        arguments.number(name, share, minimum=0, below=1)


def _batches(name: str, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (0 < value <= 1 if isinstance(value, float) else value >= 1):
        raise ValueError(
            f"{name} must be a whole number of batches of at least 1, or a share up to 1.0, got {value!r}"
        )


def _path(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be the path of a checkpoint, got {value!r}")


def _mapping(name: str, value: Any) -> None:
    if not isinstance(value, DictConfig):
        raise ValueError(f"{name} must keep its keys, got {value!r}")


RULES: dict[str, Rule] = {
    "epochs": partial(arguments.integer, minimum=1),
    "channels_last": arguments.boolean,
    "compile": arguments.boolean,
    "seed": partial(arguments.integer, minimum=0),
    "ckpt_path": _path,
    "refine": _mapping,
    "model.basis": partial(arguments.one_of, allowed=BASES),
    "scheme.name": partial(arguments.one_of, allowed=[*SCHEMES, *ADAPTIVE_SCHEMES]),
    "scheme.n_time_steps_per": partial(arguments.integer, minimum=1),
    "scheme.gradient": partial(arguments.one_of, allowed=GRADIENTS),
    "scheme.rtol": above_0,
    "scheme.atol": above_0,
    "optimizer.lr": above_0,
    "optimizer.momentum": partial(arguments.number, minimum=0, below=1),
    "optimizer.weight_decay": at_least_0,
    "optimizer.betas": _two_shares,
    "optimizer.nesterov": arguments.boolean,
    "optimizer.decay_norm_and_bias": arguments.boolean,
    "label_smoothing": partial(arguments.number, minimum=0, below=1),
    "trainer.accumulate_grad_batches": partial(arguments.integer, minimum=1),
    "trainer.gradient_clip_val": at_least_0,
    "trainer.max_epochs": partial(arguments.integer, minimum=1),
    "trainer.limit_train_batches": _batches,
    "trainer.overfit_batches": _zero,
}


MAY_BE_NULL = {"ckpt_path", "trainer.gradient_clip_val", "trainer.limit_train_batches"}
