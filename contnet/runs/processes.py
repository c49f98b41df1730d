"""Which of several processes this is."""

import os


def rank() -> int:
    """The number of this process among those that torchrun or SLURM have started together; 0 leads."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))
