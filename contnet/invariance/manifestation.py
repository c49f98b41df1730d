"""The manifestations of a network: its present one, those of its training, and those of a sweep."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from torch import nn

from contnet.ode import statistics
from contnet.ode.depth_time import depth_time
from contnet.ode.manifestation import Manifestation
from contnet.ode.schemes import OTHER_NAMES, Scheme, find_scheme_after, with_tolerances

Value = TypeVar("Value")


def present(network: nn.Module) -> Manifestation:
    """Return the present manifestation of a network.

    Raises:
        ValueError: if its ODE blocks differ in scheme or number of steps.
    """
    depth = depth_time(network)
    if depth is None:
        return Manifestation(None)
    if depth.manifestation is None:
        found = [block.settings.manifestation for block in depth.blocks]
        raise ValueError(
            "ODE blocks must have one scheme and one number of steps to be swept, got "
            f"{'; '.join(map(str, found))} (such a network can be trained and refined)"
        )
    return depth.manifestation


def seen_in_training(network: nn.Module) -> tuple[Manifestation, ...]:
    """Return the manifestations that a network was trained in: a set, or the present one alone.

    Raises:
        ValueError: if there is no set, and its ODE blocks differ in scheme or number of steps.
    """
    return statistics.provided(network) or (present(network),)


@contextmanager
def applied(network: nn.Module, manifestation: Manifestation) -> Iterator[None]:
    """Compute a network in a manifestation within the context: see `DepthTime.manifested`.

    A network without depth-time has one manifestation, and is not changed.

    Raises:
        ValueError: if an ODE block refuses it: see `ODEBlock.set_manifestation`.
    """
    depth = depth_time(network)
    with nullcontext() if depth is None else depth.manifested(manifestation):
        yield


def manifestations(
    network: nn.Module,
    schemes: Sequence[str] | None,
    n_time_steps: Sequence[int] | None,
    rtol: Sequence[float] | None,
    seen: Sequence[Manifestation] = (),
) -> list[Manifestation]:
    """List the manifestations that a sweep evaluates, each once.

    They are every fixed-step scheme with every number of steps, and every adaptive scheme with
    every tolerance (atol = rtol). The present manifestation of the network is always among them:
    the others are compared with it.

    Args:
        network: any module; without ODE blocks it has its present manifestation alone.
        schemes: names of schemes; None stands for those in `seen`, or for the network's.
        n_time_steps: numbers of steps; None stands for those in `seen`, or for the network's.
        rtol: relative tolerances; None stands for the network's, or for the default of a scheme
            that is not the network's.
        seen: a set of manifestations that stands for `schemes` and `n_time_steps` if both are None.

    Raises:
        ValueError: if the ODE blocks of the network differ in scheme or number of steps.
    """
    trained = present(network)
    depth = depth_time(network)
    if trained.scheme is None or depth is None:
        return [trained]
    if seen and schemes is None and n_time_steps is None:
        return list(dict.fromkeys(seen if trained in seen else [trained, *seen]))
    found: list[Manifestation] = []
    names = [one.name for one in seen if one.name] or [trained.scheme.name]
    for name in dict.fromkeys(names) if schemes is None else schemes:
        is_own = OTHER_NAMES.get(name, name) == trained.scheme.name
        scheme = trained.scheme if is_own else find_scheme_after(trained.scheme, name)
        if isinstance(scheme, Scheme):
            # Blocks may differ in their number of steps as long as only adaptive schemes are swept.
            steps = [block.n_time_steps for block in depth.blocks]
            numbers = n_time_steps or [one.n_time_steps for one in seen if one.n_time_steps]
            numbers = numbers or [common("n_time_steps", steps)]
            found += [Manifestation(scheme, n) for n in numbers]
        elif rtol is None:
            found.append(Manifestation(scheme))
        else:
            found += [Manifestation(with_tolerances(scheme, r, r)) for r in rtol]
    return list(dict.fromkeys(found if trained in found else [trained, *found]))


def common(setting: str, values: Sequence[Value]) -> Value:
    """Return the value that a setting has in every ODE block.

    Raises:
        ValueError: if the blocks differ; then the plan has to set the value.
    """
    if any(value != values[0] for value in values):
        raise ValueError(
            f"{setting} must be given for a network whose ODE blocks differ in it, "
            f"here {', '.join(map(str, values))}"
        )
    return values[0]
