"""Over HTTP: what needs a key, what anonymous callers see, and how often anyone may ask."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from api.access.accounts import Scope
from api.access.certainty import certainty
from api.access.key_text import new_key_text
from api.app import create_app
from api.settings import Settings
from audio import decode
from tests.api.conftest import Marked, Server, bearer, flac, recording, row, running
from tests.api.test_hostile_uploads import assert_problem

PUBLIC = {
    "get_liveness", "get_readiness",  # uncounted too: whoever restarts the process must always get through
    "create_detection", "get_generation", "get_proof", "check_detection",
    "get_checkpoint", "get_log_key", "get_tile",  # uncounted: files that caches and monitors read
}  # fmt: skip
AUDIO = {"Content-Type": "audio/flac"}
NUMBERS = ("score", "threshold", "false_alarm_probability")


@contextmanager
def server_with(database_url: str, folder: Path, **settings: object) -> Iterator[tuple[httpx.Client, str]]:
    """A server of the test's own without a key, and a key for everything."""
    app = create_app(Settings(data_dir=folder, database_url=database_url, **settings))
    with running(app) as base_url, httpx.Client(base_url=base_url, timeout=60) as client:
        yield client, app.state.service.accounts.create("test", set(Scope)).text


def test_what_is_public_is_listed_here_and_nothing_else_is(server: Server) -> None:
    """A route without a key is a decision; forgetting the dependency must not be one."""
    document = server.client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            security = operation.get("security", [])
            is_public = not security or {} in security
            assert is_public == (operation["operationId"] in PUBLIC), operation["operationId"]
            if is_public:
                continue
            url = path.replace("{generation_id}", "x")
            response = server.anonymous.request(method, url, content=b"x", headers=AUDIO)
            assert response.status_code == 401, url
            assert assert_problem(response)["code"] == "missing-key"
            assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Basic YTpi", "Bearer a b", "bearer earmark_", f"Bearer {new_key_text()}", "\xff"],
)
@pytest.mark.parametrize("path", ["/v1/generations", "/v1/generations/0192f7a0-0000-7000-8000-000000000000"])
def test_a_wrong_key_is_401_also_where_none_is_needed(server: Server, header: str, path: str) -> None:
    """A typing error that counts as no key gets coarse answers for weeks before anybody notices."""
    response = server.anonymous.get(path, headers={"Authorization": header.encode("latin-1")})
    assert response.status_code == 401
    assert assert_problem(response)["code"] == "invalid-key"
    if len(header) > 30:
        assert header.split()[-1] not in response.text


def test_a_key_without_the_scope_is_403(server: Server) -> None:
    key = server.service.accounts.create("only audit", {Scope.AUDIT}).text
    response = server.anonymous.post("/v1/marks", content=recording("amelia"), headers=AUDIO | bearer(key))
    assert response.status_code == 403
    assert assert_problem(response)["code"] == "missing-scope"
    assert server.anonymous.get("/v1/generations", headers=bearer(key)).status_code == 200


def test_a_revoked_key_is_refused_at_the_next_request(server: Server) -> None:
    new = server.service.accounts.create("short-lived", {Scope.AUDIT})
    assert server.anonymous.get("/v1/generations", headers=bearer(new.text)).status_code == 200
    server.service.accounts.revoke(new.stored.key_id)
    assert server.anonymous.get("/v1/generations", headers=bearer(new.text)).status_code == 401


def test_without_a_key_words_stand_for_numbers_and_the_verdict_is_the_same(
    server: Server, kathleen: Marked
) -> None:
    exact = server.detect(kathleen.data)
    coarse = server.anonymous.post("/v1/detections", content=kathleen.data, headers=AUDIO).json()
    assert (exact["precision"], coarse["precision"]) == ("exact", "coarse")
    for member in ("verdict", "verdict_reason", "input", "generation", "limits"):
        assert coarse[member] == exact[member]
    for one, other in zip(coarse["evidence"], exact["evidence"], strict=True):
        assert (one["outcome"], one["reason"], one["certainty"]) == (
            other["outcome"], other["reason"], other["certainty"],
        )  # fmt: skip
        assert [one[number] for number in NUMBERS] == [None, None, None]
        assert len(one["segments"]) == len(other["segments"])
        for span, exact_span in zip(one["segments"], other["segments"], strict=True):
            assert span["score"] is None
            assert (2 * span["start_s"]).is_integer()
            assert span["start_s"] <= exact_span["start_s"] <= exact_span["end_s"] <= span["end_s"] + 1e-9
            assert span["content_id"] == exact_span["content_id"]
    assert row(exact, "watermark_keyed")["certainty"] == "high"
    assert row(exact, "watermark_public")["certainty"] is None


