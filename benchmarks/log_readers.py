"""Read a log over HTTP while it grows, and check everything that a stranger can check.

    reader = LogReader(fetch, trust, kept, issued, rng)
    reader.look()      # raises RegistryError for what does not hold, LogUnavailable for what cannot be read

The order of a look: (1) a mark that was just made: its receipt against its file, as `earmark log verify` does
it; (2) the proof that the log gives of it now: the same entry at the same index, without the salt; (3) the
newest checkpoint and all new tiles, as `earmark log monitor` does it, which also checks that it extends the
last one; (4) the trees that receipt and proof were signed over are the beginning of this one. Not covered:
the log's database; `earmark log monitor` without a URL compares that.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry import LogDamaged, ProofRefused, Refusal
from registry.log import Checkpoint, Receipt, TrustRoot
from registry.log.merkle import root
from registry.log.monitor import Monitor
from registry.log.tiles import Fetch, TileReader


@dataclass(frozen=True)
class Issued:
    """What a client got for a mark: the file, its receipt, and which generation it is said to be."""

    audio: bytes
    receipt: bytes
    generation_id: str

    def verify(self, trust: TrustRoot) -> Receipt:
        """The receipt, which proves that this file is in the log. Raises `ProofRefused`."""
        receipt = Receipt.parse(self.receipt)
        entry = receipt.verify(trust).entry
        receipt.check_audio(self.audio, _no_samples)
        if entry["generation_id"] != self.generation_id:
            raise ProofRefused(Refusal.WRONG_PROOF, f"the receipt of {self.generation_id} is of {entry}")
        return receipt


class LogReader:
    """One reader, with the last checkpoint that it saw. `issued` may be changed meanwhile."""

    def __init__(
        self, fetch: Fetch, trust: TrustRoot, kept: Path, issued: Sequence[Issued], rng: random.Random
    ) -> None:
        self._fetch = fetch
        self._trust = trust
        self._kept = kept
        self._issued = issued
        self._rng = rng
        self._monitor = Monitor(fetch, trust, kept)

    def look(self) -> None:
        one = self._rng.choice(self._issued)
        receipt = one.verify(self._trust)  # (1)
        now = Receipt.parse(self._fetch(f"proof/{one.generation_id}"))
        now.verify(self._trust)
        if (now.index, now.leaf, now.salt) != (receipt.index, receipt.leaf, None):  # (2)
            raise LogDamaged(f"the proof of {one.generation_id} is not of the entry in its receipt")
        self._monitor.look()  # (3)
        newest = Checkpoint.of(self._kept.read_bytes())
        reader = TileReader(self._fetch, newest.size)
        for older in (Checkpoint.of(receipt.checkpoint), Checkpoint.of(now.checkpoint)):  # (4)
            if older.size > newest.size or root(reader.node, older.size) != older.root:
                raise ProofRefused(
                    Refusal.INCONSISTENT,
                    f"{newest.size} entries do not begin with {older.size} signed before",
                )


def verify_all(fetch: Fetch, trust: TrustRoot, kept: Path, issued: Sequence[Issued]) -> int:
    """Read the whole log from its first entry, and look for every receipt's entry in it; returns its size.
    `kept` is a file that does not exist yet. Raises as `LogReader.look`."""
    Monitor(fetch, trust, kept).look()
    size = Checkpoint.of(kept.read_bytes()).size
    public = [leaf for _, leaves in TileReader(fetch, size).leaves() for leaf in leaves]
    for one in issued:
        receipt = one.verify(trust)
        if receipt.index >= size or public[receipt.index] != receipt.leaf:
            raise LogDamaged(f"entry {receipt.index} is not what the receipt of {one.generation_id} says")
    return size


def _no_samples() -> bytes:
    """Byte for byte or not at all: no samples have this hash."""
    return bytes(32)
