"""Stateless randomness: random numbers as a function of a key."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def keyed_generator(*key: int) -> torch.Generator:
    """Return a generator whose numbers are a function of the key, such as (seed, epoch)."""
    return torch.Generator().manual_seed(keyed_seed(*key))


def keyed_seed(*key: int) -> int:
    """Return a seed that is a function of the key, below 2**64."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


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
