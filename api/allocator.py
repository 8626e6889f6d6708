"""Ask the C library to keep freed memory, so that arrays of megabytes are not mapped anew for each call.

glibc gives every block beyond a limit back to the kernel when it is freed, and the next one of its size costs
page faults: a third of the processor time of a fingerprint (docs/LOG.md, 2026-11-25). The price is that up to
KEPT_BYTES of each thread's peak stay with the process, so few threads work on files (api/workers.py).
Elsewhere than on glibc nothing happens."""

import ctypes
import sys

LARGEST_KEPT_BYTES = 32 << 20  # glibc takes no more: half of a thread's heap
KEPT_BYTES = 128 << 20

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> bool:
    """For the whole process, once at its start. Returns whether the C library took it."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES) and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
