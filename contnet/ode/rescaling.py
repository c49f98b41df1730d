"""A rate divided by a number, by its weights alone.

**The last affine map.** With R = A(z) and A(z) = W z + b, dividing W and b by m divides R by m. A
ReLU or a dropout after A changes nothing in that: f(z / m) = f(z) / m for every m > 0.

**Maps before a batch norm.** The norm removes the scale of its input, so a map before it can be
divided by any c > 0, if the statistics of the norm are as well. R stays, but the map learns faster:
its gradient is multiplied by c while its weights are divided by it, so a step of SGD changes it by
c^2 times as much, relative to its size. R / m passes on a gradient that is 1 / m of that before.
c = sqrt(m) makes up for it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any, Self

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from contnet.ode.norms import BATCH_NORMS

AFFINE = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
    nn.RMSNorm,
)
"""Modules that multiply by their weight last, and add their bias."""

HOMOGENEOUS = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.PReLU,
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
)
"""Modules with f(z / m) = f(z) / m for every m > 0."""


@dataclass(frozen=True)
class Rescaling:
    """The weights of a rate that are divided, so that the rate is.

    Args:
        parameters: the divisor of each parameter, by name.
        norms: the names of the batch norms whose input is divided.
        root: the divisor of their input.
    """

    parameters: dict[str, float]
    norms: list[str]
    root: float

    @classmethod
    def of(cls, rate: nn.Module, divisor: int, *, with_norms: bool) -> Self:
        """Return the rescaling that divides a rate.

        Args:
            rate: the rate.
            divisor: what to divide it by.
            with_norms: divide the maps before batch norms by the root of the divisor, too.

        Raises:
            ValueError: if the rate has no last affine map: see `last_affine`.
        """
        parameters, root = dict.fromkeys(last_affine(rate), float(divisor)), sqrt(divisor)
        pairs = before_batch_norms(rate) if with_norms else []
        for affine, _ in pairs:
            for name, _ in rate.get_submodule(affine).named_parameters(prefix=affine):
                parameters.setdefault(name, root)
        return cls(parameters, [norm for _, norm in pairs], root)

    @torch.no_grad()
    def apply(self, node: nn.Module) -> None:
        """Divide the weights of a node, and what its batch norms know of their input."""
        for name, divisor in self.parameters.items():
            node.get_parameter(name).div_(divisor)
        for name in self.norms:
            for own, buffer in node.get_submodule(name).named_buffers():
                # Those of other manifestations, in a submodule, are among them.
                if own.endswith("running_mean"):
                    buffer.div_(self.root)
                if own.endswith("running_var"):
                    buffer.div_(self.root**2)
        scale_eps(node, self.norms, self.root)


def scale_eps(node: nn.Module, norms: Iterable[str], divisor: float) -> None:
    """Divide the eps of batch norms by the square of the divisor of their input.

    It is added to a variance. A state dictionary has no eps.
    """
    for name in norms:
        norm: Any = node.get_submodule(name)
        norm.eps /= divisor**2


def last_affine(rate: nn.Module) -> list[str]:
    """Return the names of the parameters of the last affine map of a rate.

    It is the last one of an `nn.Sequential`. Any other module says which one it is by a method
    `last_affine()`, which returns the module within it (or itself) whose own parameters, divided by
    m, divide the rate by m.

    Raises:
        ValueError: if the rate has no such map, or its parameters have a part elsewhere as well.
    """
    kind = type(rate).__name__
    found = _find(rate)
    if not isinstance(found, nn.Module) or is_parametrized(found):
        raise ValueError(
            f"{kind} must be an nn.Sequential that ends in an affine map, or have a method "
            "last_affine() that returns the module with its last weight and bias"
        )
    own = {id(one) for one in found._parameters.values() if one is not None}
    names = [name for name, one in rate.named_parameters() if id(one) in own]
    if not own or len(names) != len(own):
        raise ValueError(f"the last affine map of {kind} must be a part of it with parameters")
    uses = [id(one) for _, one in rate.named_parameters(remove_duplicate=False)]
    if any(uses.count(one) > 1 for one in own):
        raise ValueError(f"the last affine map of {kind} must share no parameters")
    return names


def before_batch_norms(rate: nn.Module) -> list[tuple[str, str]]:
    """Return the names of the affine maps in an `nn.Sequential` whose scale a batch norm removes.

    Each comes with the name of its norm. There may be ReLUs and the like between them. A module
    that is called twice, or shares a parameter, is left out.
    """
    found = []
    order = list(_in_order(rate))
    calls = Counter(id(module) for _, module in order)
    uses = Counter(id(one) for _, one in rate.named_parameters(remove_duplicate=False))
    last: str | None = None
    for name, module in order:
        alone = calls[id(module)] == 1 and all(uses[id(one)] == 1 for one in module.parameters())
        if isinstance(module, BATCH_NORMS):
            if last is not None and alone and module.running_mean is not None:
                found.append((last, name))
            last = None
        elif type(module) in AFFINE:
            has_weights = module._parameters.get("weight") is not None
            last = name if has_weights and alone else None
        elif type(module) not in HOMOGENEOUS:
            last = None
    return found


def _in_order(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the members of nested `nn.Sequential`s in the order in which they are called."""
    members = _members(module)
    if not members:
        yield name, module
    for own, child in module._modules.items() if members else ():
        if child is not None:
            yield from _in_order(child, f"{name}.{own}".removeprefix("."))


def _find(module: nn.Module) -> nn.Module | None:
    """Return the module of the last affine map, None if there is none."""
    told: Any = getattr(module, "last_affine", None)
    if told is not None:
        found = told if isinstance(told, nn.Module) else told()
        inside = any(found is one for one in module.modules())
        return found if not inside or found is module else _find(found) or found
    if type(module) in AFFINE:
        return module
    for child in reversed(_members(module)):
        if type(child) not in HOMOGENEOUS:
            return _find(child)
    return None


def _members(module: nn.Module) -> list[nn.Module]:
    """Return the modules that an `nn.Sequential` calls one after another."""
    if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
        return []
    # named_children would leave out what comes twice.
    return [child for child in module._modules.values() if child is not None]
