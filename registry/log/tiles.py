"""The log as a folder of files, and the tree's nodes out of them.

    tile/<level>/<number>[.p/<width>]     up to 256 hashes of complete subtrees of 256**level leaves
    tile/entries/<number>[.p/<width>]     up to 256 leaves, each after its length (two bytes, big-endian)
    checkpoint                            the signed note

Everything under `tile` is a function of the leaves alone, so whoever has them can write any file again, and
two writers write the same bytes. Source: C2SP tlog-tiles, 2026. Dimensions: W = 256 hashes a tile.

What a crash leaves: a file is written beside its place, synced, renamed, and its folder synced, so each is
there whole or not at all; files of a tree that was never signed are overwritten by the next batch.
"""

import contextlib
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from audio.durable import sync_folder, write_synced
from registry.errors import LogDamaged, LogUnavailable
from registry.log.merkle import HASH_BYTES, complete_root, leaf_hash

Fetch: TypeAlias = Callable[[str], bytes]
"""The bytes of one file of a log by its path below the log's root. Raises `LogUnavailable` when it cannot be
had, `LogDamaged` when there is no such file."""

TILE_WIDTH = 256
TILE_HEIGHT = 8
MAX_LEAF_BYTES = 65_535
CHECKPOINT = "checkpoint"
_PATH = re.compile(
    r"tile/(?:entries|[0-9]|[1-5][0-9]|6[0-3])(?:/x[0-9]{3})*/[0-9]{3}(?:\.p/(?:[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?"
)


def tile_path(level: int | str, number: int, width: int = TILE_WIDTH) -> str:
    """`level` is a number, or "entries"; the number is in groups of three digits: x001/x234/067."""
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03}")
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(groups)}{partial}"


def is_tile_path(path: str) -> bool:
    """Whether a log may have such a file; nothing else is ever opened for a stranger."""
    return _PATH.fullmatch(path) is not None


