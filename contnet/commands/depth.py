"""What a configuration asks of depth-time: its refinement, and the manifestations to train in."""

import logging
from collections.abc import Iterable
from itertools import product
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from contnet import arguments
from contnet.commands.failures import config_errors
from contnet.commands.grammar import key_of
from contnet.errors import ConfigError
from contnet.ode.depth_time import DepthTime, depth_time
from contnet.ode.manifestation import Manifestation
from contnet.ode.rescaling import last_affine
from contnet.ode.schemes import SCHEMES, AdaptiveScheme, Scheme
from contnet.runs.network_schema import MOST_MANIFESTATIONS, MOST_STEPS
from contnet.training.callbacks.refinement import DepthRefinement
from contnet.training.growth import Growth
from contnet.training.manifestations import RandomManifestations

log = logging.getLogger(__name__)

DIVERGING_STEP = 4
"""A ContinuousNet with batch norm and one node diverges with steps of this length at lr = 0.1."""


def check_depth(config: DictConfig, network: nn.Module) -> None:
    """Check what a configuration asks of the depth-time of a network.

    Raises:
        ConfigError: if a value is not allowed, or the network has no depth-time and it is needed.
    """
    depth = depth_time(network)
    plan = growth(config)
    if plan and depth is None:
        name = type(network).__name__
        raise ConfigError(f"refine.{plan.key} must be [] for {name}, which has no depth-time")
    if plan.to and depth is not None and all(plan.to[0] <= one.n_basis for one in depth.blocks):
        raise ConfigError(
            "refine.to must be more nodes than the network has at the start, "
            f"{max(one.n_basis for one in depth.blocks)}, got {plan.to[0]}"
        )
    refinement(config, plan, probe=(), probe_name="")
    random = random_manifestations(config, network)
    if depth is not None:
        _check_gradient(depth)
        factors = _final_factors(depth, plan)
        if config.refine.epsilon == "grow" and plan:
            _check_affine(depth)
        if random is not None:
            _check_members(depth, random, factors, plan.key)


def _check_gradient(depth: DepthTime) -> None:
    """Check that a gradient reaches the nodes."""
    for block in depth.blocks:
        scheme = block.scheme
        by_adjoint = block.gradient == "adjoint"
        if isinstance(scheme, AdaptiveScheme) and not (scheme.has_gradient or by_adjoint):
            raise ConfigError(
                f"scheme.gradient must be adjoint with {scheme.name}, which computes outside of "
                f"PyTorch, got {block.gradient!r}"
            )


def check_remaining_growth(config: DictConfig, network: nn.Module) -> None:
    """Check that a network with the depth of a checkpoint can be refined as a run asks.

    Raises:
        ConfigError: if it cannot.
    """
    depth = depth_time(network)
    if depth is not None:
        plan = growth(config)
        factors = _final_factors(depth, plan)
        random = random_manifestations(config, network)
        if random is not None:
            final = {factor * depth.refined_by for factor in factors}
            _check_members(depth, random, final, plan.key)


def _final_factors(depth: DepthTime, plan: Growth) -> set[int]:
    """Return the factors by which the steps of the blocks are multiplied over the run.

    Raises:
        ConfigError: if a block cannot be refined so, or no checkpoint could hold its depth.
    """
    factors = set()
    for block in depth.blocks:
        # Many doublings lead to sizes that take long to set up: their steps are counted first.
        final = block.n_time_steps * 2 ** plan.n_doublings(block.refined_by)
        if final <= MOST_STEPS:
            try:
                factor = plan.steps_factor(block.basis, block.refined_by)
            except ValueError as error:
                kind = "fewer" if plan.epochs else "other numbers"
                raise ConfigError(f"refine.{plan.key} must be {kind}; {error}") from error
            factors.add(factor)
            final = block.n_time_steps * factor
        if final > MOST_STEPS:
            raise ConfigError(
                f"scheme.n_time_steps_per, model.initial_time_d and refine.{plan.key} must lead to "
                f"at most {MOST_STEPS} time steps, got {final}"
            )
    return factors


def _check_affine(depth: DepthTime) -> None:
    """Check that the rates have a last affine map, which refine.epsilon=grow divides."""
    for block in depth.blocks:
        try:
            last_affine(block.nodes[0])
        except ValueError as error:
            raise ConfigError(f"refine.epsilon must be keep, got 'grow'; {error}") from error


