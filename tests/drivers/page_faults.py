"""Print the page faults of allocating 256 MB again: `python -m tests.drivers.page_faults [--keep]`.

With `--keep` the process keeps the memory that it frees.
"""

import resource
import sys

import torch

from contnet.commands.memory import keep_freed_memory


def faults() -> int:
    """Return the page faults of four blocks of 64 MB, which are freed at the end."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(2**24) for _ in range(4)]
    assert len(blocks) == 4
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


if __name__ == "__main__":
    if "--keep" in sys.argv:
        keep_freed_memory()
    print(min(faults() for _ in range(6)))  # the heap grows until it is large enough
