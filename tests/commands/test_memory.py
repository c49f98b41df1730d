import platform

import pytest

from tests.processes import ROOT, Command


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    found = []
    for options in ([], ["--keep"]):
        done = Command("tests.drivers.page_faults", *options, folder=ROOT).wait()
        assert done.returncode == 0, done
        found.append(int(done.stdout))
    pages = 4 * 2**26 // 4096
    assert found[0] > pages // 1024  # or as many huge pages
    assert found[1] < 16
