"""The search index of this process: load, replay, search, rebuild, check.

PostgreSQL is the truth and the index is derived from it: it is never asked whether something exists, only
where to look.

(1) At open: load the snapshot when there is a usable one, else start empty at position 0.
(2) Before every search: read the changelog behind the index's position and apply it, so that whatever was
    acknowledged before the search is found by it.
(3) Rebuild: a second index replays from 0 beside the first and takes its place when it has caught up.
(4) At close and after a rebuild: save a snapshot. A crash before leaves the older one, from which (2) goes
on.

One lock makes apply and search exclude each other, since Faiss allows no search beside a change.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from registry import changelog
from registry.database import Database
from registry.errors import IndexUnavailable
from registry.index import WindowIndex
from registry.index.window_index import unit
from registry.tables import IdentityRow

log = logging.getLogger(__name__)

T = TypeVar("T")
SELF_QUERIES = 200  # stored windows that `check` looks for; each must find itself
CHECK_DEPTH = 20  # among its best; the same audio registered twice gives equal scores


@dataclass(frozen=True)
class IndexStatus:
    """How far the index follows the database."""

    position: int  # changelog position applied
    last_position: int  # committed in the database
    num_windows: int  # in the index
    snapshot: Path | None  # folder of the snapshot; None: memory only

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
    num_self_queries: int
    num_found: int  # of those, how many found their own generation and window

    @property
    def passed(self) -> bool:
        return self.num_windows_stored == self.num_windows_indexed and self.num_found == self.num_self_queries


class Replica:
    """The index and its lock. Safe to share between threads."""

    def __init__(self, database: Database, weights_sha256: str, folder: Path | None) -> None:
        """Load (1) and replay (2). Raises `DatabaseUnavailable`.

        Snapshots lie in a folder inside `folder` that is named for the registry, so that one may serve many.
        """
        self._database = database
        self._weights_sha256 = weights_sha256
        with database.transaction() as connection:
            registry_id = connection.execute(select(IdentityRow.registry_id)).scalar_one()
        self._folder = None if folder is None else folder / str(registry_id)
        self._mutex = threading.Lock()
        self._index = self._load()
        self.catch_up()

    def catch_up(self) -> int:
        """Apply everything committed so far; returns the position reached. Raises `DatabaseUnavailable`."""
        with self._mutex:
            self._replay(self._index)
            return self._index.position

    def search(self, look: Callable[[WindowIndex], T]) -> T:
        """Catch up, then run `look` on the index while nobody changes it."""
        with self._mutex:
            self._replay(self._index)
            return look(self._index)

    def status(self) -> IndexStatus:
        """Where the index stands, without catching up. Raises `DatabaseUnavailable`."""
        with self._database.transaction() as connection:
            last_position = changelog.last_position(connection)
        with self._mutex:
            return IndexStatus(self._index.position, last_position, self._index.num_windows, self._folder)

    def rebuild(self, progress: Callable[[int, int], None] | None = None) -> IndexStatus:
        """Replay everything into a new index and put it in place of the present one (3) (4).

        Searches go on in the old index meanwhile. An exception leaves the old one in place.
        `progress(position, last_position)` is called after each batch.
        """
        fresh = WindowIndex(self._weights_sha256)
        self._replay(fresh, progress)
        with self._mutex:
            self._replay(fresh)  # what was committed meanwhile
            self._index = fresh
        self.save()
        return self.status()

    def check(self) -> IndexCheck:
        """Count windows on both sides and look for some stored ones; reads the whole fingerprint table."""
        with self._mutex:
            self._replay(self._index)
            return _compare(self._index, self._database)

    def save(self) -> None:
        """Write a snapshot, if there is a folder for one (4)."""
        if self._folder is not None:
            with self._mutex:
                self._index.save(self._folder)

    def _load(self) -> WindowIndex:
        empty = WindowIndex(self._weights_sha256)
        if self._folder is None:
            return empty
        try:
            loaded = WindowIndex.load(self._folder, self._weights_sha256)
        except FileNotFoundError:
            return empty
        except IndexUnavailable as exc:
            log.warning("the index snapshot is not usable (%s): replaying everything", exc)
            return empty
        with self._database.transaction() as connection:
            last_position = changelog.last_position(connection)
        if loaded.position > last_position:
            # The database was restored from a backup: it gives the same positions to other windows now.
            log.warning("the index snapshot is ahead of the database: replaying everything")
            return empty
        return loaded

    def _replay(self, index: WindowIndex, progress: Callable[[int, int], None] | None = None) -> None:
        # One short transaction for each batch: none stays open while Faiss works.
        while True:
            with self._database.transaction() as connection:
                changes = changelog.read(connection, index.position)
                last_position = changelog.last_position(connection) if progress else 0
            if not changes:
                return
            index.apply(changes)
            if progress is not None:
                progress(index.position, last_position)


def _compare(index: WindowIndex, database: Database) -> IndexCheck:
    step = max(index.num_windows // SELF_QUERIES, 1)
    num_stored, position = 0, 0
    wanted: list[tuple[int, int]] = []
    codes: list[NDArray[np.int8]] = []
    while position < index.position:
        with database.transaction() as connection:
            changes = changelog.read(connection, position)
        for change in changes:
            if change.position > index.position or change.weights_sha256 != index.weights_sha256:
                continue
            for row in np.flatnonzero(change.informative_N):
                if num_stored % step == 0:
                    wanted.append((change.generation_ordinal, change.first_window + int(row)))
                    codes.append(change.codes_ND[row])
                num_stored += 1
        position = changes[-1].position
    num_found = 0
    if codes:
        hits = index.search(unit(np.stack(codes)), CHECK_DEPTH)
        wanted_N2 = np.array(wanted)
        same_NK = (hits.ordinals_QK == wanted_N2[:, :1]) & (hits.windows_QK == wanted_N2[:, 1:])
        num_found = int(same_NK.any(axis=1).sum())
    return IndexCheck(num_stored, index.num_windows, len(wanted), num_found)
