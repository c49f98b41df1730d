"""The request of contnet-export: the manifestations that its configuration asks for."""

from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from contnet import arguments
from contnet.commands.failures import config_errors
from contnet.commands.served import called
from contnet.errors import ConfigError
from contnet.export.exporting import Setting
from contnet.invariance.budget import Budget
from contnet.invariance.dial import cheapest, within
from contnet.ode.bases import BASES
from contnet.ode.depth_time import depth_time
from contnet.ode.manifestation import Manifestation
from contnet.ode.projection import project
from contnet.ode.schemes import SCHEMES, scheme_names
from contnet.runs.network_schema import MOST_STEPS
from contnet.serving.loading import file_of, load
from contnet.serving.trained import TrainedNetwork

KEYS = ("scheme", "n_time_steps")

LIMITS = ("budget", "accuracy_loss")


def settings(config: DictConfig) -> list[Setting]:
    """Return the manifestations that a configuration asks for, each once.

    Raises:
        ConfigError: if a value is not allowed, or keys exclude each other.
    """
    with config_errors(""):
        schemes, steps = (_list(key, config.manifestation[key]) for key in KEYS)
        schemes = [one if one is None else _scheme(one) for one in schemes]
        steps = [one if one is None else _steps(one) for one in steps]
        if config.study is None:
            for key in LIMITS:
                if config[key] is not None:
                    raise ConfigError(f"{key} needs study=..., the invariance.json of a study")
            return [Setting(*pair) for pair in dict.fromkeys(product(schemes, steps))]
        for key in KEYS:
            if config.manifestation[key] is not None:
                raise ConfigError(f"{key} must be left out with study, which chooses it")
        return [_setting(_choice(config))]


def loaded(config: DictConfig) -> tuple[str, TrainedNetwork]:
    """Return the file that `ckpt_path` stands for, and the network in it.

    Raises:
        ConfigError: see `contnet.load`.
    """
    with called("ckpt_path"):
        path = file_of(str(config.ckpt_path))
        return path, load(path, config.trust)


def output_folder(config: DictConfig) -> Path:
    """Return the folder of the files, which exists.

    Raises:
        ConfigError: if there cannot be such a folder.
    """
    if config.output is None:
        return Path(config.run_dir)
    folder = arguments.folder("output", config.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"output must be a folder to write to, got {config.output!r}; {error.strerror}"
        ) from error
    return folder


def prepared(network: TrainedNetwork, config: DictConfig, wanted: list[Setting]) -> TrainedNetwork:
    """Return the network to export, in float32, which accepts all settings.

    Raises:
        ConfigError: if it has no ODE blocks and they are needed, or a setting or a projection does
            not suit it.
    """
    network = network.float()
    depth = depth_time(network.network)
    asked = [key for key in KEYS if config.manifestation[key] is not None]
    asked += ["study"] if config.study is not None else []
    asked += [f"project.{key}" for key in ("n_basis", "basis") if config.project[key] is not None]
    if depth is None:
        if asked:
            raise ConfigError(f"{asked[0]} must be left out: the network has no ODE blocks")
        return network
    if config.project.n_basis is not None or config.project.basis is not None:
        network = _projected(network, config.project)
    with config_errors(""):
        for setting in wanted:
            setting.apply(network)
            _check_steps(network)
    return network


def _list(key: str, value: Any) -> list[Any]:
    """Return the values of a list; a single value, also null, stands for a list of one."""
    values = [*value] if isinstance(value, ListConfig) else [value]
    if not values:
        raise ConfigError(f"{key} must name at least one, got []")
    return values


def _scheme(value: Any) -> str:
    if value in scheme_names() and value not in SCHEMES:
        raise ConfigError(
            f"scheme must be one of {', '.join(SCHEMES)}, got {value!r}: its steps depend on the "
            "state; a file holds fixed ones"
        )
    return arguments.one_of("scheme", value, SCHEMES)


def _steps(value: Any) -> int:
    if arguments.integer("n_time_steps", value, minimum=1) > MOST_STEPS:
        raise ConfigError(f"n_time_steps must be at most {MOST_STEPS}, got {value}")
    return int(value)


def _choice(config: DictConfig) -> Manifestation:
    """Return the manifestation that a study leads to."""
    given = [key for key in LIMITS if config[key] is not None]
    if len(given) != 1:
        raise ConfigError("study must come with one of budget and accuracy_loss")
    if given == ["accuracy_loss"]:
        with called("study"):
            return cheapest(str(config.study), config.accuracy_loss)
    conditions: Any = OmegaConf.to_container(OmegaConf.create([config.budget]))
    flat = conditions[0] if isinstance(conditions[0], list) else conditions
    budget = Budget.parse(flat)
    with called("study"):
        return within(str(config.study), budget)


def _setting(choice: Manifestation) -> Setting:
    if choice.scheme is None or choice.n_time_steps is None:
        raise ConfigError(
            f"study chooses {choice}, whose steps depend on the state; a file holds fixed ones; "
            "give scheme and n_time_steps"
        )
    return Setting(choice.scheme.name, choice.n_time_steps)


def _projected(network: TrainedNetwork, node: DictConfig) -> TrainedNetwork:
    depth = depth_time(network.network)
    assert depth is not None
    with config_errors("project"):
        n_basis = depth.n_basis if node.n_basis is None else node.n_basis
        if n_basis is None:
            raise ValueError("n_basis must be given: ODE blocks differ in it")
        arguments.integer("n_basis", n_basis, minimum=1)
        if node.basis is not None:
            arguments.one_of("basis", node.basis, BASES)
        made = project(network.network, n_basis, node.basis)
    return TrainedNetwork(made, network.blueprint)


def _check_steps(network: TrainedNetwork) -> None:
    """Check that no ODE block chooses its own steps.

    Raises:
        ConfigError: if one does.
    """
    depth = depth_time(network.network)
    for block in depth.blocks if depth else ():
        if block.settings.grid is None:
            raise ConfigError(
                f"scheme must be given: the network was trained with {block.scheme.name}, whose "
                "steps depend on the state; a file holds fixed ones, as of scheme=euler "
                "n_time_steps=4"
            )