def _check_members(
    depth: DepthTime, random: RandomManifestations, factors: set[int], key: str
) -> None:
    """Check that checkpoints can hold the manifestations, and that every block accepts them."""
    if len(factors) > 1:
        raise ConfigError(
            "refine.to must multiply the nodes of every ODE block by the same factor with "
            f"manifestations=random, got factors {', '.join(map(str, sorted(factors)))}"
        )
    final = max(member.n_time_steps or 0 for member in random.members(*factors))
    if final > MOST_STEPS:
        raise ConfigError(
            f"manifestations.n_time_steps and refine.{key} must lead to at most {MOST_STEPS} time "
            f"steps, got {final}"
        )
    with config_errors("manifestations"):
        for block, member in product(depth.blocks, random.start):
            block.settings.manifested(member.scheme, member.n_time_steps, None, None)


def growth(config: DictConfig) -> Growth:
    """Return when a network is refined, and how far.

    Raises:
        ConfigError: if a key of `refine` is not allowed.
    """
    keys: Any = OmegaConf.to_container(config.refine)
    with config_errors("refine"):
        return Growth(keys["epochs"], keys["at"], keys["to"], config.trainer.max_epochs)


def refinement(
    config: DictConfig, plan: Growth, probe: Iterable[Any], probe_name: str
) -> DepthRefinement:
    """Return the callback that refines a network while it trains.

    Args:
        config: the configuration.
        plan: its refinements.
        probe: batches of images and labels to report the accuracy on.
        probe_name: the name of these images in the report.

    Raises:
        ConfigError: if a key of `refine` is not allowed.
    """
    options: Any = OmegaConf.to_container(config.refine)
    others = {key: value for key, value in options.items() if key not in ("epochs", "at", "to")}
    with config_errors("refine"):
        return DepthRefinement(plan, **others, seed=config.seed, probe=probe, probe_name=probe_name)


def random_manifestations(config: DictConfig, network: nn.Module) -> RandomManifestations | None:
    """Return the manifestations to draw from while training; None to train in one.

    Raises:
        ConfigError: if a key of `manifestations` is not allowed, or the network has no depth-time.
    """
    keys: Any = OmegaConf.to_container(config.manifestations)
    if not any(value is not None for value in keys.values()):
        return None
    if depth_time(network) is None:
        name = type(network).__name__
        raise ConfigError(f"manifestations must be trained for {name}, which has no depth-time")
    with config_errors("manifestations"):
        return RandomManifestations(_pairs(keys), keys["draw"], config.seed, keys["single_steps"])


def _pairs(keys: dict[str, Any]) -> list[Manifestation]:
    """Return the manifestations that the keys of the group list, each once."""
    pairs = keys["pairs"]
    if pairs is None:
        pairs = product(*(_listed(name, keys[name]) for name in ("schemes", "n_time_steps")))
    elif not isinstance(pairs, list) or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
        raise ValueError(
            f"pairs must be a list of pairs such as [[euler, 1], [rk4_classic, 2]], got {pairs!r}"
        )
    found = [
        Manifestation(
            SCHEMES[arguments.one_of("schemes", scheme, SCHEMES)],
            arguments.integer("n_time_steps", n_time_steps, minimum=1),
        )
        for scheme, n_time_steps in pairs
    ]
    if not 1 <= len(set(found)) <= MOST_MANIFESTATIONS:
        raise ValueError(f"pairs must be from 1 to {MOST_MANIFESTATIONS}, got {len(set(found))}")
    return list(dict.fromkeys(found))


def _listed(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} must be a list with at least one member, got {value!r}")
    return value


def warn_of_unused_choices(network: nn.Module, overrides: Iterable[str]) -> None:
    """Warn of typed overrides that do nothing, because a network has no ODE blocks.

    Args:
        network: the network.
        overrides: the overrides that were typed.
    """
    if depth_time(network) is not None:
        return
    unused = [one for one in overrides if key_of(one).partition(".")[0] == "scheme"]
    if unused:
        log.warning(f"{' '.join(unused)} changes nothing: this network has no ODE blocks")


def warn_of_long_steps(model: DictConfig, network: nn.Module) -> None:
    """Log a warning if the steps are so long that training is likely to diverge.

    SkipInit is left out, because it starts with a residual of 0, and so are adaptive schemes.
    """
    depth = depth_time(network)
    if depth is None or model.get("use_skipinit", False):
        return
    fixed = [block for block in depth.blocks if isinstance(block.scheme, Scheme)]
    block = max(fixed, key=lambda block: block.epsilon / block.n_time_steps, default=None)
    if block is None or block.epsilon / block.n_time_steps < DIVERGING_STEP:
        return
    steps = "1 step" if block.n_time_steps == 1 else f"{block.n_time_steps} steps"
    log.warning(
        f"model.time_epsilon={block.epsilon:g} in {steps} is likely to diverge: a step adds "
        f"{block.epsilon / block.n_time_steps:g} times the residual; "
        "set model.use_skipinit=true or take more steps"
    )
