"""The log over REST, and signed results."""

import base64
import copy
import hashlib
import json
import uuid
from collections.abc import Iterator

import httpx
import pytest

from api import signing
from api.errors import LOG_UNAVAILABLE
from api.measured import FINGERPRINT, READER
from registry import LogRefused, LogUnavailable, ProofRefused, Refusal
from registry.log import Receipt
from tests.api.conftest import Marked, Server, recording
from tests.api.test_hostile_uploads import assert_problem
from tests.registry.log.independent import open_checkpoint, verify_log, verify_receipt


@pytest.fixture
def key(server: Server) -> str:
    return server.client.get("/v1/log/key").text.strip()


def mark(server: Server) -> httpx.Response:
    headers = {"Content-Type": "audio/flac"}
    return server.client.post("/v1/marks", content=recording("eltocino"), headers=headers)


def test_marked_audio_comes_with_a_receipt_that_anyone_can_check(server: Server, key: str) -> None:
    answer = mark(server)
    receipt_bytes = base64.b64decode(answer.headers["Earmark-Receipt"])
    entry = verify_receipt(receipt_bytes, key)["entry"]
    assert entry["event"] == "finished"
    assert entry["generation_id"] == answer.headers["Earmark-Generation-Id"]
    receipt = Receipt.parse(receipt_bytes)
    assert receipt.salt is not None
    committed = hashlib.sha256(receipt.salt + hashlib.sha256(answer.content).digest()).hexdigest()
    assert entry["file_commit"] == committed


def test_the_served_log_is_whole_for_a_stranger(server: Server, kathleen: Marked, key: str) -> None:
    """Checkpoint, tiles and entries over HTTP, by code that shares nothing with ours."""
    base_url = f"{server.client.base_url}/v1/log".replace("//v1", "/v1")
    size, _ = open_checkpoint(server.client.get("/v1/log/checkpoint").content, key)
    assert size >= 3, "a release, and a generation begun and finished"
    assert verify_log(base_url, key)["size"] >= size


def test_a_proof_is_public_and_its_salt_is_not(server: Server, kathleen: Marked, key: str) -> None:
    answer = server.client.get(f"/v1/log/proof/{kathleen.generation_id}")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert verify_receipt(answer.content, key)["entry"]["generation_id"] == kathleen.generation_id
    assert Receipt.parse(answer.content).salt is None


def test_what_the_log_does_not_have_is_404(server: Server) -> None:
    assert assert_problem(server.client.get(f"/v1/log/proof/{uuid.uuid4()}"))["code"] == "unknown-generation"
    for path in (
        "0/x001/000",
        "entries/999",
        "9",
        "0/000.p/0",
        "0/000.p/256",
        "../keys/log.key",
        "..%2fkeys%2flog.key",
        "0/..%2f..%2f..%2fkeys%2flog.key",
        "entries/000.p/../../../../keys/log.key",
        "%00",
    ):
        answer = server.client.get(f"/v1/log/tile/{path}")
        assert answer.status_code == 404, path
        assert "earmark-log-key" not in answer.text


def test_without_the_log_no_audio_leaves_and_the_client_is_told_to_come_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise LogUnavailable("/some/path cannot be written: No space left on device")

    monkeypatch.setattr(type(server.service.registry.log), "wait", away)
    answer = mark(server)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (503, "log-unavailable")
    assert answer.headers["Retry-After"]
    assert problem["detail"] == LOG_UNAVAILABLE.detail, "a path of the server is told to a stranger"
    assert "Earmark-Receipt" not in answer.headers


