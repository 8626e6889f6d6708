"""Freed memory stays with the process: measured by the page faults of arrays that come and go."""

import subprocess
import sys

import pytest

COUNTED = """
import resource, sys
import numpy as np
from api.allocator import keep_freed_memory
kept = sys.argv[1] == "keep" and keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    np.ones(1 << 20, np.float32)
before = faults()
for _ in range(50):
    parts = [np.ones(1 << 20, np.float32) for _ in range(3)]
    del parts
print(int(kept), faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux is asked")
def test_arrays_that_come_and_go_cost_no_page_faults() -> None:
    kept, faults = _counted("keep")
    if not kept:
        pytest.skip("this C library is not glibc")
    assert faults < 0.2 * _counted("give back")[1]


def _counted(mode: str) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", COUNTED, mode], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return int(kept), int(faults)