class TileReader:
    """Nodes and leaves of one tree of `size` leaves, each file fetched once. Safe between threads.

    A reader made from an `older` one of the same log goes on with what that has read: full tiles and complete
    subtrees never change. Raises what `fetch` raises, and `LogDamaged` for a file of the wrong length; hashes
    are not checked here.
    """

    MAX_KEPT_TILES = 512  # 4 MB
    MAX_KEPT_NODES = 50_000  # 10 MB, measured 2026-11; thought to be 8 before

    def __init__(self, fetch: Fetch, size: int, older: "TileReader | None" = None) -> None:
        self.size = size
        self._fetch = fetch
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._mutex = threading.Lock()
        if older is not None:
            with older._mutex:
                full = TILE_WIDTH * HASH_BYTES
                self._tiles = {place: tile for place, tile in older._tiles.items() if len(tile) == full}
                self._nodes = dict(older._nodes)

    def node(self, level: int, index: int) -> bytes:
        """The root of the complete subtree of 2**level leaves (see `merkle.Node`)."""
        kept = self._nodes.get((level, index))
        if kept is None:
            kept = self._compute(level, index)
            with self._mutex:
                if len(self._nodes) >= self.MAX_KEPT_NODES:
                    self._nodes.clear()
                self._nodes[level, index] = kept
        return kept

    def tile(self, level: int, number: int) -> bytes:
        """The hashes of one tile, as many as this tree has."""
        with self._mutex:
            kept = self._tiles.get((level, number))
        if kept is None:
            width = min((self.size >> TILE_HEIGHT * level) - number * TILE_WIDTH, TILE_WIDTH)
            path = tile_path(level, number, width)
            kept = self._fetch(path)
            if len(kept) != width * HASH_BYTES:
                raise LogDamaged(f"{path} has {len(kept)} bytes in place of {width * HASH_BYTES}")
            with self._mutex:
                if len(self._tiles) >= self.MAX_KEPT_TILES:
                    self._tiles.clear()
                self._tiles[level, number] = kept
        return kept

    def last_bundle(self) -> list[bytes]:
        """The leaves of the bundle that is not full; none when all are."""
        rest = self.leaves(self.size) if self.size % TILE_WIDTH else iter(())
        return next(rest, (self.size, []))[1]

    def leaves(self, start: int = 0) -> Iterator[tuple[int, list[bytes]]]:
        """All leaves in bundles, from the one that holds leaf `start`: the first index, and the leaves."""
        for number in range(start // TILE_WIDTH, -(-self.size // TILE_WIDTH)):
            width = min(self.size - number * TILE_WIDTH, TILE_WIDTH)
            path = tile_path("entries", number, width)
            yield number * TILE_WIDTH, _unbundle(self._fetch(path), width, path)

    def _compute(self, level: int, index: int) -> bytes:
        tile_level, inner = divmod(level, TILE_HEIGHT)
        number, first = divmod(index << inner, TILE_WIDTH)
        tile = self.tile(tile_level, number)
        count = 1 << inner
        assert (first + count) * HASH_BYTES <= len(tile), "this subtree is not complete in this tree"
        return complete_root(split_tile(tile[first * HASH_BYTES : (first + count) * HASH_BYTES]))


class TileFolder:
    """The files of our own log. Writing is for one process at a time (sequencer.py); reading is free."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> bytes:
        """A `Fetch`. A partial tile that has grown since is cut out of a longer one: who has fetched an older
        checkpoint goes on with that tree, however many batches come meanwhile."""
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            return self._cut_out(path)
        except OSError as error:
            raise LogUnavailable(f"{self.root / path} cannot be read: {error.strerror}") from error

    def checkpoint(self) -> bytes | None:
        """The signed note that is published; None before the first."""
        try:
            return (self.root / CHECKPOINT).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LogUnavailable(f"{self.root / CHECKPOINT} cannot be read: {error.strerror}") from error

    def append(self, size: int, leaves: Sequence[bytes]) -> TileReader:
        """Write what `leaves` add to a tree of `size`; returns the reader of the new tree. All is durable
        when it returns, nothing is published. Raises `LogUnavailable` for what the disk refuses."""
        old, new = TileReader(self.read, size), TileReader(self.read, size + len(leaves))
        written: list[Path] = []
        hashes, level, first = [leaf_hash(leaf) for leaf in leaves], 0, size
        while hashes:
            kept = old.tile(level, first // TILE_WIDTH) if first % TILE_WIDTH else b""
            filled = []
            for number, chunk in _tiles(first, [*split_tile(kept), *hashes]):
                written.append(self._put(tile_path(level, number, len(chunk)), b"".join(chunk)))
                filled += [complete_root(chunk)] if len(chunk) == TILE_WIDTH else []
            hashes, level, first = filled, level + 1, first // TILE_WIDTH
        for number, bundle in _tiles(size, [*old.last_bundle(), *leaves]):
            data = b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in bundle)
            written.append(self._put(tile_path("entries", number, len(bundle)), data))
        for folder in {path.parent for path in written}:
            _sync(folder)
        return new

    def publish(self, checkpoint: bytes) -> None:
        """Replace the checkpoint: from now on the tree is public. Durable when it returns."""
        _sync(self._put(CHECKPOINT, checkpoint).parent)

    def drop_partials(self, before: int, size: int) -> None:
        """Remove the partial tiles that the tree of `size` made superfluous; `before` was public until now.

        Readers of older trees still find theirs, cut out of a longer tile (`read`); a plain web server serves
        those of the last two trees. What stays behind after a crash only takes space.
        """
        for level in ("entries", *range(-(-size.bit_length() // TILE_HEIGHT))):
            height = 0 if level == "entries" else TILE_HEIGHT * int(level)
            number, width = divmod(before >> height, TILE_WIDTH)
            is_full = size >> height >= (number + 1) * TILE_WIDTH
            folder = self.root / f"{tile_path(level, number)}.p"
            with contextlib.suppress(OSError):
                for partial in folder.glob("[1-9]*"):
                    if is_full or int(partial.name) < width:
                        partial.unlink(missing_ok=True)
                if is_full:
                    folder.rmdir()

    def _cut_out(self, path: str) -> bytes:
        full, separator, width = path.partition(".p/")
        for _ in range(3 if separator else 0):  # a longer one is there before a shorter one goes
            for longer, file in self._longer(full, int(width)):
                with contextlib.suppress(OSError):
                    return _beginning(file.read_bytes(), longer, int(width), path)
        raise LogDamaged(f"the log has no {path}; it should, so a file was removed or a wrong one asked for")

    def _longer(self, full: str, width: int) -> list[tuple[int, Path]]:
        """The files that begin with this partial tile, and how wide they are."""
        partials = [one for one in (self.root / f"{full}.p").glob("[1-9]*") if one.name.isdecimal()]
        found = [(TILE_WIDTH, self.root / full), *((int(one.name), one) for one in partials)]
        return sorted((one for one in found if one[0] > width), reverse=True)

    def _put(self, path: str, data: bytes) -> Path:
        """The file, its bytes on disk and its name not yet: the caller syncs the folder."""
        target = self.root / path
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            _make_folder(target.parent)
            write_synced(temporary, data, 0o644)
            temporary.replace(target)
        except OSError as error:
            raise LogUnavailable(f"{target} cannot be written: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return target


def _sync(folder: Path) -> None:
    try:
        sync_folder(folder)
    except OSError as error:
        raise LogUnavailable(f"{folder} cannot be synced: {error.strerror}") from error


def _make_folder(folder: Path) -> None:
    """With its name on disk, and those of the folders above that are new."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def _tiles(first: int, items: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Items in tiles; `items` begins with those of the tile that holds number `first`."""
    number = first // TILE_WIDTH
    for start in range(0, len(items), TILE_WIDTH):
        yield number + start // TILE_WIDTH, items[start : start + TILE_WIDTH]


def split_tile(tile: bytes) -> list[bytes]:
    """Its hashes."""
    return [tile[start : start + HASH_BYTES] for start in range(0, len(tile), HASH_BYTES)]


def _beginning(data: bytes, have: int, want: int, path: str) -> bytes:
    if "/entries/" not in path:
        return data[: want * HASH_BYTES]
    leaves = _unbundle(data, have, path)[:want]
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def _unbundle(data: bytes, count: int, path: str) -> list[bytes]:
    places = [0]
    while places[-1] + 2 <= len(data) and len(places) <= count:
        places.append(places[-1] + 2 + int.from_bytes(data[places[-1] : places[-1] + 2], "big"))
    if places[-1] != len(data) or len(places) != count + 1:
        raise LogDamaged(f"{path} does not hold {count} whole entries")
    return [data[start + 2 : end] for start, end in pairwise(places)]
