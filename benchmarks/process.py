"""What a server process holds while it is under load, read from /proc: memory, descriptors, its children.

Linux only. Resident memory is of the server process alone; PostgreSQL's processes share memory, which
would be counted many times. Decoders are children of the fork server: each lives for one file, so its peak is
read again and again until it is gone."""

import os
import statistics
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from audio import fork_server

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
    """Processor seconds of a server, its fork server and all of their children that have ended, in user and
    kernel."""
    return sum(own_cpu_s(one, with_ended=True) for one in [pid, *fork_servers(pid)])


def own_cpu_s(pid: int, *, with_ended: bool = False) -> float:
    """Processor seconds of one process, and if wanted of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if with_ended else 13])) / os.sysconf("SC_CLK_TCK")


def decoders(pid: int) -> list[int]:
    """The process numbers of the decoders that a server runs now."""
    return [child for server in fork_servers(pid) for child in children(server)]


def fork_servers(pid: int) -> list[int]:
    """A server starts one, with the first file that it decodes."""
    return [child for child in children(pid) if fork_server.__file__ in _words(child)]


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
            with suppress(OSError):
                for child in decoders(self._pid):
                    with suppress(OSError, ValueError):
                        self.child_peak_mib = max(self.child_peak_mib, memory_mib(child, "VmHWM"))


def growth(samples: Sequence[float]) -> float:
    """How much the last fifth lies above the second: the first is warming up."""
    fifth = max(len(samples) // 5, 1)
    return statistics.median(samples[-fifth:]) - statistics.median(samples[fifth : 2 * fifth] or samples)
