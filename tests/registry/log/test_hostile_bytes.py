"""What a stranger may send or a disk may hold in place of a submission to a witness and of a tile's entries:
each is read exactly or refused with the one error that its docstring names."""

import base64
import contextlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from registry.errors import LogDamaged, ProofRefused, Refusal
from registry.log.checkpoint import Checkpoint
from registry.log.merkle import complete_root, consistency_proof, leaf_hash, root
from registry.log.note import SigningKey
from registry.log.tiles import MAX_LEAF_BYTES, TILE_WIDTH, TileReader
from registry.log.witness import MAX_PROOF_HASHES, Answer, Submission, Witness

LOG = SigningKey("log.example/1", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
WITNESS = SigningKey("witness.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))
HASHES = [leaf_hash(b"%d" % number) for number in range(7)]


def node(level: int, index: int) -> bytes:
    return complete_root(HASHES[index << level : (index + 1) << level])


def submission(old_size: int, size: int) -> bytes:
    proof = [base64.b64encode(one).decode() for one in consistency_proof(node, old_size, size)]
    note = LOG.sign_note(Checkpoint("log.example/1", size, root(node, size)).text)
    return ("\n".join([f"old {old_size}", *proof]) + f"\n\n{note}").encode()


def written(asked: Submission) -> bytes:
    """A submission as the specification has it, by other code than what read it."""
    lines = [b"old %d" % asked.old_size, *map(base64.b64encode, asked.proof)]
    return b"".join(line + b"\n" for line in lines) + b"\n" + asked.note


FIRST, NEXT = submission(0, 5), submission(5, 7)
junk = st.binary(max_size=200) | st.text(max_size=100).map(str.encode)
hostile = (
    junk
    | junk.map(b"old 0\n".__add__)
    | st.builds(
        lambda place, removed, put: NEXT[:place] + put + NEXT[place + removed :],
        st.integers(0, len(NEXT)),
        st.integers(0, 60),
        junk,
    )
)


@settings(deadline=None, max_examples=500)  # the time limit is for an idle machine
@given(hostile)
@example(b"old 1\n" + b"QQ==\n" * 5)
@example(b"old " + b"9" * 5000 + b"\n\n")
@example("old ٣\n\n".encode())
@example(b"old 1" + b"\n" + base64.b64encode(bytes(32)) + b"\n\n")
@example(b"old 1\n" + (base64.b64encode(bytes(32)) + b"\n") * (MAX_PROOF_HASHES + 1) + b"\n")
def test_a_submission_is_read_exactly_or_refused(body: bytes) -> None:
    try:
        asked = Submission.parse(body)
    except ProofRefused as refused:
        assert refused.reason is Refusal.MALFORMED
        return
    assert written(asked).startswith(body) if b"\n\n" not in body else written(asked) == body


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    """It has signed the tree of five leaves."""
    witness = Witness(WITNESS, (LOG.verifier,), tmp_path)
    assert witness.add_checkpoint(FIRST)[0] is Answer.SIGNED
    return witness


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hostile)
@example(b"old 5\n\n")
@example(NEXT.replace(b"log.example/1 ", b"log.example/2 "))
def test_a_witness_answers_every_body_and_signs_only_the_next_tree(witness: Witness, body: bytes) -> None:
    """The fixture is one for all examples on purpose: no earlier one may open the door to a later."""
    answer, text = witness.add_checkpoint(body)
    assert text.endswith("\n") and text.encode()
    if answer is Answer.SIGNED:
        asked = Submission.parse(body)
        assert (Checkpoint.of(asked.note).root, asked.old_size) in ((root(node, 7), 5), (root(node, 7), 7))


def read(data: bytes, size: int) -> list[bytes]:
    [(_, leaves)] = TileReader(lambda _: data, size).leaves()
    return leaves


def bundle(leaves: list[bytes]) -> bytes:
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=300) | st.lists(st.binary(max_size=20), max_size=9).map(bundle), st.integers(1, 9))
@example(b"\x00", 1)
@example(b"\x00\x00", 1)
@example(b"\xff\xff", 1)
@example(bytes(2 * TILE_WIDTH), TILE_WIDTH)
@example(bundle([bytes(MAX_LEAF_BYTES)] * 2), 2)
@example(bundle([b"a"]) + b"\x00", 1)
def test_a_bundle_of_entries_is_read_exactly_or_is_damage(data: bytes, size: int) -> None:
    try:
        leaves = read(data, size)
    except LogDamaged:
        return
    assert (len(leaves), bundle(leaves)) == (size, data)


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=50), min_size=1, max_size=TILE_WIDTH),
    st.integers(0, 3),
    st.binary(max_size=3),
)
def test_a_bundle_of_leaves_is_read_as_they_are_and_a_cut_or_longer_one_is_damage(
    leaves: list[bytes], cut: int, more: bytes
) -> None:
    whole = bundle(leaves)
    assert read(whole, len(leaves)) == leaves
    if cut or more:
        changed = whole[: len(whole) - cut] + more
        with contextlib.suppress(LogDamaged):
            assert bundle(read(changed, len(leaves))) == changed


@settings(deadline=None)
@given(st.integers(1, 600), st.binary(max_size=100) | st.integers(0, 20_000).map(bytes))
def test_a_tile_of_hashes_of_another_length_is_damage(size: int, data: bytes) -> None:
    width = min(size, TILE_WIDTH)
    reader = TileReader(lambda _: data, size)
    if len(data) == 32 * width:
        assert reader.tile(0, 0) == data
    else:
        with pytest.raises(LogDamaged):
            reader.tile(0, 0)
