"""Watch a log from outside: follow it, recompute its tree from its entries, and say what is wrong by name.

    monitor = Monitor(fetch, trust, kept)
    report = monitor.look()          # raises ProofRefused, LogDamaged; else what is new

The order of a look: (1) fetch the checkpoint and check its signatures; (2) it must extend the one that was
kept; (3) every leaf since then gives the hashes of the tiles, and these the root that was signed; (4) keep
the checkpoint. The first look reads the whole log. Source: rekor-monitor (2026) for the contract. Not
covered: a log that shows others another tree; compare what several monitors keep, or ask for witnesses in the
trust root.

What a crash leaves: before (4) the older checkpoint, so the next look does it again.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from audio.durable import replace_durably
from registry.errors import LogDamaged, ProofRefused, Refusal, RegistryInputError
from registry.log.checkpoint import Checkpoint
from registry.log.merkle import complete_root, leaf_hash, root
from registry.log.tiles import (
    CHECKPOINT,
    TILE_HEIGHT,
    TILE_WIDTH,
    Fetch,
    TileReader,
    split_tile,
    tile_path,
)
from registry.log.trust import TrustRoot


@dataclass(frozen=True)
class Report:
    """What one look found: nothing wrong, or it would have raised."""

    origin: str
    old_size: int
    size: int
    num_new_by_kind: dict[str, int]


class Monitor:
    """Follows one log. `kept` is the file with the last checkpoint that was found good."""

    def __init__(self, fetch: Fetch, trust: TrustRoot, kept: Path) -> None:
        self._fetch = fetch
        self._trust = trust
        self._kept = kept

    def look(self) -> Report:
        """Raises `ProofRefused` or `LogDamaged` when the log cannot be trusted any more, `LogUnavailable`
        when it does not answer, `RegistryInputError` when the kept file cannot be used; in each case the file
        stays as it was."""
        note = self._fetch(CHECKPOINT)
        checkpoint, _ = self._trust.checkpoint(note)  # (1)
        old = self._last() or Checkpoint.empty(checkpoint.origin)
        reader = TileReader(self._fetch, checkpoint.size)
        if checkpoint.size < old.size or root(reader.node, old.size) != old.root:  # (2)
            raise ProofRefused(
                Refusal.INCONSISTENT,
                f"the log {checkpoint.origin} was rewritten: its {checkpoint.size} entries do not begin with "
                f"the {old.size} that were signed before",
            )
        kinds = check_tiles(reader, checkpoint.root, old.size)  # (3)
        if root(reader.node, checkpoint.size) != checkpoint.root:
            raise LogDamaged(f"the tiles of {checkpoint.origin} do not lead to the root that it signed")
        try:
            replace_durably(self._kept, note, 0o644)  # (4)
        except OSError as error:
            raise RegistryInputError(f"{self._kept} cannot be written: {error.strerror}") from error
        return Report(checkpoint.origin, old.size, checkpoint.size, dict(kinds))

    def _last(self) -> Checkpoint | None:
        try:
            return self._trust.checkpoint(self._kept.read_bytes())[0]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RegistryInputError(f"{self._kept} cannot be read: {error.strerror}") from error


def check_tiles(reader: TileReader, signed_root: bytes, start: int = 0) -> Counter[str]:
    """Compare every tile that holds a leaf from `start` on with the leaves, and each tile with those below.

    Returns how many leaves of each kind there are from `start` on. Raises `LogDamaged` that names the file:
    of entries and their hashes, the one that does not lead to `signed_root`.
    """
    kinds: Counter[str] = Counter()
    for first, leaves in reader.leaves(start):
        hashes = [leaf_hash(leaf) for leaf in leaves]
        number = first // TILE_WIDTH
        if reader.tile(0, number) != b"".join(hashes):
            raise LogDamaged(_which_was_changed(reader, signed_root, number, hashes))
        for index, leaf in enumerate(leaves, first):
            if index >= start:
                kinds[_kind(leaf, index)] += 1
    level = 0
    while reader.size >> 8 * (level + 1):
        level += 1
        width = reader.size >> 8 * level
        for number in range((start >> 8 * level) // TILE_WIDTH, -(-width // TILE_WIDTH)):
            children = range(number * TILE_WIDTH, min((number + 1) * TILE_WIDTH, width))
            below = (complete_root(split_tile(reader.tile(level - 1, child))) for child in children)
            if reader.tile(level, number) != b"".join(below):
                path = tile_path(level, number, len(children))
                raise LogDamaged(f"{path} is not what the tiles below give: one of the two was changed")
    return kinds


def _which_was_changed(reader: TileReader, signed_root: bytes, number: int, hashes: list[bytes]) -> str:
    """`hashes` are of the entries, and not those of the tile."""
    tile = tile_path(0, number, len(hashes))
    entries = tile_path("entries", number, len(hashes))
    if _leads_up(reader, signed_root, 0, number, split_tile(reader.tile(0, number))):
        return f"{entries} is not what its hashes give, and these lead to the signed root: it was changed"
    if _leads_up(reader, signed_root, 0, number, hashes):
        return f"{tile} is not what the entries give, and these lead to the signed root: it was changed"
    return f"{tile} is not what the entries give, and neither it nor {entries} leads to the signed root"


def _leads_up(reader: TileReader, signed_root: bytes, level: int, number: int, hashes: list[bytes]) -> bool:
    """Whether the root is the signed one when these hashes are in the place of that tile's."""
    if len(hashes) == TILE_WIDTH:
        above, place = divmod(number, TILE_WIDTH)
        parents = split_tile(reader.tile(level + 1, above))
        return parents[place] == complete_root(hashes) and _leads_up(
            reader, signed_root, level + 1, above, parents
        )

    def node(height: int, index: int) -> bytes:
        tile_level, inner = divmod(height, TILE_HEIGHT)
        tile, first = divmod(index << inner, TILE_WIDTH)
        if (tile_level, tile) != (level, number):
            return reader.node(height, index)
        return complete_root(hashes[first : first + (1 << inner)])

    return root(node, reader.size) == signed_root


def _kind(leaf: bytes, index: int) -> str:
    try:
        return str(json.loads(leaf)["kind"])
    except (ValueError, KeyError, TypeError) as error:
        raise LogDamaged(f"entry {index} of the log is not one of ours") from error
