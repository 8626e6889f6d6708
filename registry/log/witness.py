"""A witness of other logs: it signs a log's newest tree, with the time, and never one that rewrites an older.

    old 20852014
    <consistency proof, a hash a line>

    <signed checkpoint>

Source: C2SP tlog-witness, 2026, whose statuses the kinds of `Answer` are. The last tree of each log is one
file, a signed note, in the witness's folder. The steps: (1) parse; (2) a known log, signed by its key; (3)
the old size is the one kept here; (4) the proof; (5) keep; (6) sign.

What a crash leaves: before (5) nothing; after it a kept tree without an answer, and the log that asks again
is told the new size (conflict) and asks from there.
"""

import fcntl
import hashlib
import os
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from audio.durable import replace_durably
from registry.errors import LogUnavailable, ProofRefused, Refusal, RegistryInputError
from registry.log.checkpoint import DECIMAL, Checkpoint
from registry.log.merkle import HASH_BYTES, is_consistent
from registry.log.note import Note, SigningKey, VerifierKey, decode_base64
from registry.log.trust import TrustRoot

MAX_PROOF_HASHES = 63


class Answer(Enum):
    """What became of a checkpoint that was submitted."""

    SIGNED = "signed"  # the body is the cosignature's line
    MALFORMED = "malformed"
    UNKNOWN_LOG = "unknown log"
    UNTRUSTED = "untrusted"  # no key of that log signed it
    CONFLICT = "conflict"  # the body is the size that is kept
    INCONSISTENT = "inconsistent"


@dataclass(frozen=True)
class Submission:
    """What a log sends."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes

    @classmethod
    def parse(cls, body: bytes) -> "Submission":
        """Raises `ProofRefused` (malformed)."""
        head, _, note = body.partition(b"\n\n")
        lines = head.decode(errors="replace").split("\n")
        name, _, size = lines[0].partition(" ")
        proof = tuple(map(decode_base64, lines[1:]))
        wrong_hash = len(proof) > MAX_PROOF_HASHES or any(len(one) != HASH_BYTES for one in proof)
        if name != "old" or not DECIMAL.fullmatch(size) or wrong_hash:
            raise ProofRefused(Refusal.MALFORMED, "this is not a submission to a witness")
        return cls(int(size), proof, note)


class Witness:
    """Signs for the logs it was told of. Safe in several processes on one folder."""

    def __init__(self, key: SigningKey, logs: tuple[VerifierKey, ...], folder: Path) -> None:
        self.key = key
        self._logs = logs
        self._folder = folder

    def add_checkpoint(self, body: bytes) -> tuple[Answer, str]:
        """Answer one submission: what became of it, and the body to send. Raises `LogUnavailable` when the
        tree cannot be kept; then nothing was signed."""
        try:
            asked = Submission.parse(body)  # (1)
            note = Note.parse(asked.note)
            checkpoint = Checkpoint.parse(note.text)
        except ProofRefused as error:
            return Answer.MALFORMED, f"{error}\n"
        keys = tuple(key for key in self._logs if key.name == checkpoint.origin)
        if not keys:  # (2)
            return Answer.UNKNOWN_LOG, f"this witness does not know {checkpoint.origin}\n"
        try:
            TrustRoot(keys).checkpoint(asked.note)
        except (ProofRefused, RegistryInputError) as error:
            return Answer.UNTRUSTED, f"{error}\n"
        if asked.old_size > checkpoint.size:
            return Answer.MALFORMED, "the old size is beyond the new one\n"
        try:
            return self._decide(asked, note, checkpoint)
        except OSError as error:
            raise LogUnavailable(f"the witness cannot keep this tree: {error.strerror}") from error

    def _decide(self, asked: Submission, note: Note, checkpoint: Checkpoint) -> tuple[Answer, str]:
        path = self._folder / f"{hashlib.sha256(checkpoint.origin.encode()).hexdigest()}.checkpoint"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # from reading what is kept to keeping the new one
            kept = Checkpoint.of(path.read_bytes()) if path.exists() else Checkpoint.empty(checkpoint.origin)
            same_size = checkpoint.size == kept.size
            if asked.old_size != kept.size or (same_size and checkpoint.root != kept.root):  # (3)
                return Answer.CONFLICT, f"{kept.size}\n"
            if not is_consistent(kept.size, checkpoint.size, kept.root, checkpoint.root, asked.proof):  # (4)
                return Answer.INCONSISTENT, "the proof does not show that this tree extends the last one\n"
            replace_durably(path, str(note).encode())  # (5)
            return Answer.SIGNED, f"{self.key.cosign(note.text.encode(), int(time.time()))}\n"  # (6)
        finally:
            os.close(lock)
