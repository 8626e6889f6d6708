"""Receipts: the bytes of one, a corpus of bad ones with one reason each, and no traceback for any bytes.

The corpus is receipts.py; all of it is refused, for its reason, by the library, and by the independent
verifier wherever the reason is one that it knows.
"""

import base64
import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import ProofRefused, Refusal, RegistryInputError
from registry.log.canonical import canonical
from registry.log.checkpoint import Checkpoint
from registry.log.merkle import root
from registry.log.note import MAX_NOTE_BYTES, Note, VerifierKey
from registry.log.receipt import MAX_RECEIPT_BYTES, Receipt
from registry.log.trust import TrustRoot
from tests.registry.log.receipts import (
    BAD,
    BOTH_WITNESSES,
    FILE,
    GOOD,
    HASHES,
    KEY,
    LEAF,
    LEAVES,
    LENIENT,
    NEEDS_AUDIO,
    NO_MATTER_OF_A_RECEIPT,
    PCM,
    SALT,
    SECOND_WITNESS,
    TRUST,
    TRUSTED_OTHERWISE,
    WITNESS,
    cosigned,
    large,
    made,
    node,
    note,
    with_strangers,
)

VERIFIER = Path(__file__).with_name("independent.py")


def test_a_receipt_is_written_as_the_specification_says() -> None:
    """Hand-written: any other tlog-proof reader must be able to read it."""
    lines = GOOD.encode().decode().split("\n")
    extra = base64.b64encode(canonical({"leaf": LEAF.decode(), "salt": SALT.hex()})).decode()
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", f"extra {extra}", "index 4"]
    assert [base64.b64decode(line) for line in lines[3:6]] == [HASHES[5], HASHES[6], node(2, 0)]
    assert lines[6:10] == ["", "log.example/1", "7", base64.b64encode(root(node, 7)).decode()]
    assert lines[10] == ""
    assert lines[11].startswith("— log.example/1 ")
    assert lines[12:] == [""]


def test_a_good_receipt_verifies_and_so_it_does_elsewhere() -> None:
    verified = Receipt.parse(GOOD.encode()).verify(TRUST)
    assert (verified.index, verified.entry["event"], verified.checkpoint.size) == (4, "finished", 7)
    assert independent(GOOD.encode()) == {"index": 4, "size": 7, "entry": json.loads(LEAF)}


def independent(receipt: bytes) -> dict | None:
    command = [sys.executable, "-I", VERIFIER, "receipt", str(KEY.verifier)]
    ended = subprocess.run(command, input=receipt, capture_output=True, check=False)
    assert b"Traceback" not in ended.stderr, ended.stderr
    return json.loads(ended.stdout) if ended.returncode == 0 else None


@pytest.mark.parametrize("name", BAD)
def test_a_bad_receipt_is_refused_for_its_own_reason(name: str) -> None:
    reason, receipt = BAD[name]
    with pytest.raises(ProofRefused) as refused:
        Receipt.parse(receipt).verify(TRUSTED_OTHERWISE.get(name, TRUST))
    assert refused.value.reason is reason, refused.value
    assert str(refused.value)


def test_the_corpus_has_every_reason_and_only_what_is_wrong_about_it() -> None:
    """The largest that are read, and the one that both witnesses signed, are good."""
    assert {reason for reason, _ in BAD.values()} == set(Refusal) - NO_MATTER_OF_A_RECEIPT - NEEDS_AUDIO
    largest_note = with_strangers(note(), 1, MAX_NOTE_BYTES - len(note()))
    most_signatures = with_strangers(note(), 99, 100)
    for good in (large(MAX_RECEIPT_BYTES), made(checkpoint=largest_note), made(checkpoint=most_signatures)):
        assert Receipt.parse(good).verify(TRUST)
    assert len(Receipt.parse(cosigned(WITNESS, SECOND_WITNESS)).verify(BOTH_WITNESSES).witnesses) == 2


@pytest.mark.parametrize("name", sorted(set(BAD) - LENIENT))
def test_the_independent_verifier_refuses_it_too(name: str) -> None:
    assert independent(BAD[name][1]) is None


