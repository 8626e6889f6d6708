"""A real `earmark serve` in a child process, on a free port of the loopback interface, with throwaway data.

The child is asked to stop with SIGTERM, so that it stops its PostgreSQL as it would in service; only one that
does not answer is killed. A crash of the demo itself leaves the child running and a folder `earmark-demo-*`
in the temporary folder; nothing else.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from api.demo.errors import DemoError

_START_LIMIT_S = (
    180.0  # the first start creates a database cluster: 3 s on an idle machine, far more on a busy one
)
_STOP_LIMIT_S = 60.0
_REQUEST_LIMIT_S = 120.0
_POLL_S = 0.2
_LOG_LINES_SHOWN = 15


@contextlib.contextmanager
def running_server(settings: Mapping[str, str] | None = None) -> Iterator[httpx.Client]:
    """A client of a server that is ready, with a key for everything. Server, database and data are gone
    afterwards. `settings`: environment variables of the server, such as EARMARK_NUM_WORKERS.

    Raises DemoError when the server does not get ready or does not stop; the message ends with its log.
    """
    folder = Path(tempfile.mkdtemp(prefix="earmark-demo-"))
    # A new temporary folder is closed to others, and root's PostgreSQL runs as an unprivileged user, who
    # must be able to pass through. Passing is not listing, and the data folder below is closed by its owner.
    folder.chmod(0o711)
    try:
        with _server_process(folder, settings or {}) as base_url:
            headers = {"Authorization": f"Bearer {_create_key(folder)}"}
            with httpx.Client(base_url=base_url, timeout=_REQUEST_LIMIT_S, headers=headers) as client:
                yield client
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _server_process(folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    port = free_port()
    log_path = folder / "server.log"
    command = _earmark(folder, "serve", "--host", "127.0.0.1", "--port", str(port))
    environment = {**_environment(), **settings}
    with log_path.open("wb") as log:
        # A group of its own: Ctrl-C then reaches the demo only, and the demo stops the server in order.
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        base_url = f"http://127.0.0.1:{port}"
        wait_until_ready(process, base_url, log_path)
        yield base_url
    finally:
        _stop(process, log_path)


def _create_key(folder: Path) -> str:
    """As an operator does it: beside the running server, on the same data."""
    scopes = [word for scope in ("mark", "generate", "audit") for word in ("--scope", scope)]
    command = _earmark(folder, "keys", "create", "demo", *scopes)
    made = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    if made.returncode:
        raise DemoError(f"no API key could be made: {made.stderr.strip()}")
    return made.stdout.strip()


def _earmark(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "api.cli.main", "--data-dir", str(folder / "data"), *words]


def _environment() -> dict[str, str]:
    """Ours, without the settings of whoever runs the demo."""
    return {key: value for key, value in os.environ.items() if not key.startswith("EARMARK_")}


def free_port() -> int:
    """A port that was free a moment ago. Should another process take it first, the server does not start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(process: subprocess.Popen[bytes], base_url: str, log_path: Path) -> None:
    deadline_s = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise DemoError(
                f"the server ended at its start with exit code {process.returncode}:\n{_tail(log_path)}"
            )
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{base_url}/readyz", timeout=5.0).is_success:
                return
        time.sleep(_POLL_S)
    raise DemoError(f"the server was not ready after {_START_LIMIT_S:.0f} s:\n{_tail(log_path)}")


def _stop(process: subprocess.Popen[bytes], log_path: Path) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise DemoError(f"the server did not stop within {_STOP_LIMIT_S:.0f} s:\n{_tail(log_path)}") from None


def _tail(log_path: Path) -> str:
    return "\n".join(log_path.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
