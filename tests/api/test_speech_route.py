"""POST /v1/generations over HTTP, with a tiny voice whose speech is noise."""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI

from api.access.accounts import Scope
from api.app import create_app
from api.booth import Booth
from api.errors import LOG_UNAVAILABLE
from api.routes.speech_stream import SpeechStream
from api.service import Service
from api.settings import Settings
from api.speech import MarkedSpeech
from audio import WavWriter, decode
from generation import Speaker
from registry import Generation, GenerationState, LogUnavailable
from registry.log import Receipt
from tests.api.conftest import Server, bearer, running
from tests.api.test_hostile_uploads import assert_problem
from tests.conftest import reachable_folder
from tests.generation.tiny import write_tiny_voice

TEXT = "Hello there, how are you today? The quick brown fox jumps over the lazy dog while it rains."
PATH = "/v1/generations"
SAID = {"text": TEXT, "seed": 3}


@dataclass(frozen=True)
class Speaking:
    """A running server with a voice."""

    client: httpx.Client  # with a key for everything
    app: FastAPI

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    def newest(self, num: int = 1) -> list[Generation]:
        return self.service.registry.generations(limit=num)


@pytest.fixture(scope="module")
def speaking() -> Iterator[Speaking]:
    with reachable_folder() as folder:
        voice = write_tiny_voice(folder / "tiny")
        app = create_app(
            Settings(data_dir=folder / "data", voice=str(voice), voice_waiting=0, max_duration_s=60)
        )
        with running(app) as base_url, httpx.Client(base_url=base_url, timeout=120) as client:
            key = app.state.service.accounts.create("test", set(Scope)).text
            client.headers.update(bearer(key))
            yield Speaking(client, app)


@pytest.mark.parametrize(
    ("accept", "media_type", "verdicts"),
    [
        ("*/*", "audio/wav", ("issued_here",)),
        ("audio/ogg", "audio/ogg", ("issued_here", "issued_here_altered")),  # noise suffers through Opus
    ],
)
def test_what_is_said_comes_with_its_ids_and_is_verified(
    speaking: Speaking, accept: str, media_type: str, verdicts: tuple[str, ...]
) -> None:
    response = speaking.client.post(PATH, json=SAID, headers={"Accept": accept})
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == media_type
    (row,) = speaking.newest()
    assert response.headers["Earmark-Generation-Id"] == str(row.generation_id)
    assert (row.state, row.system, row.model) == (GenerationState.COMPLETE, "earmark", "tiny")
    assert len(decode(response.content).wav_T) / 24_000 == pytest.approx(row.duration_s, abs=0.05)
    receipt = Receipt.parse(base64.b64decode(response.headers["Earmark-Receipt"]))
    assert str(row.generation_id) in receipt.leaf.decode()
    answer = speaking.client.post(
        "/v1/detections", content=response.content, headers={"Content-Type": media_type}
    ).json()
    assert answer["verdict"] in verdicts, answer["verdict_reason"]
    assert answer["generation"]["content_id"] == response.headers["Earmark-Content-Id"]


def test_speech_leaves_while_it_is_made(speaking: Speaking) -> None:
    """Whole before it leaves, a minute of speech would be a minute of silence for who waits."""
    with speaking.client.stream("POST", PATH, json=SAID) as response:
        chunks = response.iter_raw()
        assert next(chunks)[:4] == b"RIFF"
        assert speaking.newest()[0].state is GenerationState.OPEN
        for _ in chunks:
            pass
    assert speaking.newest()[0].state is GenerationState.COMPLETE


def test_the_proof_of_what_was_said_is_there_when_it_is_asked_for(speaking: Speaking) -> None:
    """The log signs while somebody waits for it, and nobody waits for the end of a stream: the proof was 503
    until somebody else had something said."""
    said = speaking.client.post(PATH, json={"text": "Hello."})
    answer = speaking.client.get(f"/v1/log/proof/{said.headers['Earmark-Generation-Id']}")
    assert answer.status_code == 200, answer.text
    assert json.loads(Receipt.parse(answer.content).leaf)["event"] == "finished"


def test_who_leaves_leaves_an_aborted_row_that_is_found_and_the_voice_is_free(speaking: Speaking) -> None:
    heard = b""
    with speaking.client.stream("POST", PATH, json={"text": " ".join([TEXT] * 8), "seed": 4}) as response:
        for chunk in response.iter_raw():
            heard += chunk
            if len(heard) > 48_000 * 4:
                break
    row = _ended(speaking, response.headers["Earmark-Generation-Id"])
    assert row.state is GenerationState.ABORTED
    answer = speaking.client.post(
        "/v1/detections", content=heard, headers={"Content-Type": "audio/wav"}
    ).json()
    assert answer["generation"]["generation_id"] == str(row.generation_id)
    assert speaking.client.post(PATH, json={"text": "Hello.", "seed": 1}).status_code == 200


def _ended(speaking: Speaking, generation_id: str) -> Generation:
    deadline_s = time.monotonic() + 30
    while (row := speaking.newest()[0]).state is GenerationState.OPEN:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert str(row.generation_id) == generation_id
    return row


