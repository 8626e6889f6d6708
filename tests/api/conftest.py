"""The real service for the tests of `api`: PostgreSQL, index, weights and key, behind a real server."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray

from api.access.accounts import Scope
from api.app import UVICORN_OPTIONS, create_app
from api.service import Service
from api.settings import Settings
from api.workers import Workers
from audio import SAMPLE_RATE_HZ, decode, encode
from tests.conftest import reachable_folder

ASSETS = Path(__file__).parents[1] / "assets"
MAX_BODY_BYTES = 2_000_000
MAX_DURATION_S = 60.0
MANY = 1_000_000  # tests of limits have servers of their own


@dataclass(frozen=True)
class Marked:
    """A recording and what POST /v1/marks made of it."""

    original_T: NDArray[np.float32]
    data: bytes
    wav_T: NDArray[np.float32]
    generation_id: str
    content_id: str


@dataclass(frozen=True)
class Server:
    """A running server: a client for it, and what is inside."""

    client: httpx.Client  # with a key for everything
    anonymous: httpx.Client  # without one
    app: FastAPI
    service: Service
    workers: Workers

    def mark(self, name: str) -> Marked:
        original = recording(name)
        response = self.client.post("/v1/marks", content=original, headers={"Content-Type": "audio/flac"})
        assert response.status_code == 200, response.text
        return Marked(
            decode(original).wav_T,
            response.content,
            decode(response.content).wav_T,
            response.headers["Earmark-Generation-Id"],
            response.headers["Earmark-Content-Id"],
        )

    def detect(self, audio: bytes | NDArray[np.float32]) -> dict:
        data = audio if isinstance(audio, bytes) else flac(audio)
        response = self.client.post("/v1/detections", content=data, headers={"Content-Type": "audio/flac"})
        assert response.status_code == 200, response.text
        return response.json()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def recording(name: str) -> bytes:
    return (ASSETS / f"{name}.flac").read_bytes()


def flac(wav_T: NDArray[np.float32]) -> bytes:
    return encode(wav_T, SAMPLE_RATE_HZ, "flac")


def row(detection: dict, technique: str) -> dict:
    """The evidence of one technique; there is exactly one row of each."""
    (found,) = [one for one in detection["evidence"] if one["technique"] == technique]
    return found


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The base URL of a real server on the loopback interface, in a thread, until the block ends."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=60, **UVICORN_OPTIONS)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline_s = time.monotonic() + 120
            while not server.started:
                assert thread.is_alive(), "the server ended at its start"
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive(), "the server did not stop"


@contextmanager
def serving(**chosen: object) -> Iterator[Server]:
    """A server with a data folder of its own and limits that no test reaches, but for what is chosen."""
    with reachable_folder() as folder:
        usual = Settings(
            data_dir=folder / "data",
            max_body_bytes=MAX_BODY_BYTES,
            max_duration_s=MAX_DURATION_S,
            requests_per_minute_key=MANY,
            requests_per_minute_address=MANY,
            requests_per_minute_everyone=MANY,
            wrong_keys_per_minute_address=MANY,
            near_duplicates_per_hour_address=MANY,
            near_duplicates_per_hour_key=MANY,
        )
        app = create_app(usual.model_copy(update=chosen))
        with running(app) as base_url, httpx.Client(base_url=base_url, timeout=120) as anonymous:
            key = app.state.service.accounts.create("tests", set(Scope)).text
            with httpx.Client(base_url=base_url, timeout=120, headers=bearer(key)) as client:
                yield Server(client, anonymous, app, app.state.service, app.state.workers)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for the whole session; tests add to its registry.

    Nobody marks amelia, adocampo, kathleen_2 and kerstin_2 here: they are the strangers.
    """
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def kathleen(server: Server) -> Marked:
    return server.mark("kathleen_1")


@pytest.fixture(scope="session")
def kerstin(server: Server) -> Marked:
    return server.mark("kerstin_1")
