"""Signed results that were made up or changed: the one documented refusal, or what was signed, nothing else.

Over REST too: whoever checks a result quotes a stranger's words back, and those may be no text at all."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api import signing
from api.schemas import AudioInput, Detection, Retention, Verdict
from registry import ProofRefused, Refusal
from registry.log import SigningKey, VerifierKey, canonical
from tests.api.conftest import Server

KEY = SigningKey("log.example/1", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
AT = datetime(2026, 1, 1, tzinfo=UTC)
DETECTION = Detection(
    id=uuid.UUID(int=7), created_at=AT, verdict=Verdict.NOT_DETECTED, verdict_reason="nothing is found",
    input=AudioInput(
        sha256="0" * 64, bytes=9, container="wav", codec="pcm", duration_s=1.5, channels=1,
        sample_rate_hz=24_000,
    ),
    evidence=[], generation=None, limits=["é"], retention=Retention(audio_deleted_at=AT),
)  # fmt: skip
SIGNED: dict[str, Any] = signing.sign(DETECTION, KEY).model_dump(mode="json")
WHOLE = json.dumps(SIGNED).encode()
BODY = canonical({name: value for name, value in SIGNED.items() if name != "signature"})

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
signatures = values | st.just(SIGNED["signature"]) | st.text().map(lambda word: f"— log.example/1 {word}")
results = st.dictionaries(st.text(), values).flatmap(
    lambda members: signatures.map(lambda line: members | {"signature": line})
)


def signer(data: bytes) -> VerifierKey | None:
    """Who signed it; None: it was refused as the docstrings say, in words that can be sent on."""
    try:
        return signing.check(signing.parse(data), (KEY.verifier,))
    except ProofRefused as refused:
        assert refused.reason in (Refusal.MALFORMED, Refusal.UNSIGNED, Refusal.BAD_SIGNATURE)
        assert str(refused).encode()
        return None


def is_whole(data: bytes) -> bool:
    """Whether these bytes say what was signed, in whatever spelling."""
    return canonical({**signing.parse(data), "signature": None}) == canonical({**SIGNED, "signature": None})


def test_what_was_signed_is_accepted_in_any_spelling() -> None:
    assert signer(WHOLE) == KEY.verifier
    assert signer(json.dumps(SIGNED, indent=2, sort_keys=True, ensure_ascii=False).encode()) == KEY.verifier
    assert signer(WHOLE.decode().encode("utf-16")) == KEY.verifier


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=200)
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | results.map(lambda result: json.dumps(result).encode())
)
@example(b"1" * 5000)
@example(b'{"a":' + b"1" * 5000 + b',"signature":"x"}')
@example(b'{"a":' * 3000 + b"1" + b"}" * 3000)
@example(b'{"a": 1e400, "signature": "\xe2\x80\x94 log.example/1 AAAAAAAA"}')
@example(b'{"signature": "\\ud800"}')
@example(b'{"signature": "\\u2014 \\ud800 AAAAAAAA"}')
@example(b'{"\\ud800": 1, "signature": "\xe2\x80\x94 log.example/1 AAAAAAAA"}')
def test_no_bytes_are_taken_for_a_result_of_ours(data: bytes) -> None:
    assert signer(data) is None


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(WHOLE)), st.integers(0, 40), st.binary(max_size=40))
def test_a_result_with_bytes_cut_out_or_put_in_is_refused_unless_it_says_the_same(
    place: int, removed: int, junk: bytes
) -> None:
    changed = WHOLE[:place] + junk + WHOLE[place + removed :]
    if signer(changed) is not None:
        assert is_whole(changed)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(SIGNED)), values)
def test_a_result_with_another_value_is_refused_unless_it_is_the_same(name: str, value: object) -> None:
    changed = json.dumps(SIGNED | {name: value}).encode()
    if signer(changed) is not None:
        assert is_whole(changed)


@settings(deadline=None, max_examples=200)
@given(results | st.fixed_dictionaries({"signature": signatures}))
def test_a_made_up_result_under_the_signature_of_another_is_refused(result: dict[str, Any]) -> None:
    """The parsed object is what a library caller has: not all of these can be written as JSON."""
    with pytest.raises(ProofRefused):
        signing.check(result, (KEY.verifier,))


@pytest.mark.parametrize(
    "body",
    [
        rb'{"signature": "\u2014 \ud800 AAAAAAAA"}',
        rb'{"signature": "\ud800"}',
        rb'{"\ud800": 1, "signature": "x"}',
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
    ],
)
def test_what_no_text_can_quote_is_answered_all_the_same(server: Server, body: bytes) -> None:
    """Half of a surrogate pair in the signer's name, said back in the answer, would be a 500."""
    headers = {"Content-Type": "application/json"}
    answer = server.client.post("/v1/detections/check", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["valid"] is False
