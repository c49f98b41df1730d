"""The rank of this process among the processes that train together."""

import os


def rank() -> int:
    """Return the rank that torchrun or SLURM has given this process; the main process has rank 0.

    It is read from the environment, so it is known before torch is imported and before the
    processes are connected.
    """
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))


def world_size() -> int:
    """Return the number of processes that torchrun has started together; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process, and the number of processes that are connected."""
    from torch import distributed  # late: a typing error is reported without it

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
