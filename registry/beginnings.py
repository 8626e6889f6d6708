"""Begin generations, and end those that nobody else will end.

    begin(new)  ──commit──► a generation whose id the caller has ──gives it up──► abandon
                 └──no answer──► an id that only we know
    of both, whatever is open: aborted at once where that is possible, else by the next begin, or settle

A commit that was kept and reported as failed leaves an open generation that nobody will ever finish; so does
a caller whose abort failed, too. Its owner lives on, so recovery would leave it open for as long as the
process runs, and the registry would say all the while that audio may be leaving now. So ids are drawn here,
before anything is sent, and remembered until the database has answered.

What a crash leaves: the ids are forgotten, and the owner is dead, so recovery ends what is open. Not covered:
a server that keeps the commit only after the next begin has looked; recovery ends that one too. A process
that begins nothing more leaves open what it could not end, until it calls `settle` or dies.
"""

import contextlib
import threading
import uuid
from collections.abc import Collection

from sqlalchemy import Connection

from registry import generations
from registry.database import Database
from registry.errors import GenerationClosed, RegistryError, UnknownGeneration
from registry.owner import OwnerLock
from registry.records import Generation, NewGeneration, uuid7


class Beginnings:
    """Of one open registry. Safe to share between threads."""

    def __init__(self, database: Database, owner: OwnerLock) -> None:
        self._database = database
        self._owner = owner
        self._doubtful: set[uuid.UUID] = set()  # whose begin was reported as failed, or that were given up
        self._mutex = threading.Lock()

    def begin(self, new: NewGeneration) -> Generation:
        """As `Registry.begin`; one transaction."""
        self._owner.hold()
        generation_id, doubtful = uuid7(), self._copy()
        try:
            with self._database.transaction() as connection:
                _abort(connection, doubtful)
                generation = generations.begin(
                    connection, new, self._owner.number, generation_id=generation_id
                )
        except BaseException:
            self._doubt(generation_id)
            raise
        self._forget(doubtful)
        return generation

    def abandon(self, generation_id: uuid.UUID) -> None:
        """As `Registry.abandon`."""
        self._doubt(generation_id)
        with contextlib.suppress(RegistryError):  # then the next begin does it
            self.settle()

    def settle(self) -> int:
        """Abort those that are there and open; returns how many. Raises `DatabaseUnavailable`: call again."""
        doubtful = self._copy()
        if not doubtful:
            return 0
        with self._database.transaction() as connection:
            num_aborted = _abort(connection, doubtful)
        self._forget(doubtful)
        return num_aborted

    def _doubt(self, generation_id: uuid.UUID) -> None:
        with self._mutex:
            self._doubtful.add(generation_id)

    def _copy(self) -> frozenset[uuid.UUID]:
        with self._mutex:
            return frozenset(self._doubtful)

    def _forget(self, settled: Collection[uuid.UUID]) -> None:
        with self._mutex:
            self._doubtful.difference_update(settled)


def _abort(connection: Connection, generation_ids: Collection[uuid.UUID]) -> int:
    num_aborted = 0
    for generation_id in sorted(generation_ids):  # two that do this at once lock in one order
        try:
            generations.abort(connection, generation_id)
        except UnknownGeneration:
            continue  # the commit that began it was lost
        except GenerationClosed:
            continue  # the commit that completed it was kept
        num_aborted += 1
    return num_aborted
