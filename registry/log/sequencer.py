"""Give waiting entries their indexes, write the tiles, sign, publish: one process at a time, any process.

The steps of a batch, and what a crash after each leaves:

(1) lock; refuse a database with fewer entries than were signed     nothing
(2) indexes for what waits, one commit                              indexes that are in no tile yet
(3) tiles, from the first entry that is not public                  files of a tree that nobody has signed
(4) sign, after comparing with the last tree that was signed        a signed tree that is not public
(5) publish the checkpoint                                          all; receipts can be given
(6) remove partial tiles that nobody needs                          files that only take space

The next batch of whichever process does (3) to (6) for everything that lacks them: recovery is the same code.
An index is never given twice and never taken back, since only (2) gives them, under the lock.

The lock is PostgreSQL's and ends with its connection. When that breaks in the middle, another process may
begin while this one still writes: both write the same files from the same rows, and the signer's own lock
keeps their signatures in order. Several processes on one machine are supported, and several machines only
when they share the folders of tiles and keys; a database serves one log key (`log_key`).
"""

import contextlib
import logging
from collections.abc import Iterator
from functools import partial

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects import postgresql

from registry.database import Database
from registry.errors import LogDamaged, LogRefused
from registry.log import outbox
from registry.log.checkpoint import Checkpoint
from registry.log.merkle import root
from registry.log.signer import Signer
from registry.log.tiles import TileFolder, TileReader
from registry.tables import LOCK_LOG, LOCK_SPACE, LogEntryRow, LogKeyRow

log = logging.getLogger(__name__)

BATCH_ENTRIES = 2_048  # 1 MB of leaves; a batch of so many takes 0.2 s
_LOCK = {"space": LOCK_SPACE, "lock": LOCK_LOG}

ASSIGN = text("""
    WITH pending AS (
        SELECT entry_id FROM log_entry WHERE log_index IS NULL ORDER BY entry_id LIMIT :batch
    ), numbered AS (
        SELECT entry_id, :size - 1 + row_number() OVER (ORDER BY entry_id) AS log_index FROM pending
    )
    UPDATE log_entry SET log_index = numbered.log_index
    FROM numbered WHERE log_entry.entry_id = numbered.entry_id
""")


class Sequencer:
    """The batches of one log. Safe in any number of processes; one thread each."""

    def __init__(self, database: Database, folder: TileFolder, signer: Signer) -> None:
        self._database = database
        self._folder = folder
        self._signer = signer
        self._key_is_checked = False

    def run_batch(self) -> int | None:
        """How many entries are public now; None when another process is at it.

        Raises `DatabaseUnavailable` and `LogUnavailable` (run it again), `LogRefused` and `LogDamaged` (a
        person must look).
        """
        with self._lock() as connection:  # (1)
            if connection is None:
                return None
            self._check_key(connection)
            size = _num_sequenced(connection)
            self._signer.require_extension(size)
            connection.execute(ASSIGN, {"size": size, "batch": BATCH_ENTRIES})  # (2)
            return self._publish(connection, _num_sequenced(connection))

    def published(self) -> Checkpoint:
        """The public tree; an empty one before the first batch. Raises `LogDamaged`, `LogUnavailable`."""
        note = self._folder.checkpoint()
        if note is None:
            return Checkpoint.empty(self._signer.key.verifier.name)
        return self._signer.trust.checkpoint(note)[0]

    def _publish(self, connection: Connection, size: int) -> int:
        before = published = self.published().size
        while published < size:
            entries = outbox.sequenced(connection, published, BATCH_ENTRIES)
            if [entry.log_index for entry in entries] != list(range(published, published + len(entries))):
                raise LogDamaged(f"the database lacks log entries between {published} and {size}")
            reader = self._folder.append(published, [entry.leaf for entry in entries])  # (3)
            published = reader.size
            if published < self._signer.last_signed().size:
                continue  # rebuilding what was signed already
            signed = self._signer.sign(published, partial(root, reader.node), self._folder.publish)  # (4) (5)
            self._folder.drop_partials(before, published)  # (6)
            before = published = max(published, signed.size)
        if published and not self._signer.has_signed(self._folder.checkpoint()):  # the key is a new one
            reader = TileReader(self._folder.read, published)
            self._signer.sign(published, partial(root, reader.node), self._folder.publish)
        return published

    def _check_key(self, connection: Connection) -> None:
        """A second key would make a second log out of the same indexes, unless the first one announced it in
        the tree that was signed last."""
        if self._key_is_checked:
            return
        ours = str(self._signer.key.verifier)
        newest = select(LogKeyRow.public_key).order_by(LogKeyRow.since.desc()).limit(1)
        known = connection.execute(newest).scalar_one_or_none()
        if known is not None and known != ours:
            size = self._signer.last_signed().size
            if not outbox.is_announced(connection, known, ours, size):
                raise LogRefused(
                    f"the log of this database is signed by {known}, and the key here is {ours}: "
                    "put the log's own key file back"
                )
        if known != ours:
            values = postgresql.insert(LogKeyRow).values(public_key=ours)
            connection.execute(values.on_conflict_do_nothing())
        self._key_is_checked = True

    @contextlib.contextmanager
    def _lock(self) -> Iterator[Connection | None]:
        """A connection that holds the lock and commits each statement; None when another holds it."""
        with self._database.translated(), self._database.engine.connect() as pooled:
            connection = pooled.execution_options(isolation_level="AUTOCOMMIT")
            if not connection.execute(text("SELECT pg_try_advisory_lock(:space, :lock)"), _LOCK).scalar_one():
                yield None
                return
            try:
                yield connection
                connection.execute(text("SELECT pg_advisory_unlock(:space, :lock)"), _LOCK)
            except BaseException:
                connection.invalidate()  # ends the connection, and so the lock
                raise


def _num_sequenced(connection: Connection) -> int:
    highest = connection.execute(select(func.max(LogEntryRow.log_index))).scalar_one()
    return 0 if highest is None else highest + 1
