"""What a server process holds while it is under load, read from /proc: memory, descriptors, its children.

Linux only. Resident memory is of the server process alone; PostgreSQL's processes share memory, which
would be counted many times. Children are the decoder's: each lives for one file, so its peak is read again
and again until it is gone."""

import os
import statistics
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from audio.sandbox import CHILD_PROGRAM

_MIB = 1024  # /proc counts in KiB


def children(pid: int) -> list[int]:
    """The process numbers of a process's children, of all its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def memory_mib(pid: int, field: str) -> float:
    """VmRSS (resident now) or VmHWM (its highest) of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(field)]
    return int(line.split()[1]) / _MIB


def cpu_s(pid: int) -> float:
    """Processor seconds of a process and of all its children that have ended, in user and kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def server_pid(port: int) -> int:
    """The child of this process that was started to serve on a port (api/demo/server.py); there may be
    others, such as the PostgreSQL of a test session."""
    (pid,) = [pid for pid in children(os.getpid()) if {"serve", str(port)} <= set(_words(pid))]
    return pid


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _is_decoder(pid: int) -> bool:
    """Not between fork and exec, where the child still is a copy of the server, with all of its memory."""
    return str(CHILD_PROGRAM) in _words(pid)


class Watch:
    """Samples of one process, taken in a thread for as long as the block lasts."""

    def __init__(self, pid: int, interval_s: float = 0.05) -> None:
        self.memory_mib: list[float] = []
        self.num_descriptors: list[int] = []
        self.num_threads: list[int] = []
        self.child_peak_mib = 0.0
        self._pid = pid
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            with suppress(OSError):
                self.memory_mib.append(memory_mib(self._pid, "VmRSS"))
                self.num_descriptors.append(len(list(Path(f"/proc/{self._pid}/fd").iterdir())))
                self.num_threads.append(len(list(Path(f"/proc/{self._pid}/task").iterdir())))
            for child in children(self._pid):
                with suppress(OSError, ValueError):
                    if _is_decoder(child):
                        self.child_peak_mib = max(self.child_peak_mib, memory_mib(child, "VmHWM"))


def growth(samples: Sequence[float]) -> float:
    """How much the last fifth lies above the second: the first is warming up."""
    fifth = max(len(samples) // 5, 1)
    return statistics.median(samples[-fifth:]) - statistics.median(samples[fifth : 2 * fifth] or samples)
