"""Fork a decoder for each file: a program that imports FFmpeg once, and never reads a file itself.

    server ──[what, address space, CPU seconds] + stdin, stdout, stderr, life──► fork server ──fork──► child

`life` is one end of a socket pair. The exit status of the child comes back on it, a little-endian i32 (minus
the signal for one that was killed); when the other side shuts it for writing, the child is killed. However a
child ends, its whole process group is killed before it is waited for. The program ends, and every child with
it, when the server closes the control socket or dies.

A child is a copy of this process, which has seen no audio: no file can meet what another one left behind.
What starting a Python for each file costs (0.18 s) is paid once. All copies share one layout of addresses.

Run as `python -I -S fork_server.py CHILD_PROGRAM FOLDER_OF_PYAV` with the control socket (SOCK_SEQPACKET) as
stdin; imports the standard library and the child's program, nothing else. Needs Linux (pidfd).
"""

import ctypes
import gc
import importlib.util
import json
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, NoReturn

NUM_DESCRIPTORS = 4
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
MAX_REQUEST_BYTES = 4096
STATUS = struct.Struct("<i")
CANNOT_START = 127
"""The status of a child that could not be forked: no processes or no memory left."""


class Job(NamedTuple):
    """A child that runs."""

    pid: int
    life: socket.socket


class ForkServer:
    """The loop, and the children that it has started."""

    def __init__(self, control: socket.socket, child: ModuleType) -> None:
        self._control = control
        self._child = child
        self._libc = ctypes.CDLL(None)
        self._pid = os.getpid()
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._by_pidfd: dict[int, Job] = {}
        self._by_life: dict[int, Job] = {}

    def run(self) -> None:
        """Until the control socket is closed on the other side."""
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._control.fileno():
                    if not self._take():
                        return
                elif fd in self._by_pidfd:
                    self._finish(fd)
                elif fd in self._by_life:
                    self._abandon(fd)

    def _take(self) -> bool:
        """Start what one message asks for; False when there will be no more."""
        request, fds, _, _ = socket.recv_fds(self._control, MAX_REQUEST_BYTES, NUM_DESCRIPTORS)
        if not request:
            return False
        *streams, life_fd = fds
        life = socket.socket(fileno=life_fd)
        try:
            pid = os.fork()
        except OSError:
            life.sendall(STATUS.pack(CANNOT_START))
            life.close()
        else:
            if pid == 0:
                self._become_child(streams, *json.loads(request))
            self._watch(Job(pid, life))
        for fd in streams:
            os.close(fd)
        return True

    def _become_child(self, streams: list[int], what: str, address_space_bytes: int, cpu_s: int) -> NoReturn:
        try:
            os.setsid()
            self._libc.prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self._pid:
                os._exit(1)  # it died before the call
            for number, fd in enumerate(streams):
                os.dup2(fd, number)
            os.closerange(len(streams), os.sysconf("SC_OPEN_MAX"))
            self._child.run(what, address_space_bytes, cpu_s)
        finally:
            os._exit(1)

    def _watch(self, job: Job) -> None:
        pidfd = os.pidfd_open(job.pid)
        self._by_pidfd[pidfd] = self._by_life[job.life.fileno()] = job
        self._poll.register(pidfd, select.POLLIN)
        self._poll.register(job.life, select.POLLIN)

    def _abandon(self, life_fd: int) -> None:
        """Nobody wants what this child does any more. Its end is seen by `_finish`."""
        self._poll.unregister(life_fd)
        _kill_group(self._by_life.pop(life_fd).pid)

    def _finish(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        os.close(pidfd)
        job = self._by_pidfd.pop(pidfd)
        if self._by_life.pop(job.life.fileno(), None):
            self._poll.unregister(job.life)
        _kill_group(job.pid)  # not waited for yet: the number is still that of its group
        _, status = os.waitpid(job.pid, 0)
        with suppress(OSError):
            job.life.sendall(STATUS.pack(os.waitstatus_to_exitcode(status)))
        job.life.close()


def _kill_group(pid: int) -> None:
    # A child that has not called setsid yet has no group, and is killed alone.
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def main() -> None:
    """Load the child's program and serve; what still runs at the end dies with this process."""
    program, packages = sys.argv[1:]
    spec = importlib.util.spec_from_file_location(Path(program).stem, program)
    assert spec is not None and spec.loader is not None
    child = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(child)
    child.prepare(packages)
    gc.collect()
    gc.freeze()  # a collection in a child would copy pages for nothing
    ForkServer(socket.socket(fileno=os.dup(0)), child).run()


if __name__ == "__main__":
    main()
