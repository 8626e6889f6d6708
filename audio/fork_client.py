"""Start decoder children through the fork server, and hear how they end.

    with launch(what, address_space_bytes, cpu_s, stdin) as child:
        os.read(child.stdout, …)
        status = child.wait(deadline)

One fork server for each process, started with the first child and again when it has died. Safe from many
threads. Leaving the block kills the child and whatever it started. For Linux.
"""

import atexit
import importlib.util
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

from audio import decode_child, fork_server
from audio.errors import DecodeError, DecodeFailure

CHILD_PROGRAM = Path(decode_child.__file__)
KILLED_S = 5.0
"""How long a killed child may take to be gone: it may sit in the kernel."""

LOST = -1000
"""In the place of an exit status: the fork server died, and every child with it."""


class Child:
    """A child that was started. Its pipes are plain descriptors; `close` is the owner's duty."""

    def __init__(self, stdout: int, stderr: int, life: socket.socket) -> None:
        self.stdout, self.stderr = stdout, stderr
        self._life = life
        self._status: int | None = None

    def wait(self, deadline: float) -> int:
        """Its exit status, minus the signal that killed it, or LOST. Raises TimeoutError."""
        ended = select.poll()  # `select` refuses descriptors from 1024 on
        ended.register(self._life, select.POLLIN)
        while self._status is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not ended.poll(left_s * 1000):
                raise TimeoutError
            try:
                answer = self._life.recv(fork_server.STATUS.size)
            except ConnectionError:
                answer = b""
            (self._status,) = fork_server.STATUS.unpack(answer) if answer else (LOST,)
        return self._status

    def kill(self) -> int:
        """End it, if it has not ended; its exit status, LOST when it does not die."""
        with suppress(OSError):
            self._life.shutdown(socket.SHUT_WR)
        try:
            return self.wait(time.monotonic() + KILLED_S)
        except TimeoutError:
            return LOST

    def close(self) -> None:
        """Kill and forget. May be repeated."""
        if self._life.fileno() >= 0:
            self.kill()
            self._life.close()
            os.close(self.stdout)
            os.close(self.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ForkServerProcess:
    """A fork server of this process's own."""

    def __init__(self, program: Path) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-I", "-S", fork_server.__file__, str(program), _folder_of_pyav()]
        with theirs:
            self._process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env={}, start_new_session=True
            )
        self._control = ours
        self._owner = os.getpid()

    @property
    def is_ours(self) -> bool:
        """False in a copy of the process that started it."""
        return self._owner == os.getpid()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, request: bytes, fds: list[int]) -> bool:
        """False when the server has died."""
        try:
            socket.send_fds(self._control, [request], fds)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End it and its children."""
        self._control.close()
        if self.is_ours:
            self._process.wait()


class Launcher:
    """The fork server in use, and the lock for putting another in its place."""

    def __init__(self, program: Path = CHILD_PROGRAM) -> None:
        self._program = program
        self._mutex = threading.Lock()
        self._server: ForkServerProcess | None = None

    def launch(self, what: str, address_space_bytes: int, cpu_s: int, stdin: int) -> Child:
        """Start a child that reads from the descriptor `stdin`: about 5 ms, 0.2 s for the first.

        Raises DecodeError when no fork server stays alive, which means no memory or no processes.
        """
        request = json.dumps([what, address_space_bytes, cpu_s]).encode()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        ours, theirs = socket.socketpair()
        child = Child(out_read, err_read, ours)
        try:
            with theirs:
                if self._send(request, [stdin, out_write, err_write, theirs.fileno()]):
                    return child
        finally:
            os.close(out_write)
            os.close(err_write)
        child.close()
        raise DecodeError(DecodeFailure.CRASHED, "the decoder does not start; the service's own log says why")

    @property
    def server_pid(self) -> int | None:
        """Of the fork server; None before the first child."""
        return self._server.pid if self._server else None

    def close(self) -> None:
        """End the fork server; the next launch starts another."""
        with self._mutex:
            server, self._server = self._server, None
        if server:
            server.close()

    def _send(self, request: bytes, fds: list[int]) -> bool:
        for _ in range(2):
            server = self._running()
            if server.send(request, fds):
                return True
            self._forget(server)
        return False

    def _running(self) -> ForkServerProcess:
        with self._mutex:
            if self._server is None or not self._server.is_ours:
                self._server = ForkServerProcess(self._program)
            return self._server

    def _forget(self, dead: ForkServerProcess) -> None:
        with self._mutex:
            if self._server is dead:
                self._server = None
                dead.close()


LAUNCHER = Launcher()
atexit.register(LAUNCHER.close)


def launch(what: str, address_space_bytes: int, cpu_s: int, stdin: int) -> Child:
    """A child of this process's fork server; see `Launcher.launch`."""
    return LAUNCHER.launch(what, address_space_bytes, cpu_s, stdin)


@lru_cache(maxsize=1)
def _folder_of_pyav() -> str:
    spec = importlib.util.find_spec("av")
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parent.parent)
