"""A running server that speaks, and a client of the websocket that takes messages apart."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sphn
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from api.app import create_app
from api.chat.protocol import Kind
from api.chat.room import Room
from api.chat.stage import Speaker
from api.service import Service
from api.settings import Settings
from registry import Generation
from tests.api.chat.parrot import FRAME_SAMPLES, Parrot
from tests.api.conftest import running

FRAME_S = 0.08


@dataclass
class Client:
    """A connection, and what came over it so far."""

    socket: Any
    messages: list[bytes] = field(default_factory=list)
    close_code: int | None = None
    close_reason: str = ""

    def __post_init__(self) -> None:
        self._writer = sphn.OpusStreamWriter(24_000)

    def say(self, wav_T: NDArray[np.float32] | int) -> None:
        """Send audio at once; an int is that many frames of a quiet tone."""
        if isinstance(wav_T, int):
            wav_T = 0.1 * np.sin(np.arange(wav_T * FRAME_SAMPLES, dtype=np.float32) / 10)
        for at in range(0, len(wav_T) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            self.socket.send(b"\x01" + self._writer.append_pcm(wav_T[at : at + FRAME_SAMPLES]))

    def listen(self, until: Callable[["Client"], bool], timeout_s: float = 30.0) -> None:
        """Take messages until the condition holds; a close that comes first fails the test."""
        deadline = time.monotonic() + timeout_s
        while not until(self):
            assert self.close_code is None, f"closed: {self.close_code} {self.close_reason}"
            assert time.monotonic() < deadline, f"got only {[one[:20] for one in self.messages]}"
            self._take(0.1)

    def until_closed(self, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while self.close_code is None:
            assert time.monotonic() < deadline, "the server did not close"
            self._take(0.1)

    def of(self, kind: Kind) -> list[bytes]:
        """Payloads of one kind, in order."""
        return [one[1:] for one in self.messages if one[0] == kind]

    @property
    def seated(self) -> bool:
        return b"\x00" in self.messages

    def heard(self) -> NDArray[np.float32]:
        """What the official reader makes of the audio that came, message by message."""
        reader = sphn.OpusStreamReader(24_000)
        return np.concatenate([reader.append_bytes(pages) for pages in self.of(Kind.AUDIO)])

    def _take(self, timeout_s: float) -> None:
        try:
            message = self.socket.recv(timeout=timeout_s)
        except TimeoutError:
            return
        except ConnectionClosed as exc:
            assert exc.rcvd is not None, "the connection broke"
            self.close_code, self.close_reason = exc.rcvd.code, exc.rcvd.reason
            return
        assert isinstance(message, bytes) and message, message
        self.messages.append(message)


@contextmanager
def connected(url: str, query: str = "", **options: Any) -> Iterator[Client]:
    """A client of the server at this URL."""
    # No limit on what the client holds: it would stop reading, and not see the server's close.
    options = {"compression": None, "max_queue": None} | options
    with connect(url.replace("http", "ws") + "/api/chat" + query, **options) as socket:
        yield Client(socket)


@dataclass(frozen=True)
class Stage:
    """A running server with a parrot, and what is inside."""

    url: str
    parrot: Parrot
    service: Service
    room: Room

    @property
    def address(self) -> tuple[str, int]:
        url = httpx.URL(self.url)
        assert url.port is not None
        return url.host, url.port

    def client(self, query: str = "", **options: Any) -> AbstractContextManager[Client]:
        return connected(self.url, query, **options)

    def ready(self) -> dict[str, str]:
        """The checks of a service that is ready."""
        response = httpx.get(f"{self.url}/readyz")
        assert response.status_code == 200
        checks: dict[str, str] = response.json()["checks"]
        return checks

    def generations(self) -> list[Generation]:
        """Newest first."""
        return self.service.registry.generations(limit=100)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.01)


Load = Callable[[Settings], Speaker]
Staged = Callable[..., AbstractContextManager[Stage]]


@pytest.fixture
def staged(database_url: str, tmp_path: Path) -> Staged:
    """Run a server around a parrot, or what a function loads, with any settings of the chat."""

    @contextmanager
    def run(speaker: Parrot | Load | None = None, **settings: Any) -> Iterator[Stage]:
        parrot = speaker if isinstance(speaker, Parrot) else Parrot(settings.get("chat_streams", 1))
        load = speaker if speaker and not isinstance(speaker, Parrot) else lambda _: parrot
        settings = {"model": "parrot"} | settings
        chosen = Settings(data_dir=tmp_path / "data", database_url=database_url, **settings)
        app = create_app(chosen, load)
        with running(app) as url:
            yield Stage(url, parrot, app.state.service, app.state.room)

    return run


@dataclass
class Pulse:
    """How long GET /livez took while the block ran."""

    times_s: list[float] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        return sorted(self.times_s)[len(self.times_s) // 2]


@contextmanager
def pulse(url: str) -> Iterator[Pulse]:
    """Ask for /livez all the time, in a thread."""
    result, done = Pulse(), threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url) as client:
            client.get("/livez")
            while not done.wait(0.02):
                started = time.monotonic()
                assert client.get("/livez").status_code == 200
                result.times_s.append(time.monotonic() - started)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield result
    finally:
        done.set()
        thread.join()
