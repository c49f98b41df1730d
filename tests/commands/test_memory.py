import platform
import subprocess
import sys

import pytest

FAULTS_OF_ALLOCATING_AGAIN = """
import resource, torch
from contnet.commands.memory import keep_freed_memory
{prepare}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(2**24) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(faults() for _ in range(6)))  # until the heap is as large as it has to be
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    found = []
    for prepare in ("", "keep_freed_memory()"):
        program = FAULTS_OF_ALLOCATING_AGAIN.format(prepare=prepare)
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        found.append(int(run.stdout))
    pages = 4 * 2**26 // 4096
    assert found[0] > pages // 1024  # or as many huge pages
    assert found[1] < 16
