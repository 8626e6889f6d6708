"""A good receipt, what makes others of it, and the corpus of bad ones: each is wrong in one way.

reason, receipt = BAD["a missing hash"]
"""

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.errors import Refusal
from registry.log.canonical import canonical
from registry.log.checkpoint import Checkpoint
from registry.log.merkle import complete_root, inclusion_proof, leaf_hash, root
from registry.log.note import MAX_NOTE_BYTES, Note, SigningKey
from registry.log.receipt import MAX_RECEIPT_BYTES, Receipt, commitment
from registry.log.trust import TrustRoot

KEY = SigningKey("log.example/1", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER_KEY = SigningKey("log.example/1", Ed25519PrivateKey.from_private_bytes(bytes(32)))
WITNESS = SigningKey("w1.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
SECOND_WITNESS = SigningKey("w2.example", Ed25519PrivateKey.from_private_bytes(b"x" * 32))
FOREIGN_WITNESS = SigningKey("w2.example", Ed25519PrivateKey.from_private_bytes(b"y" * 32))
TRUST = TrustRoot((KEY.verifier,))
BOTH_WITNESSES = TrustRoot((KEY.verifier,), (WITNESS.witness_verifier, SECOND_WITNESS.witness_verifier), 2)
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


def changed(old: bytes, new: bytes) -> bytes:
    assert old in GOOD.encode()
    return GOOD.encode().replace(old, new, 1)


def made(**fields: object) -> bytes:
    return Receipt(**{**vars(GOOD), **fields}).encode()


def with_strangers(signed: bytes, count: int, num_bytes: int) -> bytes:
    """A note with so many more signature lines of so many bytes, of keys that nobody knows: still good, since
    anyone may add such lines."""
    rest = b" AAAAAAAA\n"
    start = "\N{EM DASH} ".encode()
    return signed + (start + b"s" * (num_bytes - len(start + rest)) + rest) * count


def large(num_bytes: int) -> bytes:
    """A good receipt of so many bytes."""
    leaf = canonical({"text": "x" * (num_bytes // 2)})
    signed = note(size=1, tree=leaf_hash(leaf))
    missing = num_bytes - len(Receipt(0, (), signed, leaf).encode())
    return Receipt(0, (), with_strangers(signed, 1, missing), leaf).encode()


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def cosigned(*witnesses: SigningKey) -> bytes:
    signed = Note.parse(note())
    lines = tuple(witness.cosign(signed.text.encode(), 1_800_000_000) for witness in witnesses)
    return made(checkpoint=str(Note(signed.text, (*signed.signatures, *lines))).encode())


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
    "larger than a receipt may be": (Refusal.MALFORMED, large(MAX_RECEIPT_BYTES + 1)),
    "a note larger than a note may be": (
        Refusal.MALFORMED,
        made(checkpoint=with_strangers(note(), 1, MAX_NOTE_BYTES + 1 - len(note()))),
    ),
    "101 signatures": (Refusal.MALFORMED, made(checkpoint=with_strangers(note(), 100, 100))),
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
    "no witness of two": (Refusal.TOO_FEW_WITNESSES, cosigned()),
    "one witness of two": (Refusal.TOO_FEW_WITNESSES, cosigned(WITNESS)),
    "one witness twice": (Refusal.TOO_FEW_WITNESSES, cosigned(WITNESS, WITNESS)),
    "another key of a witness's name": (Refusal.TOO_FEW_WITNESSES, cosigned(WITNESS, FOREIGN_WITNESS)),
}
TRUSTED_OTHERWISE = {name: BOTH_WITNESSES for name in BAD if BAD[name][0] is Refusal.TOO_FEW_WITNESSES}
"""All others are refused by who asks for no witness."""
LENIENT = {
    "leaf not canonical",
    "a salt of 31 bytes",
    "64 hashes",
    "index with a leading zero",
    "larger than a receipt may be",
    "a note larger than a note may be",
    "101 signatures",
    *TRUSTED_OTHERWISE,
}
"""Refused by us for their form or their witnesses; the independent verifier needs no opinion on them."""
NO_MATTER_OF_A_RECEIPT = {Refusal.INCONSISTENT}  # of two trees: test_log.py of api/cli, the witness's tests
NEEDS_AUDIO = {Refusal.NO_COMMITMENT, Refusal.NO_SALT, Refusal.WRONG_AUDIO}  # below
