"""A batch norm that the original code builds and does not apply."""

from typing import Any

import torch
from torch import Tensor, nn

from contnet.ode.statistics import ROWS


class HeldBatchNorm2d(nn.Module):
    """The tensors of a batch norm, which a network holds, counts and saves: x -> x.

    It is no batch norm: what synchronises, recalibrates or converts those would apply it.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        # DistributedDataParallel would wait for gradients that never come.
        self.weight = nn.Parameter(torch.ones(num_features), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(num_features), requires_grad=False)
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # Earlier files of networks trained in several manifestations have statistics of each.
        for name in [name for name in state_dict if name.startswith(f"{prefix}{ROWS}.")]:
            del state_dict[name]
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        return x
