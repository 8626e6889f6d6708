"""Whom a verifier believes: the log's keys, witnesses, and how many of those must have signed.

    log       earmark/7f3a+1c2d3e4f+AX...
    witness   w1 example.org/w1+0a1b2c3d+BN...
    group     both all w1 w2
    quorum    both

Source: C2SP tlog-policy, 2026, without groups of groups. A file that holds nothing but one public key is a
log without witnesses. There is no empty trust: a root without a log is refused.
"""

from dataclasses import dataclass
from typing import Self

from registry.errors import ProofRefused, Refusal, RegistryInputError
from registry.log.checkpoint import Checkpoint
from registry.log.note import Note, VerifierKey


@dataclass(frozen=True)
class TrustRoot:
    """A checkpoint counts when a key of `logs` signed it, and `quorum` of the `witnesses`."""

    logs: tuple[VerifierKey, ...]
    witnesses: tuple[VerifierKey, ...] = ()
    quorum: int = 0

    def __post_init__(self) -> None:
        if not self.logs:
            raise RegistryInputError("a trust root names at least one log: `log PUBLIC_KEY`")
        if not 0 <= self.quorum <= len(self.witnesses):
            raise RegistryInputError(f"{self.quorum} of {len(self.witnesses)} witnesses can never sign")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a public key or the lines above. Raises `RegistryInputError`, naming the line."""
        lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        if len(lines) == 1 and len(lines[0]) == 1:
            return cls((VerifierKey.parse(lines[0][0]),))
        logs: list[VerifierKey] = []
        witnesses: dict[str, VerifierKey] = {}
        groups: dict[str, tuple[int, list[str]]] = {}
        chosen: tuple[int, list[str]] = (0, [])
        for line in lines:
            match line:
                case ["log", key, *_]:
                    logs.append(VerifierKey.parse(key))
                case ["witness", name, key, *_]:
                    witnesses[name] = VerifierKey.parse(key)
                case ["group", name, count, *members] if members and set(members) <= set(witnesses):
                    needed = {"any": 1, "all": len(members)}.get(count) or _count(count)
                    groups[name] = (needed, members)
                case ["quorum", "none"]:
                    chosen = (0, [])
                case ["quorum", name] if name in groups:
                    chosen = groups[name]
                case ["quorum", name] if name in witnesses:
                    chosen = (1, [name])
                case _:
                    raise RegistryInputError(f"a trust root does not have the line {' '.join(line)!r}")
        return cls(tuple(logs), tuple(witnesses[name] for name in chosen[1]), chosen[0])

    def checkpoint(self, data: bytes) -> tuple[Checkpoint, list[VerifierKey]]:
        """The checkpoint of a signed note that this root believes, and the witnesses that signed it.

        Raises `ProofRefused`: malformed, wrong log, bad signature, unsigned, too few witnesses.
        """
        note = Note.parse(data)
        checkpoint = Checkpoint.parse(note.text)
        keys = [key for key in self.logs if key.name == checkpoint.origin]
        if not keys:
            raise ProofRefused(Refusal.WRONG_LOG, f"it is from the log {checkpoint.origin!r}, not yours")
        if not note.signed_by(keys):
            raise ProofRefused(Refusal.UNSIGNED, f"no key that you trust for {checkpoint.origin} signed it")
        witnesses = note.signed_by(self.witnesses)
        if len(witnesses) < self.quorum:
            raise ProofRefused(
                Refusal.TOO_FEW_WITNESSES, f"{len(witnesses)} witnesses signed it and {self.quorum} must"
            )
        return checkpoint, witnesses


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or text == "0":
        raise RegistryInputError(f"a group needs any, all or a number of members, not {text!r}")
    return int(text)
