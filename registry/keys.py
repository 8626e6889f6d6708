"""API keys as rows: their digest, what they may do, and until when; never the key itself.

    keys.insert(new) ; keys.find(digest) -> StoredKey | None ; keys.newest(limit) ; keys.revoke(key_id)
    keys.purge(after)

A key is looked up by its 32-byte digest, which nobody can choose without the server's secret, so that the
look-up tells nothing by its timing. Whether a stored key is still valid, and what its scopes mean, is for
`api` to say. Rows are never removed: that a key was revoked stays on record, and whose it
was goes with `purge`. Not covered: how a key looks, and its
digest (api/access)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, Row, Text, func, insert, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from registry.database import Database
from registry.errors import RegistryInputError, UnknownKey
from registry.tables import Base

TOUCH_EVERY = timedelta(minutes=1)
"""How exact `last_used_at` is: a write for every request would cost more than the look-up itself."""

DEAD_KEYS_KEPT = timedelta(days=90)
"""How long it stays known whose key it was after it was revoked or expired."""
PURGED_LABEL = "(purged)"


class ApiKeyRow(Base):
    __tablename__ = "api_key"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[bytes]
    label: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


@dataclass(frozen=True)
class NewKey:
    """What is stored of a key when it is made."""

    key_id: str  # 8 hex digits, public
    digest: bytes  # 32 bytes
    label: str  # 1 to 100 characters, for the operator's eyes
    scopes: Sequence[str]
    expires_at: datetime | None  # None: never


@dataclass(frozen=True)
class StoredKey:
    """A key as the registry knows it. Times are UTC."""

    key_id: str
    label: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None  # within TOUCH_EVERY


class KeyStore:
    """The keys of one registry. Safe to share between threads; each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, new: NewKey) -> StoredKey:
        """Durable when it returns. Raises `RegistryInputError` for a label that is empty, too long or not
        storable."""
        if not 1 <= len(new.label) <= 100 or not new.label.isprintable():
            raise RegistryInputError("a key's label must be 1 to 100 printable characters")
        values = {**vars(new), "scopes": sorted(new.scopes)}
        with self._database.transaction() as connection:
            statement = insert(ApiKeyRow).values(values).returning(*ApiKeyRow.__table__.columns)
            return _stored(connection.execute(statement).one())

    def find(self, digest: bytes) -> StoredKey | None:
        """The key with this digest, revoked and expired ones too; notes that it was used."""
        used = (
            update(ApiKeyRow)
            .where(
                ApiKeyRow.digest == digest,
                or_(
                    ApiKeyRow.last_used_at.is_(None),
                    ApiKeyRow.last_used_at < func.clock_timestamp() - TOUCH_EVERY,
                ),
            )
            .values(last_used_at=func.clock_timestamp())
        )
        found = select(*ApiKeyRow.__table__.columns).where(ApiKeyRow.digest == digest)
        with self._database.transaction() as connection:
            row = connection.execute(found).one_or_none()
            if row is None:
                return None
            if row.revoked_at is None:
                connection.execute(used)
            return _stored(row)

    def newest(self, limit: int) -> list[StoredKey]:
        """The keys, newest first."""
        statement = select(*ApiKeyRow.__table__.columns).order_by(ApiKeyRow.created_at.desc()).limit(limit)
        with self._database.transaction() as connection:
            return [_stored(row) for row in connection.execute(statement)]

    def revoke(self, key_id: str) -> StoredKey:
        """No request that is looked up after this returns finds the key valid. May be repeated; the first
        time stays. Raises `UnknownKey`."""
        statement = (
            update(ApiKeyRow)
            .where(ApiKeyRow.key_id == key_id)
            .values(revoked_at=func.coalesce(ApiKeyRow.revoked_at, func.clock_timestamp()))
            .returning(*ApiKeyRow.__table__.columns)
        )
        with self._database.transaction() as connection:
            row = connection.execute(statement).one_or_none()
        if row is None:
            raise UnknownKey(f"there is no key {key_id}; `earmark keys list` shows them")
        return _stored(row)

    def purge(self, after: timedelta = DEAD_KEYS_KEPT) -> int:
        """Forget label and last use of the keys that were revoked or expired longer ago than this; returns of
        how many. The rest of the row stays, so that no other key ever gets the same name."""
        died_at = func.least(ApiKeyRow.revoked_at, ApiKeyRow.expires_at)  # null when neither is set
        statement = (
            update(ApiKeyRow)
            .where(died_at < func.clock_timestamp() - after, ApiKeyRow.label != PURGED_LABEL)
            .values(label=PURGED_LABEL, last_used_at=None)
        )
        with self._database.transaction() as connection:
            return connection.execute(statement).rowcount


def _stored(row: Row[Any]) -> StoredKey:
    return StoredKey(
        row.key_id,
        row.label,
        frozenset(row.scopes),
        row.created_at,
        row.expires_at,
        row.revoked_at,
        row.last_used_at,
    )
