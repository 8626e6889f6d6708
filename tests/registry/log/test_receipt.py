"""Receipts: the bytes of one, a corpus of bad ones with one reason each, and no traceback for any bytes.

`BAD` changes a good receipt in one way each; all are refused, for that reason, by the library, and by the
independent verifier wherever the reason is one that it knows.
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
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import ProofRefused, Refusal, RegistryInputError
from registry.log.canonical import canonical
from registry.log.checkpoint import Checkpoint
from registry.log.merkle import complete_root, inclusion_proof, leaf_hash, root
from registry.log.note import Note, SigningKey, VerifierKey
from registry.log.receipt import Receipt, commitment
from registry.log.trust import TrustRoot

VERIFIER = Path(__file__).with_name("independent.py")
KEY = SigningKey("log.example/1", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER_KEY = SigningKey("log.example/1", Ed25519PrivateKey.from_private_bytes(bytes(32)))
WITNESS = SigningKey("w1.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
TRUST = TrustRoot((KEY.verifier,))
SALT = b"s" * 32
FILE, PCM = b"the released file", hashlib.sha256(b"samples").digest()
LEAF = canonical(
    {
        "v": 1,
        "kind": "generation",
        "event": "finished",
        "file_commit": commitment(SALT, hashlib.sha256(FILE).digest()),
        "pcm_commit": commitment(SALT, PCM),
    }
)
LEAVES = [*(b'{"n":%d}' % number for number in range(4)), LEAF, b'{"n":5}', b'{"n":6}']
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def node(level: int, index: int) -> bytes:
    return complete_root(HASHES[index << level : (index + 1) << level])


def note(
    key: SigningKey = KEY, *, size: int = 7, tree: bytes = root(node, 7), origin: str = "log.example/1"
) -> bytes:
    return str(key.sign_note(Checkpoint(origin, size, tree).text)).encode()


GOOD = Receipt(4, tuple(inclusion_proof(node, 4, 7)), note(), LEAF, SALT)


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


def changed(old: bytes, new: bytes) -> bytes:
    assert old in GOOD.encode()
    return GOOD.encode().replace(old, new, 1)


def made(**fields: object) -> bytes:
    return Receipt(**{**vars(GOOD), **fields}).encode()


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


BAD: dict[str, tuple[Refusal, bytes]] = {
    "another first line": (Refusal.MALFORMED, changed(b"tlog-proof@v1", b"tlog-proof@v2")),
    "no extra line": (Refusal.MALFORMED, changed(GOOD.encode().split(b"\n")[1] + b"\n", b"")),
    "extra is no base64": (Refusal.MALFORMED, changed(b"extra ", b"extra !")),
    "extra is no JSON": (Refusal.MALFORMED, changed(GOOD.encode().split(b"\n")[1], b"extra e30tLQ==")),
    "negative index": (Refusal.MALFORMED, changed(b"index 4", b"index -4")),
    "index with a leading zero": (Refusal.MALFORMED, changed(b"index 4", b"index 04")),
    "missing index": (Refusal.MALFORMED, changed(b"index 4\n", b"")),
    "a short hash": (Refusal.MALFORMED, made(proof=(*GOOD.proof[:2], GOOD.proof[2][:31]))),
    "64 hashes": (Refusal.MALFORMED, made(proof=(bytes(32),) * 64)),
    "a salt of 31 bytes": (Refusal.MALFORMED, made(salt=SALT[:31])),
    "leaf not canonical": (Refusal.MALFORMED, made(leaf=LEAF.replace(b",", b", "))),
    "missing origin": (Refusal.MALFORMED, made(checkpoint=note(origin=""))),
    "missing size": (Refusal.MALFORMED, changed(b"log.example/1\n7\n", b"log.example/1\n")),
    "missing root": (Refusal.MALFORMED, changed(base64.b64encode(root(node, 7)) + b"\n", b"")),
    "a short root": (Refusal.MALFORMED, made(checkpoint=note(tree=bytes(31)))),
    "no signature": (Refusal.MALFORMED, GOOD.encode().rpartition("— ".encode())[0]),
    "cut in the middle": (Refusal.MALFORMED, GOOD.encode()[: len(GOOD.encode()) // 2]),
    "another log": (Refusal.WRONG_LOG, made(checkpoint=note(origin="other.example"))),
    "another key of that name": (Refusal.UNSIGNED, made(checkpoint=note(OTHER_KEY))),
    "only a witness signed": (
        Refusal.UNSIGNED,
        made(
            checkpoint=str(
                Note(Note.parse(note()).text, (WITNESS.cosign(Note.parse(note()).text.encode(), 1),))
            ).encode()
        ),
    ),
    "root changed under the signature": (
        Refusal.BAD_SIGNATURE,
        changed(base64.b64encode(root(node, 7)), base64.b64encode(bytes(32))),
    ),
    "size changed under the signature": (
        Refusal.BAD_SIGNATURE,
        changed(b"log.example/1\n7\n", b"log.example/1\n8\n"),
    ),
    "index beyond the tree": (Refusal.NOT_IN_TREE, made(index=7)),
    "another index": (Refusal.WRONG_PROOF, made(index=5)),
    "another leaf": (Refusal.WRONG_PROOF, made(leaf=LEAVES[3])),
    "a changed hash": (Refusal.WRONG_PROOF, made(proof=(flipped(GOOD.proof[0]), *GOOD.proof[1:]))),
    "a missing hash": (Refusal.WRONG_PROOF, made(proof=GOOD.proof[:-1])),
    "one hash too many": (Refusal.WRONG_PROOF, made(proof=(*GOOD.proof, bytes(32)))),
    "hashes in another order": (Refusal.WRONG_PROOF, made(proof=GOOD.proof[::-1])),
    "a signed tree of other leaves": (Refusal.WRONG_PROOF, made(checkpoint=note(tree=bytes(32)))),
}
LENIENT = {"leaf not canonical", "a salt of 31 bytes", "64 hashes", "index with a leading zero"}
"""Refused by us for their form; the independent verifier needs no opinion on them."""


@pytest.mark.parametrize("name", BAD)
def test_a_bad_receipt_is_refused_for_its_own_reason(name: str) -> None:
    reason, receipt = BAD[name]
    with pytest.raises(ProofRefused) as refused:
        Receipt.parse(receipt).verify(TRUST)
    assert refused.value.reason is reason, refused.value
    assert str(refused.value)


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


def cosigned(*witnesses: SigningKey) -> bytes:
    signed = Note.parse(note())
    lines = tuple(witness.cosign(signed.text.encode(), 1_800_000_000) for witness in witnesses)
    return made(checkpoint=str(Note(signed.text, (*signed.signatures, *lines))).encode())


def test_a_trust_root_with_a_quorum_counts_witnesses() -> None:
    second = SigningKey("w2.example", Ed25519PrivateKey.from_private_bytes(b"x" * 32))
    trust = TrustRoot.parse(
        f"# whom we believe\nlog {KEY.verifier}\nwitness w1 {WITNESS.witness_verifier}\n"
        f"witness w2 {second.witness_verifier}\ngroup both all w1 w2\nquorum both\n"
    )
    verified = Receipt.parse(cosigned(WITNESS, second)).verify(trust)
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
