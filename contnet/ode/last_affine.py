"""The last affine map of a rate: whatever divides it divides the rate.

With R = A(z) and A(z) = W z + b, dividing W and b by m divides R by m. A ReLU or a dropout after A
changes nothing in that: f(z / m) = f(z) / m for every m > 0.
"""

from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

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


def last_affine(rate: nn.Module) -> list[str]:
    """Return the names of the parameters of the last affine map of a rate.

    It is the last one of an `nn.Sequential`. Any other module says which one it is by a method
    `last_affine()`, which returns the module within it (or itself) whose own parameters, divided by
    m, divide the rate by m.

    Raises:
        ValueError: if the rate has no such map, or its parameters have a part elsewhere as well.
    """
    found = _find(rate)
    if found is None or is_parametrized(found):
        raise ValueError(
            f"{type(rate).__name__} must be an nn.Sequential that ends in an affine map, or have a "
            "method last_affine() that returns the module with its last weight and bias"
        )
    own = dict(found.named_parameters(recurse=False))
    names = [
        name for name, one in rate.named_parameters() if any(one is mine for mine in own.values())
    ]
    uses = [one for _, one in rate.named_parameters(remove_duplicate=False)]
    if not own or len(names) != len(own):
        raise ValueError(f"the last affine map of {type(rate).__name__} must have parameters")
    if any(sum(one is mine for one in uses) > 1 for mine in own.values()):
        raise ValueError(f"the last affine map of {type(rate).__name__} must share no parameters")
    return names


def _find(module: nn.Module) -> nn.Module | None:
    """Return the module of the last affine map, None if there is none."""
    told: Any = getattr(module, "last_affine", None)
    if told is not None:
        found: nn.Module = told()
        return found if found is module else _find(found)
    if isinstance(module, AFFINE):
        return module
    if isinstance(module, nn.Sequential):
        for child in reversed(module):
            if not isinstance(child, HOMOGENEOUS):
                return _find(child)
    return None
