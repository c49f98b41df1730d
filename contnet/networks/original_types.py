"""The types that the tensors of a state dict of the original code may have."""

import torch

from contnet.networks.original_names import StateDict

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights."""

COUNTER = "num_batches_tracked"
"""What batch norms count in whole numbers."""


def check_types(tensors: StateDict) -> None:
    """Check that tensors are dense, and that all weights and statistics are of one type.

    Raises:
        ValueError: if they are not; it names the first one.
    """
    first = ""
    for name, tensor in tensors.items():
        place, found = f"state_dict[{name!r}]", _name(tensor.dtype)
        if tensor.layout is not torch.strided or tensor.is_meta:
            raise ValueError(
                f"{place} must be a dense tensor with values, "
                f"got {_name(tensor.layout)} on {tensor.device}"
            )
        if name.endswith(COUNTER):
            if tensor.dtype is not torch.int64:
                raise ValueError(f"{place} must be of the type int64, got {found}")
            continue
        if tensor.dtype not in DTYPES:
            *most, last = map(_name, DTYPES)
            raise ValueError(
                f"{place} must be of the type {', '.join(most)} or {last}, got {found}"
            )
        first = first or name
        if tensor.dtype != tensors[first].dtype:
            raise ValueError(
                f"{place} must be of the type {_name(tensors[first].dtype)} of {first!r}, "
                f"got {found}"
            )


def _name(of: torch.dtype | torch.layout) -> str:
    return str(of).removeprefix("torch.")
