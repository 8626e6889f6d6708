"""The server is killed while it speaks: what the client has heard is in the registry all the same."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from api.service import Service
from api.settings import Settings
from registry import GenerationState
from tests.api.chat.conftest import FRAME_S, Client, connected
from tests.api.chat.test_session import seated, spoke
from tests.api.conftest import flac
from tests.api.test_marked_stream import MAX_UNREGISTERED_S

ROOT = Path(__file__).parents[3]


@contextmanager
def speaking(environment: dict[str, str]) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A process that serves, and its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.api.chat.speaking_server", str(port)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | environment) as process:
        try:
            deadline = time.monotonic() + 120
            while not _alive(url):
                assert process.poll() is None, "the server ended at its start"
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield process, url
        finally:
            process.kill()


def _alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez").status_code == 200
    except httpx.TransportError:
        return False


def test_what_was_heard_before_the_kill_is_recognised(database_url: str, tmp_path: Path) -> None:
    environment = {
        "EARMARK_DATA_DIR": str(tmp_path),
        "EARMARK_DATABASE_URL": database_url,
        "EARMARK_MODEL": "parrot",
    }
    with speaking(environment) as (process, url), connected(url) as client:
        client.listen(seated)
        for _ in range(5):
            client.say(12)
            time.sleep(12 * FRAME_S)
        client.listen(spoke(55))
        decoders = _children_of(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _drain(client)
    heard_T = client.heard()
    with Service.open(Settings(data_dir=tmp_path, database_url=database_url)) as service:
        (row,) = service.registry.generations(limit=10)
        assert row.state is GenerationState.ABORTED
        assert row.duration_s > len(heard_T) / 24_000 - MAX_UNREGISTERED_S
        answer = service.detect(flac(heard_T))
        assert answer.verdict in ("issued_here", "issued_here_altered")
        assert answer.generation is not None
        assert answer.generation.generation_id == row.generation_id
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in decoders):
        assert time.monotonic() < deadline, "a decoder outlived its server"
        time.sleep(0.05)


def _children_of(pid: int) -> list[str]:
    """The decoder processes of the server's threads."""
    children = [
        child
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    assert children
    return children


def _drain(client: Client) -> None:
    """What the kernel still holds of what was sent before the kill."""
    try:
        while True:
            client.messages.append(client.socket.recv(timeout=1))
    except Exception:  # the connection broke, as it must
        return
