"""Who is writing, and is it still alive: a number in each row, and a lock that ends with its holder.

Each open registry draws a random number, writes it into the generations it begins, and holds an advisory
lock on it on a connection of its own. PostgreSQL drops the lock when that connection ends, however the
process ended. So an open generation whose owner's lock is free will never be finished by its owner, and
`generations.recover` marks it aborted. There is no heartbeat and no process number, so neither a pause nor
a reused number can mislead.

A living process can lose the connection too, when the server restarts or the network breaks. It takes the
lock again, under the same number, before its next write. Between the two it looks dead: if another process
recovers in that time, the generation is aborted, its next write raises `GenerationClosed`, and what was
written stays searchable. When the server has not yet noticed that the old connection is gone, the old lock
still stands for us and the new one is taken at a later write.
"""

import secrets
import threading

from sqlalchemy import Connection, exc, text

from registry.database import Database

OWNER_BITS = 63  # a PostgreSQL bigint that is not negative; two of a million owners clash with p = 5e-8


class OwnerLock:
    """The lock of one open registry. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self.number = secrets.randbits(OWNER_BITS)
        self._database = database
        self._connection: Connection | None = None
        self._held = False
        self._mutex = threading.Lock()

    def hold(self) -> None:
        """See that the lock is held, reconnecting when needed; one round trip. Call before every write.

        Raises `DatabaseUnavailable`.
        """
        with self._mutex, self._database.translated():
            if self._connection is not None:
                try:
                    self._connection.execute(text("SELECT 1"))
                except exc.DBAPIError:
                    self._drop()
            if self._connection is None:
                self._connection = self._connect()
            if not self._held:
                taken = text("SELECT pg_try_advisory_lock(:owner)")
                self._held = self._connection.execute(taken, {"owner": self.number}).scalar_one()

    def release(self) -> None:
        """Give the lock up; the generations still open are then anyone's to recover."""
        with self._mutex:
            self._drop()

    def _connect(self) -> Connection:
        # Detached, so that the pool neither counts it nor resets it; autocommit, so that it is never idle
        # in a transaction, which would hold back vacuum for as long as the service runs.
        connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()
        return connection

    def _drop(self) -> None:
        connection, self._connection, self._held = self._connection, None, False
        if connection is not None:
            connection.close()
