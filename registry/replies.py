"""Replies kept for requests that are sent again: who is at work on one, and the answer when there is one.

    claim(...) ──► YOURS: work on it ──► keep(...)     the answer is durable, then it may be sent
              └──► KEPT and its bytes, or why not └──► drop(...)    it failed; it may be sent again

What a crash leaves: after `claim`, a row without a body whose owner is dead, which the next `claim` takes
over; after `keep`, the answer. A living process that cannot `drop` (the database is away) leaves its row
at work until the process ends or the row is too old. So one request under one key is answered from one
piece of work, unless its worker died before anything was kept. Rows live for `REPLIES_LIVE`. The bytes are
the caller's business: `api` encrypts them. Not covered: what a request is (its digest comes from the
caller)."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, Connection, delete, func, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column

from registry.database import Database
from registry.owner import OwnerLock
from registry.tables import Base

REPLIES_LIVE = timedelta(hours=24)


class ReplyRow(Base):
    __tablename__ = "reply"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    request_key: Mapped[bytes] = mapped_column(primary_key=True)
    request_sha256: Mapped[bytes]
    owner: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    body: Mapped[bytes | None]


@dataclass(frozen=True)
class RequestName:
    """Which request this is: the key that sent it, and what the sender calls it."""

    key_id: str
    request_key: bytes  # 32 bytes, a digest of the sender's own name for it


class Claim(enum.Enum):
    """What came of asking for a request."""

    YOURS = "yours"  # nobody is at it: work, then keep or drop
    KEPT = "kept"  # it was answered; the body is there
    AT_WORK = "at_work"  # a living process is at it
    OTHER_REQUEST = "other_request"  # the name was used for a request with other content


class ReplyStore:
    """The replies of one registry. Safe to share between threads; each call is one transaction."""

    def __init__(self, database: Database, owner: OwnerLock) -> None:
        self._database = database
        self._owner = owner

    def claim(self, name: RequestName, request_sha256: bytes) -> tuple[Claim, bytes | None]:
        """Take a request on, or learn what became of it; the bytes come with KEPT alone. Also removes what
        has outlived REPLIES_LIVE."""
        self._owner.hold()
        with self._database.transaction() as connection:
            _remove_old(connection)
            values = {**vars(name), "request_sha256": request_sha256, "owner": self._owner.number}
            taken = postgresql.insert(ReplyRow).values(values).on_conflict_do_nothing()
            if connection.execute(taken).rowcount:
                return Claim.YOURS, None
            # Locked, so that of two who find a dead owner one takes over and the other then finds it at work.
            row = connection.execute(
                select(*ReplyRow.__table__.columns).where(_is(name)).with_for_update()
            ).one_or_none()
            if row is None:  # dropped between the two statements: its sender may come back at once
                return Claim.AT_WORK, None
            if row.request_sha256 != request_sha256:
                return Claim.OTHER_REQUEST, None
            if row.body is not None:
                return Claim.KEPT, row.body
            if not self._is_dead(connection, row.owner):
                return Claim.AT_WORK, None
            connection.execute(update(ReplyRow).where(_is(name)).values(owner=self._owner.number))
            return Claim.YOURS, None

    def keep(self, name: RequestName, body: bytes) -> bool:
        """Durable when it returns True: only then may the answer leave. False: this process was taken for
        dead meanwhile, and another one is at work on the request."""
        ours = (ReplyRow.owner == self._owner.number) & ReplyRow.body.is_(None)
        with self._database.transaction() as connection:
            return connection.execute(update(ReplyRow).where(_is(name), ours).values(body=body)).rowcount == 1

    def drop(self, name: RequestName) -> None:
        """Forget a request of ours that failed. One that was answered is not forgotten."""
        ours = (ReplyRow.owner == self._owner.number) & ReplyRow.body.is_(None)
        with self._database.transaction() as connection:
            connection.execute(delete(ReplyRow).where(_is(name), ours))

    def purge(self) -> int:
        """Remove what has outlived REPLIES_LIVE, as every claim does; returns how many."""
        with self._database.transaction() as connection:
            return _remove_old(connection)

    def _is_dead(self, connection: Connection, owner: int) -> bool:
        if owner == self._owner.number:
            return False
        free = connection.execute(text("SELECT pg_try_advisory_xact_lock(:owner)"), {"owner": owner})
        return bool(free.scalar_one())


def _remove_old(connection: Connection) -> int:
    old = ReplyRow.created_at < func.clock_timestamp() - REPLIES_LIVE
    return connection.execute(delete(ReplyRow).where(old)).rowcount


def _is(name: RequestName) -> ColumnElement[bool]:
    return (ReplyRow.key_id == name.key_id) & (ReplyRow.request_key == name.request_key)