def test_no_number_of_an_anonymous_answer_moves_with_a_small_change(server: Server, kathleen: Marked) -> None:
    """The oracle: whatever moves is what an attack climbs along. Hash, size and time are the file's own."""
    rng = np.random.default_rng(5)
    answers = []
    for level in (0.0, 3e-4):
        noise_T = level * rng.standard_normal(len(kathleen.wav_T)).astype(np.float32)
        answer = server.anonymous.post(
            "/v1/detections", content=flac(kathleen.wav_T + noise_T), headers=AUDIO
        ).json()
        answers.append({name: answer[name] for name in ("verdict", "verdict_reason", "evidence")})
    assert answers[0] == answers[1]


def test_an_address_without_a_key_gets_its_rate_and_is_told_when_to_come_back(
    database_url: str, tmp_path: Path
) -> None:
    with server_with(database_url, tmp_path, requests_per_minute_address=2) as (client, key):
        unknown = "/v1/generations/0192f7a0-0000-7000-8000-000000000000"
        assert [client.get(unknown).status_code for _ in range(3)] == [404, 404, 429]
        refused = client.get(unknown)
        assert assert_problem(refused)["code"] == "too-many-requests"
        assert 50 <= int(refused.headers["Retry-After"]) == refused.json()["retry_after_s"] <= 60
        assert client.get(unknown, headers=bearer(key)).status_code == 404, "a key has a rate of its own"
        assert client.get("/livez").status_code == client.get("/readyz").status_code == 200


def test_many_wrong_keys_from_one_address_are_not_even_looked_up(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server_with(database_url, tmp_path) as (client, key):
        statuses = [
            client.get("/v1/generations", headers=bearer(new_key_text())).status_code for _ in range(22)
        ]
        assert statuses == [401] * 20 + [429] * 2
        looked_up = []
        monkeypatch.setattr("registry.keys.KeyStore.find", lambda *_: looked_up.append(1))
        assert client.get("/v1/generations", headers=bearer(key)).status_code == 429
        assert not looked_up


def test_variants_of_one_recording_use_up_a_budget(database_url: str, tmp_path: Path) -> None:
    with server_with(database_url, tmp_path, near_duplicates_per_hour_address=3) as (client, key):
        original = recording("amelia")
        wav_T = decode(original).wav_T
        statuses = [
            client.post("/v1/detections", content=flac(wav_T * np.float32(level)), headers=AUDIO).status_code
            for level in np.linspace(0.9, 0.5, 5)
        ]
        assert statuses == [200, 200, 200, 429, 429]
        other = client.post("/v1/detections", content=recording("krisgesling"), headers=AUDIO)
        assert other.status_code == 200
        assert client.post("/v1/detections", content=original, headers=AUDIO | bearer(key)).status_code == 200


def test_anonymous_marks_are_refused_unless_the_operator_allows_them(
    database_url: str, tmp_path: Path
) -> None:
    with server_with(database_url, tmp_path, allow_anonymous_marks=True) as (client, _):
        marked = client.post("/v1/marks", content=recording("amelia"), headers=AUDIO)
        assert marked.status_code == 200
        named = client.post(
            "/v1/marks", content=recording("amelia"), headers=AUDIO | {"Idempotency-Key": "12345678"}
        )
        assert named.status_code == 401, "an answer is kept for a key alone"


@pytest.mark.parametrize(
    ("p", "word"),
    [
        (0.0, "high"),
        (1e-6, "high"),
        (1.01e-6, "moderate"),
        (1e-3, "moderate"),
        (0.0011, "low"),
        (None, "low"),
    ],
)
def test_the_words_change_at_the_documented_limits(p: float | None, word: str) -> None:
    assert certainty(p) == word
