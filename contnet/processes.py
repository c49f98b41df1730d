"""The processes that train together: which of them is this one."""

import os


def rank() -> int:
    """Return the rank of this process among those that torchrun or SLURM have started; 0 leads.

    The environment answers before torch is imported and before the processes are connected.
    """
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process among those that are connected, and their number."""
    from torch import distributed  # a command answers a typing error before torch is imported

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
