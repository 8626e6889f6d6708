"""What a server process holds while it is under load, read from /proc: memory, descriptors, its children.

Linux only. Resident memory is of the server process; of its computing children (api/compute.py) it is what
they share with nobody. PostgreSQL's processes are left out: they share memory, which would be counted many
times. Decoders are children of the fork server: each lives for one file, so its peak is read again and again
until it is gone."""

import os
import statistics
import threading
import time
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


def private_mib(pid: int) -> float:
    """What a process shares with nobody."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / _MIB


def num_descriptors(pid: int) -> int:
    """Open files, sockets and pipes of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


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


def computing(pid: int) -> list[int]:
    """The children that were forked and run the server's own program."""
    program = Path(f"/proc/{pid}/cmdline").read_bytes()
    return [child for child in children(pid) if Path(f"/proc/{child}/cmdline").read_bytes() == program]


def data_dir(pid: int) -> Path:
    """The data folder that a server was started on."""
    words = _words(pid)
    return Path(words[words.index("--data-dir") + 1])


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


CHILDREN_INTERVAL_S = 0.25  # counting private pages takes some ms of the kernel's time


class Watch:
    """Samples of one server process, taken in a thread for as long as the block lasts."""

    def __init__(self, pid: int, interval_s: float = 0.05) -> None:
        self.memory_mib: list[float] = []
        self.num_descriptors: list[int] = []
        self.num_threads: list[int] = []
        self.num_computing: list[int] = []
        self.computing_mib: list[float] = []  # private, of all computing children together
        self.computing_descriptors: list[int] = []  # likewise
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
        children_next_s = 0.0
        while not self._stop.wait(self._interval_s):
            with suppress(OSError):
                self.memory_mib.append(memory_mib(self._pid, "VmRSS"))
                self.num_descriptors.append(num_descriptors(self._pid))
                self.num_threads.append(len(list(Path(f"/proc/{self._pid}/task").iterdir())))
            if time.monotonic() >= children_next_s:
                children_next_s = time.monotonic() + CHILDREN_INTERVAL_S
                with suppress(OSError):
                    self._sample_computing(computing(self._pid))
            with suppress(OSError):
                for child in decoders(self._pid):
                    with suppress(OSError, ValueError):
                        self.child_peak_mib = max(self.child_peak_mib, memory_mib(child, "VmHWM"))

    def _sample_computing(self, pids: list[int]) -> None:
        self.num_computing.append(len(pids))
        self.computing_mib.append(sum(map(private_mib, pids)))
        self.computing_descriptors.append(sum(map(num_descriptors, pids)))


def growth(samples: Sequence[float]) -> float:
    """How much the last fifth lies above the second: the first is warming up."""
    fifth = max(len(samples) // 5, 1)
    return statistics.median(samples[-fifth:]) - statistics.median(samples[fifth : 2 * fifth] or samples)
