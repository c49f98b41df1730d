"""The norm by which an adaptive scheme measures errors."""

from math import sqrt

import torch
from torch import Tensor


def root_mean_square(values: Tensor, control: str = "batch") -> Tensor:
    """Return the root mean square of values (N, ...), as a constant to the gradient.

    Args:
        values: errors in units of their bounds.
        control: `batch` for that of all values, `image` for the largest of the N images'.
    """
    values = values.detach()
    if not values.numel():  # the mean of no numbers is NaN
        return values.new_zeros((), dtype=values.abs().dtype)
    if control == "batch" or values.dim() == 0:
        return torch.linalg.vector_norm(values) / sqrt(values.numel())
    images = values.reshape(len(values), -1)
    return torch.linalg.vector_norm(images, dim=1).max() / sqrt(images.shape[1])
