"""Replies kept for requests that are sent again: who is at work on one, and the answer when there is one.

    claim(...) ──► YOURS: work on it ──► keep(...)     the answer is durable, then it may be sent
              └──► KEPT and its bytes, or why not └──► drop(...)    it failed; it may be sent again

What a crash leaves: after `claim`, a row without a body whose owner is dead, which the next `claim` takes
over; after `keep`, the answer. A living process knows what it is at work on. A row of its own that is none of
it, since the database was away for `drop` or the commit of `claim` was kept but reported failed, is taken
over by its next `claim`; other processes are told "at work" until then, until it ends or until the row is too
old. So one request under one key is answered from one piece of work, unless its worker died before anything
was kept. Rows live for `REPLIES_LIVE`. The bytes are the caller's business: `api` encrypts them. Not covered:
what a request is (its digest comes from the caller)."""

import enum
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, Connection, delete, func, select, text, tuple_, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column

from registry.database import Database
from registry.owner import OwnerLock
from registry.tables import Base

REPLIES_LIVE = timedelta(hours=24)
REMOVED_AT_ONCE = 100
"""Answers of up to some MB: a day of them in one statement, after a quiet one, takes longer than a statement
may, and no claim would succeed any more."""


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
        self._mutex = threading.Lock()
        self._at_work: set[RequestName] = set()  # from before `claim` begins until `keep` or `drop` ends

    def claim(self, name: RequestName, request_sha256: bytes) -> tuple[Claim, bytes | None]:
        """Take a request on, or learn what became of it; the bytes come with KEPT alone. Also removes some of
        what has outlived REPLIES_LIVE."""
        with self._mutex:
            is_free = name not in self._at_work
            self._at_work.add(name)
        is_ours = False
        try:
            self._owner.hold()
            with self._database.transaction() as connection:
                claim, body = self._claim(connection, name, request_sha256, is_free)
            is_ours = claim is Claim.YOURS  # not before the commit
            return claim, body
        finally:
            if is_free and not is_ours:
                self._leave(name)

    def _claim(
        self, connection: Connection, name: RequestName, request_sha256: bytes, is_free: bool
    ) -> tuple[Claim, bytes | None]:
        """`is_free`: no other thread of this process is at it."""
        connection.execute(delete(ReplyRow).where(_is(name), _is_old()))
        _remove_old(connection)
        values = {**vars(name), "request_sha256": request_sha256, "owner": self._owner.number}
        taken = postgresql.insert(ReplyRow).values(values).on_conflict_do_nothing()
        if is_free and connection.execute(taken).rowcount:
            return Claim.YOURS, None
        # Locked, so that of two who find a dead owner one takes over and the other then finds it at work.
        row = connection.execute(
            select(*ReplyRow.__table__.columns).where(_is(name)).with_for_update()
        ).one_or_none()
        if row is None:  # not there yet, or dropped between the two statements: come back at once
            return Claim.AT_WORK, None
        if row.request_sha256 != request_sha256:
            return Claim.OTHER_REQUEST, None
        if row.body is not None:
            return Claim.KEPT, row.body
        if not is_free or not self._is_dead(connection, row.owner):
            return Claim.AT_WORK, None
        connection.execute(update(ReplyRow).where(_is(name)).values(owner=self._owner.number))
        return Claim.YOURS, None

    def keep(self, name: RequestName, body: bytes) -> bool:
        """Durable when it returns True: only then may the answer leave. False: this process was taken for
        dead meanwhile, and another one is at work on the request."""
        ours = (ReplyRow.owner == self._owner.number) & ReplyRow.body.is_(None)
        with self._database.transaction() as connection:
            kept = connection.execute(update(ReplyRow).where(_is(name), ours).values(body=body)).rowcount == 1
        self._leave(name)
        return kept

    def drop(self, name: RequestName) -> None:
        """Forget a request of ours that failed. One that was answered is not forgotten."""
        ours = (ReplyRow.owner == self._owner.number) & ReplyRow.body.is_(None)
        try:
            with self._database.transaction() as connection:
                connection.execute(delete(ReplyRow).where(_is(name), ours))
        finally:
            self._leave(name)

    def purge(self) -> int:
        """Remove what has outlived REPLIES_LIVE, a transaction for each REMOVED_AT_ONCE; returns how many."""
        num_removed = 0
        while True:
            with self._database.transaction() as connection:
                num_now = _remove_old(connection)
            num_removed += num_now
            if num_now < REMOVED_AT_ONCE:
                return num_removed

    def _leave(self, name: RequestName) -> None:
        with self._mutex:
            self._at_work.discard(name)

    def _is_dead(self, connection: Connection, owner: int) -> bool:
        if owner == self._owner.number:  # left behind: who is at work here is not asked
            return True
        free = connection.execute(text("SELECT pg_try_advisory_xact_lock(:owner)"), {"owner": owner})
        return bool(free.scalar_one())


def _remove_old(connection: Connection) -> int:
    """At most REMOVED_AT_ONCE, the oldest; those that another claim is removing are left to it."""
    key = (ReplyRow.key_id, ReplyRow.request_key)
    oldest = select(*key).where(_is_old()).order_by(ReplyRow.created_at).limit(REMOVED_AT_ONCE)
    chosen = oldest.with_for_update(skip_locked=True).cte()
    return connection.execute(delete(ReplyRow).where(tuple_(*key).in_(select(chosen)))).rowcount


def _is_old() -> ColumnElement[bool]:
    return ReplyRow.created_at < func.clock_timestamp() - REPLIES_LIVE


def _is(name: RequestName) -> ColumnElement[bool]:
    return (ReplyRow.key_id == name.key_id) & (ReplyRow.request_key == name.request_key)