def test_sent_again_under_its_name_the_request_gets_the_same_speech(speaking: Speaking) -> None:
    """A client that lost an answer would otherwise have two generations, one of which nobody holds."""
    name = {"Idempotency-Key": "0192f7a0-0000-7000-8000-000000000000"}
    first = speaking.client.post(PATH, json={"text": "Good morning."}, headers=name)
    second = speaking.client.post(PATH, json={"text": "Good morning."}, headers=name)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.content == second.content and decode(first.content).wav_T.size
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.headers["Earmark-Generation-Id"] == first.headers["Earmark-Generation-Id"]
    assert str(speaking.newest()[0].generation_id) == first.headers["Earmark-Generation-Id"]
    other = speaking.client.post(PATH, json={"text": "Good evening."}, headers=name)
    assert assert_problem(other)["code"] == "idempotency-conflict"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"text": "..."}, "nothing that can be spoken"),
        ({"text": TEXT, "style": "angry"}, "whisper"),
        ({"text": TEXT, "voice": "nobody"}, "kathleen"),
        ({"text": "word " * 400}, "send it in parts"),
        ({"text": "a" * 20_000}, "send it in parts"),  # one word, as it stands
        ({"text": ""}, "body/text"),
        ({"text": TEXT, "seed": -1}, "body/seed"),
        ({"words": TEXT}, "body/text"),
    ],
)
def test_what_cannot_be_said_is_a_problem_and_registers_nothing(
    speaking: Speaking, body: dict[str, object], word: str
) -> None:
    before = speaking.service.registry.count_generations()
    response = speaking.client.post(PATH, json=body)
    assert response.status_code == 422
    problem = assert_problem(response)
    assert problem["code"] == "invalid-request" and word in problem["detail"]
    assert speaking.service.registry.count_generations() == before


def test_one_text_is_said_at_a_time_and_who_finds_the_line_full_comes_back(speaking: Speaking) -> None:
    with speaking.client.stream("POST", PATH, json={"text": " ".join([TEXT] * 4)}) as response:
        next(response.iter_raw())
        refused = speaking.client.post(PATH, json=SAID)
        assert refused.status_code == 503
        assert refused.json()["code"] == "busy" and refused.headers["Retry-After"]
    _ended(speaking, response.headers["Earmark-Generation-Id"])


@pytest.mark.parametrize("name", [None, "0192f7a0-0000-7000-8000-00000000000a"], ids=["streamed", "kept"])
def test_without_the_log_nothing_is_said_and_the_client_is_told_to_come_back(
    speaking: Speaking, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    """Log before release: a stream has no headers yet, a kept answer is not kept, and the voice is free."""
    headers = {} if name is None else {"Idempotency-Key": name}

    def away(*_: object, **__: object) -> None:
        raise LogUnavailable("/some/path cannot be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(speaking.service.registry.log), "wait", away)
        refused = speaking.client.post(PATH, json=SAID, headers=headers)
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (503, "log-unavailable")
    assert refused.headers["Retry-After"]
    assert problem["detail"] == LOG_UNAVAILABLE.detail, "a path of the server is told to a stranger"
    assert refused.headers["Content-Type"] == "application/problem+json" and b"RIFF" not in refused.content
    assert not [one for one in refused.headers if one.startswith("earmark-")]
    (row,) = speaking.newest()
    assert (row.state, row.duration_s) == (GenerationState.ABORTED, 0.0)

    said = speaking.client.post(PATH, json={"text": "Hello."} if name is None else SAID, headers=headers)
    assert said.status_code == 200 and "Idempotency-Replayed" not in said.headers
    assert speaking.newest()[0].state is GenerationState.COMPLETE


def test_only_a_key_with_the_scope_generate_may_have_something_said(speaking: Speaking) -> None:
    key = speaking.service.accounts.create("marks", {Scope.MARK}).text
    answer = httpx.post(speaking.client.base_url.join(PATH), json=SAID, headers=bearer(key))
    assert assert_problem(answer)["code"] == "missing-scope"


def test_a_server_without_a_voice_says_so(server: Server) -> None:
    answer = server.client.post(PATH, json=SAID)
    assert answer.status_code == 404
    assert assert_problem(answer)["code"] == "no-voice"
    assert server.client.get("/readyz").json()["checks"]["voice"] == "off"


def test_a_client_that_does_not_read_is_cut_off(server: Server, tmp_path: Path) -> None:
    """It would hold the only voice for ever."""
    speaker = Speaker.load(write_tiny_voice(tmp_path / "tiny"))

    def begin(speaker: Speaker) -> MarkedSpeech:
        return MarkedSpeech.begin(server.service, speaker, speaker.read(TEXT), seed=3)

    async def run() -> None:
        booth = Booth(speaker, 0)
        stream = SpeechStream(booth, begin, WavWriter(), "audio/wav", send_timeout_s=0.2)
        with anyio.fail_after(60):
            await stream({"type": "http"}, partial(anyio.sleep, 3600), _deaf)  # type: ignore[arg-type]
            async with booth.turn() as free:
                assert free is speaker

    anyio.run(run)
    assert server.service.registry.generations(limit=1)[0].state is GenerationState.ABORTED


async def _deaf(message: dict[str, object]) -> None:
    if message["type"] == "http.response.body":
        await anyio.sleep(3600)