def test_a_log_that_signs_nothing_makes_the_service_not_ready(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the answer does not tell strangers where its files are."""

    def gone(*_: object) -> None:
        raise LogRefused("/some/path/log.signed is gone")

    monkeypatch.setattr(type(server.service.registry.log.signer), "last_signed", gone)
    answer = server.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["log"].startswith("it takes no entries")
    assert "/some/path" not in answer.text


# signed results


@pytest.fixture
def result(server: Server, kathleen: Marked) -> dict:
    return server.detect(kathleen.data)


def check(server: Server, result: object) -> dict:
    answer = server.client.post("/v1/detections/check", json=result)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_result_is_signed_and_names_the_release_of_its_detectors(
    server: Server, result: dict, key: str
) -> None:
    assert check(server, result) == {"valid": True, "signed_by": key, "reason": None, "detail": None}
    [index] = {row["detector"]["log_index"] for row in result["evidence"]}
    entry = server.service.registry.log.entry_at(index)
    assert entry is not None
    release = json.loads(entry.leaf)
    assert release["kind"] == "detector-release"
    assert_says_what_judges(server, release["detectors"], result["evidence"])


def assert_says_what_judges(server: Server, released: list[dict], evidence: list[dict]) -> None:
    """Each detector whose p-value can decide: its weights, its threshold, and how often it errs."""
    weights = {row["technique"]: row["detector"]["weights_sha256"] for row in evidence}
    assert [one["technique"] for one in released] == ["watermark_keyed", "fingerprint"]
    for one, path in zip(released, (READER, FINGERPRINT), strict=True):
        assert one["weights_sha256"] == weights[one["technique"]] is not None
        assert 0 < one["max_false_alarm_probability"] < 0.01
        assert one["measured"] == json.loads(path.read_text())
        assert len(one["measured"]["weights_sha256"]) == 64
        assert sum(row["num_negatives"] for row in one["measured"]["false_alarms"]) > 5_000
        found = {row["edit"]: (row["num_found"], row["num_clips"]) for row in one["measured"]["found"]}
        assert {"identity", "opus_12k", "noise_10db"} <= set(found)
        assert all(0 <= num_found <= num_clips >= 40 for num_found, num_clips in found.values())
    assert released[0]["weights_sha256"] == server.service.detector.weights_sha256
    assert released[1]["weights_sha256"] == server.service.registry.fingerprinter.weights_sha256
    assert released[1]["measured_false_alarms"]["num_negatives"] > 4_000


def members(value: object, path: tuple = ()) -> Iterator[tuple]:
    """The path of each number, text and null in a JSON value."""
    inner = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if inner is None:
        yield path
        return
    for name, one in inner:
        yield from members(one, (*path, name))


def test_a_result_with_any_member_changed_is_not_valid(server: Server, result: dict) -> None:
    keys = (server.service.registry.log.key.verifier,)
    paths = [path for path in members(result) if path != ("signature",)]
    assert len(paths) > 40
    for path in paths:
        changed = copy.deepcopy(result)
        holder = changed
        for name in path[:-1]:
            holder = holder[name]
        holder[path[-1]] = "other" if holder[path[-1]] != "other" else None
        with pytest.raises(ProofRefused) as refused:
            signing.check(changed, keys)
        assert refused.value.reason is Refusal.BAD_SIGNATURE, path
    changed = result | {"one more": 1}
    assert check(server, changed)["reason"] == "bad_signature"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", "unsigned"),
        (b"[]", "malformed"),
        (b"{", "malformed"),
        (b'{"signature": "x"}', "malformed"),
        (b'{"signature": 3}', "unsigned"),
        (b'{"a": NaN, "signature": "x"}', "malformed"),
        (b'{"a": 1, "a": 2, "signature": "x"}', "malformed"),
        (b"[" * 10_000, "malformed"),
        (b'{"signature": "\xe2\x80\x94 other.example AAAAAAAA"}', "unsigned"),
        (b"\xff\xfe", "malformed"),
    ],
)
def test_what_is_no_result_of_ours_is_answered_with_the_reason(
    server: Server, body: bytes, reason: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = server.client.post("/v1/detections/check", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["valid"], answer.json()["reason"]) == (False, reason)


def test_a_check_takes_json_of_a_bounded_size(server: Server) -> None:
    assert server.client.post("/v1/detections/check", content=b"{}").status_code == 415
    headers = {"Content-Type": "application/json"}
    large = server.client.post("/v1/detections/check", content=b" " * 1_000_001, headers=headers)
    assert large.status_code == 413
