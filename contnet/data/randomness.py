"""Stateless randomness: random numbers as a function of a key."""

import numpy as np
import torch


def keyed_generator(*key: int) -> torch.Generator:
    """Return a generator whose numbers are a function of the key, such as (seed, epoch)."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))
