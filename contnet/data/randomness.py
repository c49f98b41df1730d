"""Stateless randomness: random numbers as a function of a key."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def keyed_generator(*key: int) -> torch.Generator:
    """Return a generator whose numbers are a function of the key, such as (seed, epoch)."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


@contextmanager
def restored_generators() -> Iterator[None]:
    """Restore the global generators of torch (on the CPU), NumPy and Python at the end."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