def test_audio_is_what_the_receipt_commits_to_or_refused() -> None:
    def no_samples() -> bytes:
        raise AssertionError("decoded although the file was the one")

    assert GOOD.check_audio(FILE, no_samples) == "file"
    assert GOOD.check_audio(b"the same samples as WAV", lambda: PCM) == "samples"
    for receipt, reason in [
        (GOOD, Refusal.WRONG_AUDIO),
        (GOOD.without_salt(), Refusal.NO_SALT),
        (Receipt(**{**vars(GOOD), "salt": b"t" * 32}), Refusal.WRONG_AUDIO),
        (Receipt(**{**vars(GOOD), "leaf": LEAVES[0]}), Refusal.NO_COMMITMENT),
    ]:
        with pytest.raises(ProofRefused) as refused:
            receipt.check_audio(b"another file", lambda: bytes(32))
        assert refused.value.reason is reason


def test_the_leaf_says_nothing_about_the_audio_without_the_salt() -> None:
    for known in (FILE, PCM, hashlib.sha256(FILE).digest()):
        assert hashlib.sha256(known).hexdigest().encode() not in LEAF
        assert known.hex().encode() not in LEAF


@settings(deadline=None)  # the time limit is for an idle machine
@given(st.binary(max_size=300), st.integers(0, len(GOOD.encode())), st.integers(0, 40))
def test_no_bytes_raise_anything_but_a_refusal(junk: bytes, place: int, removed: int) -> None:
    whole = GOOD.encode()
    for data in (junk, whole[:place] + junk + whole[place + removed :]):
        try:
            Receipt.parse(data).verify(TRUST)
        except ProofRefused:
            continue
        assert junk == whole[place : place + removed] or Receipt.parse(data).leaf == LEAF


@settings(deadline=None)  # the time limit is for an idle machine
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_note_and_no_key_raise_anything_but_their_own_error(data: bytes) -> None:
    for parse, own in [
        (lambda: Note.parse(data), ProofRefused),
        (lambda: Checkpoint.of(data), ProofRefused),
        (lambda: VerifierKey.parse(data.decode(errors="replace")), RegistryInputError),
        (lambda: TrustRoot.parse(data.decode(errors="replace")), RegistryInputError),
    ]:
        refused_with(parse, own)


def refused_with(parse: Callable[[], object], own: type[Exception]) -> None:
    with contextlib.suppress(own):
        parse()


# trust roots


def test_a_trust_root_with_a_quorum_counts_witnesses() -> None:
    trust = TrustRoot.parse(
        f"# whom we believe\nlog {KEY.verifier}\nwitness w1 {WITNESS.witness_verifier}\n"
        f"witness w2 {SECOND_WITNESS.witness_verifier}\ngroup both all w1 w2\nquorum both\n"
    )
    verified = Receipt.parse(cosigned(WITNESS, SECOND_WITNESS)).verify(trust)
    assert [key.name for key in verified.witnesses] == ["w1.example", "w2.example"]
    with pytest.raises(ProofRefused) as refused:
        Receipt.parse(cosigned(WITNESS)).verify(trust)
    assert refused.value.reason is Refusal.TOO_FEW_WITNESSES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log",
        "quorum none",
        f"log {KEY.verifier}\nquorum w9",
        f"log {KEY.verifier}\ngroup g 2 w1",
        "believe everyone",
    ],
)
def test_a_trust_root_that_trusts_nobody_or_is_mistyped_is_refused(text: str) -> None:
    with pytest.raises(RegistryInputError):
        TrustRoot.parse(text)


def test_a_public_key_reads_as_it_was_written_and_a_changed_one_is_refused() -> None:
    """The form of C2SP signed-note, hand-checked: name, id, base64 of type 1 and the key."""
    text = str(KEY.verifier)
    assert text.split("+")[0] == "log.example/1"
    assert base64.b64decode(text.split("+", 2)[2])[0] == 1
    assert VerifierKey.parse(text) == KEY.verifier
    with pytest.raises(RegistryInputError):
        VerifierKey.parse(text.replace("log.example/1", "log.example/2"))
