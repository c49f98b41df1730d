"""Rules: the values that the keys of train.py's configuration may have.

They cover keys that are passed to constructors of PyTorch and Lightning, and keys that decide what
is built. Constructors of this package check their own arguments.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from contnet import arguments
from contnet.commands.failures import config_errors
from contnet.errors import ConfigError
from contnet.ode.bases import BASES
from contnet.ode.gradient import GRADIENTS
from contnet.ode.schemes import CONTROLS, scheme_names
from contnet.runs.network_schema import MOST_STEPS

Rule = Callable[[str, Any], Any]
"""A function of a key's name and value that raises ValueError if the value is not allowed."""

at_least_0: Rule = partial(arguments.number, minimum=0)
above_0: Rule = partial(arguments.number, minimum=0, exclusive=True)
positive_integer: Rule = partial(arguments.integer, minimum=1)
share: Rule = partial(arguments.number, minimum=0, below=1)


def _zero(name: str, value: Any) -> None:
    if value:
        raise ValueError(
            f"{name} must be 0, got {value!r}; limit_train_batches trains on a part of the images, "
            "and debug=overfit on a few fixed ones"
        )


def _two_shares(name: str, value: Any) -> None:
    if not isinstance(value, ListConfig) or len(value) != 2:
        raise ValueError(f"{name} must be a list of two numbers, got {value!r}")
    for single in value:
        share(name, single)


def _batches(name: str, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (0 < value <= 1 if isinstance(value, float) else value >= 1):
        raise ValueError(
            f"{name} must be a whole number of batches of at least 1, or a share up to 1.0, "
            f"got {value!r}"
        )


def _profiler(name: str, value: Any) -> None:
    if not isinstance(value, DictConfig):
        arguments.one_of(name, value, ["simple", "advanced", "pytorch"])


def _path(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be the path of a checkpoint, got {value!r}")


def _steps(name: str, value: Any) -> None:
    if positive_integer(name, value) > MOST_STEPS:
        raise ValueError(f"{name} must be at most {MOST_STEPS}, got {value}")


def _group(name: str, value: Any) -> None:
    if not isinstance(value, DictConfig):
        raise ValueError(
            f"{name} must be a group of keys, got {value!r}; {name}.epochs=[] turns it off"
        )


RULES: dict[str, Rule] = {
    "epochs": positive_integer,
    "channels_last": arguments.boolean,
    "compile": arguments.boolean,
    "seed": partial(arguments.integer, minimum=0),
    "ckpt_path": _path,
    "refine": _group,
    "model.basis": partial(arguments.one_of, allowed=BASES),
    "scheme.name": partial(arguments.one_of, allowed=scheme_names()),
    "model.scheme": partial(arguments.one_of, allowed=scheme_names()),
    "scheme.n_time_steps_per": _steps,
    "model.n_time_steps_per": _steps,
    "model.initial_time_d": _steps,
    "scheme.gradient": partial(arguments.one_of, allowed=GRADIENTS),
    "scheme.rtol": above_0,
    "scheme.max_num_steps": positive_integer,
    "scheme.atol": above_0,
    "scheme.control": partial(arguments.one_of, allowed=CONTROLS),
    "optimizer.lr": above_0,
    "optimizer.momentum": share,
    "optimizer.weight_decay": at_least_0,
    "optimizer.betas": _two_shares,
    "optimizer.nesterov": arguments.boolean,
    "optimizer.decay_norm_and_bias": arguments.boolean,
    "label_smoothing": share,
    "trainer.accumulate_grad_batches": positive_integer,
    "trainer.gradient_clip_val": at_least_0,
    "trainer.max_epochs": positive_integer,
    "trainer.limit_train_batches": _batches,
    "trainer.overfit_batches": _zero,
    "trainer.profiler": _profiler,
}

MAY_BE_NULL = {
    "ckpt_path",
    "trainer.profiler",
    "trainer.gradient_clip_val",
    "trainer.limit_train_batches",
}


def check_keys(config: DictConfig) -> None:
    """Check each key that has a rule and is in the configuration.

    Raises:
        ConfigError: if a value is not allowed.
    """
    for key, rule in RULES.items():
        value = OmegaConf.select(config, key, default=...)
        if value is ... or (value is None and key in MAY_BE_NULL):
            continue
        group, _, name = key.rpartition(".")
        with config_errors(group):
            rule(name, value)
    for group in ("callbacks", "logger"):
        for name, node in (config.get(group) or {}).items():
            if node is not None and not (isinstance(node, DictConfig) and "_target_" in node):
                raise ConfigError(
                    f"{group}.{name} must be null, or the name of a class as "
                    f"{group}.{name}._target_, got {node!r}"
                )
    steps = [config.model.get(name, 1) for name in ("initial_time_d", "n_time_steps_per")]
    with config_errors("model"):
        _steps("initial_time_d n_time_steps_per", steps[0] * steps[1])
