"""The search index of this process: load, replay, search, rebuild, check.

PostgreSQL is the truth and the index is derived from it: it is never asked whether something exists, only
where to look.

(1) At open: take the sealed segments of the folder when they are usable, else start from the table (3).
(2) Before every search: read the changelog behind the index's position and apply it, so that whatever was
    acknowledged before the search is found by it, whichever process wrote it.
(3) Rebuild, or a changelog that no longer reaches back to our position: a second index is filled from a
    snapshot of the table, beside the first, and takes its place.

Segments are saved as they are sealed (registry/index/store.py): a crash at any time costs a replay of what
came after the last one. One lock makes apply and search exclude each other, since Faiss allows no search
beside a change.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from registry import changelog
from registry.changelog import Change
from registry.database import Database
from registry.errors import IndexUnavailable, StartFromSnapshot
from registry.index import WindowIndex
from registry.index.quantizer import TRAIN_WINDOWS, unit
from registry.index.store import SegmentStore
from registry.tables import EMBEDDING_WIDTH, IdentityRow

log = logging.getLogger(__name__)

T = TypeVar("T")
Progress = Callable[[int, int], None]  # of the last generation: its ordinal, and the highest there is
SELF_QUERIES = 200  # stored windows that `check` looks for; each must find itself
CHECK_DEPTH = 20  # among its best; the same audio registered twice gives equal scores
SAMPLED_GENERATIONS = 256  # for the centroids: even over the whole table


@dataclass(frozen=True)
class IndexStatus:
    """How far the index follows the database."""

    position: int  # changelog position applied
    last_position: int  # committed in the database
    saved_position: int  # what a restart replays from
    num_windows: int  # in the index
    num_foreign: int  # of other versions of the fingerprint, which cannot be compared
    num_segments: int
    folder: Path | None  # of the segments; None: memory only

    @property
    def is_current(self) -> bool:
        return self.position >= self.last_position

    @property
    def lag(self) -> int:
        """Committed changes that the index has not applied; every search applies them first."""
        return max(self.last_position - self.position, 0)


@dataclass(frozen=True)
class IndexCheck:
    """The result of comparing index and database."""

    num_windows_stored: int  # informative ones in the database, by the network in use
    num_windows_indexed: int
    num_missing: int  # stored and not indexed
    num_unexpected: int  # indexed and not stored, or indexed twice
    num_self_queries: int
    num_found: int  # of those, how many found their own generation and window
    num_segment_files: int  # read again and found whole

    @property
    def passed(self) -> bool:
        return not self.num_missing and not self.num_unexpected and self.num_found == self.num_self_queries


class Replica:
    """The index and its lock. Safe to share between threads."""

    def __init__(self, database: Database, weights_sha256: str, folder: Path | None) -> None:
        """Load (1) and replay (2). Raises `DatabaseUnavailable`.

        Segments lie in a folder inside `folder` that is named for the registry, so that one may serve many.
        """
        self._database = database
        self._weights_sha256 = weights_sha256
        with database.transaction() as connection:
            registry_id = connection.execute(select(IdentityRow.registry_id)).scalar_one()
        self._store = None if folder is None else SegmentStore(folder / str(registry_id))
        self._mutex = threading.Lock()
        self._index = self._load()
        self.catch_up()

    def catch_up(self) -> int:
        """Apply everything committed so far; returns the position reached. Raises `DatabaseUnavailable`."""
        return self.search(lambda index: index.position)

    def search(self, look: Callable[[WindowIndex], T]) -> T:
        """Catch up, then run `look` on the index while nobody changes it."""
        with self._mutex:
            self._index = self._caught_up(self._index)
            return look(self._index)

    def search_again(self, look: Callable[[WindowIndex], T]) -> T:
        """As `search`, on the index as it is: for who has just caught up. Asks the database nothing."""
        with self._mutex:
            return look(self._index)

    def status(self) -> IndexStatus:
        """Where the index stands, without catching up. Raises `DatabaseUnavailable`."""
        with self._database.transaction() as connection:
            last_position = changelog.last_position(connection)
        with self._mutex:
            index = self._index
            return IndexStatus(
                position=index.position,
                last_position=last_position,
                saved_position=index.saved_position,
                num_windows=index.num_windows,
                num_foreign=index.num_foreign,
                num_segments=len(index.segments),
                folder=self._store.folder if self._store else None,
            )

    def rebuild(self, progress: Progress | None = None) -> IndexStatus:
        """Fill a new index from the table and put it in place of the present one (3).

        Searches go on in the old index meanwhile. An exception leaves the old one in place. `progress` is
        called after each batch.
        """
        fresh = self._from_table(progress)
        with self._mutex:
            # With what was committed meanwhile: who has just caught up must not search one that is behind.
            self._index = self._caught_up(fresh)
        return self.status()

    def check(self) -> IndexCheck:
        """Compare every window of both sides, look for some, and read every segment again.

        Reads the whole fingerprint table. Raises `IndexUnavailable` when a file is damaged.
        """
        with self._mutex, self._database.snapshot() as connection:
            try:
                _replay(self._index, connection)
            except StartFromSnapshot:
                self._index = self._from_table()
            return _compare(self._index, connection)

    def _load(self) -> WindowIndex:
        index = self._empty()
        try:
            index.load()
        except IndexUnavailable as exc:
            log.warning("the index is not usable (%s): reading everything again", exc)
            return self._from_table()
        with self._database.transaction() as connection:
            last_position = changelog.last_position(connection)
        if index.position > last_position:
            # The database was restored from a backup: it gives the same positions to other windows now.
            log.warning("the index is ahead of the database: reading everything again")
            return self._from_table()
        return index if index.position else self._from_table()

    def _empty(self) -> WindowIndex:
        return WindowIndex(self._weights_sha256, store=self._store)

    def _caught_up(self, index: WindowIndex) -> WindowIndex:
        """This index with everything committed so far, or a new one (3)."""
        # One short transaction for each batch: none stays open while Faiss works.
        try:
            while True:
                with self._database.transaction() as connection:
                    changes = changelog.read(connection, index.position)
                if not changes:
                    return index
                index.apply(changes)
        except StartFromSnapshot as exc:
            log.warning("the index fell behind (%s): reading everything again", exc)
            return self._from_table()

    def _from_table(self, progress: Progress | None = None) -> WindowIndex:
        """A new index with everything in the table. It is saved when it is whole: a crash before leaves what
        was saved before."""
        fresh = self._empty()
        with self._database.snapshot() as connection:
            position, last_ordinal = changelog.last_position(connection), changelog.last_ordinal(connection)
            sample_ND = _sample(connection, last_ordinal, self._weights_sha256)

            def batches() -> Iterator[list[Change]]:
                for changes in changelog.everything(connection):
                    yield changes
                    if progress is not None:
                        progress(changes[-1].generation_ordinal, last_ordinal)

            fresh.fill(position, sample_ND, batches())
        return fresh


def _replay(index: WindowIndex, connection: Connection) -> None:
    for changes in changelog.replay(connection, index.position):
        index.apply(changes)


def _sample(connection: Connection, last_ordinal: int, weights_sha256: str) -> NDArray[np.int8]:
    """Informative windows of generations from everywhere in the table, of one network."""
    step = max(last_ordinal // SAMPLED_GENERATIONS, 1)
    fetched = changelog.fetch_codes(connection, range(1, last_ordinal + 1, step)).values()
    informative = [one.codes_ND[one.informative_N] for one in fetched if one.weights_sha256 == weights_sha256]
    codes_ND = np.concatenate([np.zeros((0, EMBEDDING_WIDTH), np.int8), *informative])
    return codes_ND[:: max(len(codes_ND) // (2 * TRAIN_WINDOWS), 1)]


def _compare(index: WindowIndex, connection: Connection) -> IndexCheck:
    """At one position of both: the connection is a snapshot, and the index has replayed it."""
    step = max(index.num_windows // SELF_QUERIES, 1)
    stored: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    wanted: list[NDArray[np.int64]] = []
    codes: list[NDArray[np.int8]] = []
    num_stored = 0
    for changes in changelog.everything(connection):
        for change in changes:
            if change.weights_sha256 != index.weights_sha256:
                continue
            kept = np.flatnonzero(change.informative_N)
            stored.append(_keys(np.int64(change.generation_ordinal), change.first_window + kept))
            chosen = np.arange(-num_stored % step, len(kept), step)
            wanted.append(stored[-1][chosen])
            codes.append(change.codes_ND[kept[chosen]])
            num_stored += len(kept)
    stored_N, indexed_N = np.sort(np.concatenate(stored)), np.sort(_keys(*index.places()))
    num_twice = len(indexed_N) - len(np.unique(indexed_N))
    num_found = num_queries = sum(map(len, wanted))
    if num_queries:
        hits = index.search(unit(np.concatenate(codes)), CHECK_DEPTH)
        same_QK = _keys(hits.ordinals_QK, hits.windows_QK) == np.concatenate(wanted)[:, None]
        num_found = int(same_QK.any(axis=1).sum())
    return IndexCheck(
        num_windows_stored=num_stored,
        num_windows_indexed=len(indexed_N),
        num_missing=len(np.setdiff1d(stored_N, indexed_N, assume_unique=True)),
        num_unexpected=num_twice + len(np.setdiff1d(indexed_N, stored_N)),
        num_self_queries=num_queries,
        num_found=num_found,
        num_segment_files=index.check_files(),
    )


def _keys(ordinals: NDArray[np.int64] | np.int64, windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for each window: half of the bits of an ordinal that no registry reaches."""
    return np.asarray((ordinals << 31) | windows, np.int64)
