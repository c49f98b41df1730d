"""Stateless randomness."""

import numpy as np
import torch


def keyed_generator(*key: int) -> torch.Generator:
    """A generator whose stream is a function of the key alone."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))
