"""One server with a parrot and one browser for all tests of the pages, which are skipped without a
browser."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from api.access.accounts import Scope
from api.app import create_app
from api.service import Service
from api.settings import Settings
from audio import decode, encode
from benchmarks.browser import CHROMIUM, Browser, View, browsing
from tests.api.chat.parrot import Parrot
from tests.api.conftest import MANY, Marked, bearer, recording, running
from tests.conftest import reachable_folder
from tests.generation.tiny import write_tiny_voice

MAX_BODY_BYTES = 2_000_000
QUESTION = "krisgesling"
"""What the microphone hears, over and over. Nobody marks it here, nor eltocino: they are the strangers; the
parrot says amelia."""


@dataclass(frozen=True)
class Site:
    """The running server, and what is inside."""

    base_url: str
    client: httpx.Client  # with a key for everything
    key: str
    app: FastAPI
    service: Service
    parrot: Parrot

    def mark(self, name: str) -> Marked:
        original = recording(name)
        response = self.client.post("/v1/marks", content=original, headers={"Content-Type": "audio/flac"})
        assert response.status_code == 200, response.text
        headers = response.headers
        wav_T = decode(response.content).wav_T
        ids = headers["Earmark-Generation-Id"], headers["Earmark-Content-Id"]
        return Marked(decode(original).wav_T, response.content, wav_T, *ids)


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    with reachable_folder() as folder:
        parrot = Parrot()
        settings = Settings(
            data_dir=folder / "data",
            model="parrot",
            voice=str(write_tiny_voice(folder / "tiny")),
            max_body_bytes=MAX_BODY_BYTES,
            chat_session_s=60.0,
            requests_per_minute_address=MANY,
            requests_per_minute_everyone=MANY,
            near_duplicates_per_hour_address=MANY,
            near_duplicates_per_hour_key=MANY,
        )
        app = create_app(settings, lambda _: parrot)
        with running(app) as base_url:
            service = app.state.service
            key = service.accounts.create("tests", set(Scope)).text
            with httpx.Client(base_url=base_url, timeout=120, headers=bearer(key)) as client:
                yield Site(base_url, client, key, app, service, parrot)


@pytest.fixture(scope="package")
def kathleen(site: Site) -> Marked:
    return site.mark("kathleen_1")


@pytest.fixture(scope="package")
def browser(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """For the package and not for the session: while Playwright runs, no other test may start an event
    loop."""
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("needs chromium (apt-get install chromium) and Playwright (make setup)")
    microphone: Path = tmp_path_factory.mktemp("microphone") / "question.wav"
    microphone.write_bytes(encode(decode(recording(QUESTION)).wav_T, 24_000, "wav"))
    with browsing(site.base_url, microphone) as opened:
        yield opened


def assert_clean(view: View, browser: Browser) -> None:
    """Nothing on the console, and nothing asked of any other host."""
    assert view.complaints == []
    inside = (browser.base_url, "blob:", browser.base_url.replace("http", "ws"))
    assert [address for address in view.addresses if not address.startswith(inside)] == []
