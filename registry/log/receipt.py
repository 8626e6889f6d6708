"""A receipt: a file that shows offline that an entry is in the log, and that some audio is what it speaks of.

    c2sp.org/tlog-proof@v1
    extra <base64 of canonical JSON: the leaf, and the salt of its commitments>
    index 73894
    <sibling hashes, lowest first>

    <signed checkpoint>

Checked in this order, with the numbers used below: (1) the form; (2) a trusted log signed the checkpoint, and
enough witnesses; (3) the index lies in that tree; (4) the leaf and the proof lead to the signed root;
(5) with audio: a commitment in the leaf is SHA-256(salt || SHA-256(audio)).

Source: C2SP tlog-proof, 2026. The `extra` line is not authenticated: the leaf in it counts only after (4),
the salt only when (5) holds. Not covered: whether the generation was withdrawn later; ask the log.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from registry.errors import ProofRefused, Refusal, RegistryInputError
from registry.log.canonical import canonical, parse_canonical
from registry.log.checkpoint import DECIMAL, Checkpoint
from registry.log.merkle import HASH_BYTES, leaf_hash, root_from_inclusion
from registry.log.note import Note, VerifierKey, decode_base64, malformed
from registry.log.trust import TrustRoot

FIRST_LINE = "c2sp.org/tlog-proof@v1"
MAX_RECEIPT_BYTES = 200_000
MAX_PROOF_HASHES = 63
SALT_BYTES = 32


@dataclass(frozen=True)
class Verified:
    """What a receipt proves, once `Receipt.verify` returned it."""

    index: int
    entry: dict[str, Any]  # the leaf
    checkpoint: Checkpoint
    witnesses: tuple[VerifierKey, ...]


@dataclass(frozen=True)
class Receipt:
    """A receipt as it is kept, nothing checked. `salt` is None once erased, and where nothing needs it."""

    index: int
    proof: tuple[bytes, ...]
    checkpoint: bytes  # the signed note
    leaf: bytes  # canonical JSON
    salt: bytes | None = None

    def without_salt(self) -> Self:
        """What may be public: the commitments stay closed to who was not given the salt."""
        return replace(self, salt=None)

    def encode(self) -> bytes:
        extra: dict[str, Any] = {"leaf": self.leaf.decode()}
        if self.salt is not None:
            extra["salt"] = self.salt.hex()
        lines = [
            FIRST_LINE,
            f"extra {base64.b64encode(canonical(extra)).decode()}",
            f"index {self.index}",
            *(base64.b64encode(one).decode() for one in self.proof),
        ]
        return ("\n".join(lines) + "\n\n").encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """(1) Raises `ProofRefused` (malformed) for every sequence of bytes that is not a receipt of ours."""
        if len(data) > MAX_RECEIPT_BYTES:
            raise malformed("a file of this size is no receipt")
        head, separator, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode().split("\n")
        except UnicodeDecodeError:
            raise malformed("a receipt is text") from None
        if lines[0] != FIRST_LINE:
            raise malformed(f"a receipt begins with {FIRST_LINE}")
        if not separator or len(lines) < 3:
            raise malformed("a receipt is cut short")
        leaf, salt = _extra(lines[1])
        name, _, number = lines[2].partition(" ")
        if name != "index" or not DECIMAL.fullmatch(number):
            raise malformed("the third line of a receipt is `index` and a decimal number")
        proof = tuple(map(decode_base64, lines[3:]))
        if len(proof) > MAX_PROOF_HASHES or any(len(one) != HASH_BYTES for one in proof):
            raise malformed("a proof is at most 63 hashes of 32 bytes")
        Checkpoint.parse(Note.parse(checkpoint).text)
        return cls(int(number), proof, checkpoint, leaf, salt)

    def verify(self, trust: TrustRoot) -> Verified:
        """(2) to (4). Raises `ProofRefused` with the reason."""
        checkpoint, witnesses = trust.checkpoint(self.checkpoint)  # (2)
        if self.index >= checkpoint.size:  # (3)
            raise ProofRefused(
                Refusal.NOT_IN_TREE, f"entry {self.index} is beyond the {checkpoint.size} that are signed"
            )
        found = root_from_inclusion(self.index, checkpoint.size, leaf_hash(self.leaf), self.proof)
        if found != checkpoint.root:  # (4)
            raise ProofRefused(Refusal.WRONG_PROOF, "leaf and proof do not lead to the signed root")
        return Verified(self.index, json.loads(self.leaf), checkpoint, tuple(witnesses))

    def check_audio(self, file: bytes, samples: Callable[[], bytes]) -> str:
        """(5) Which commitment this audio opens: "file", byte for byte what was released, or "samples", the
        same samples in another file. Call after `verify`.

        `samples` gives the SHA-256 of the decoded audio (float32 little-endian, mono, 24 kHz) and is called
        only when the file is not the one. Raises `ProofRefused`: no commitment, no salt, wrong audio.
        """
        entry = json.loads(self.leaf)
        commitments = {name: entry.get(f"{name}_commit") for name in ("file", "pcm")}
        if not any(commitments.values()):
            raise ProofRefused(Refusal.NO_COMMITMENT, "this entry was logged before its audio was complete")
        if self.salt is None:
            raise ProofRefused(Refusal.NO_SALT, "the salt of its commitments is not in this receipt")
        if commitments["file"] == commitment(self.salt, hashlib.sha256(file).digest()):
            return "file"
        if commitments["pcm"] == commitment(self.salt, samples()):
            return "samples"
        raise ProofRefused(Refusal.WRONG_AUDIO, "this is not, bit for bit, the audio that was released")


def commitment(salt: bytes, sha256: bytes) -> str:
    """SHA-256(salt || SHA-256(what is hidden)), in hex: says nothing without the salt."""
    assert len(salt) == SALT_BYTES and len(sha256) == HASH_BYTES
    return hashlib.sha256(salt + sha256).hexdigest()


def _extra(line: str) -> tuple[bytes, bytes | None]:
    name, _, encoded = line.partition(" ")
    if name != "extra":
        raise malformed("the second line of a receipt is `extra` and the entry")
    try:
        extra = parse_canonical(decode_base64(encoded))
        leaf = extra["leaf"].encode()
        salt = bytes.fromhex(extra["salt"]) if "salt" in extra else None
        if not isinstance(parse_canonical(leaf), dict) or not set(extra) <= {"leaf", "salt"}:
            raise malformed("the entry in a receipt is a JSON object")
    except (RegistryInputError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise malformed(f"the entry in this receipt cannot be read: {error}") from error
    if salt is not None and len(salt) != SALT_BYTES:
        raise malformed(f"a salt has {SALT_BYTES} bytes")
    return leaf, salt
