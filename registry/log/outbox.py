"""Write entries in the transaction of what they speak of, and read them again.

    begin, finish or abort of a generation ──same transaction──► log_entry without an index ──► sequencer

So a generation without its entry cannot exist, nor an entry of a generation that was rolled back. A leaf is
canonical JSON under 2 KB. It holds public facts and salted commitments, never personal data and never an open
hash of audio; erasing a row of `log_salt` makes its commitments unreadable for good.
"""

import json
import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, Select, bindparam, func, insert, select
from sqlalchemy.dialects import postgresql

from registry.errors import RegistryInputError
from registry.log.canonical import canonical
from registry.log.receipt import SALT_BYTES, commitment
from registry.records import Generation
from registry.tables import LogEntryRow, LogSaltRow

LEAF_VERSION = 1
MAX_STATEMENT_BYTES = 16_384  # of what an operator says; a generation's leaf has 300 to 600 bytes


class Kind(StrEnum):
    """What an entry speaks of."""

    GENERATION = "generation"  # begun, finished or aborted
    DETECTOR_RELEASE = "detector-release"  # which detectors judge from here on, and how often they err
    POLICY_CHANGE = "policy-change"
    KEY_ROTATION = "key-rotation"
    REVOCATION = "revocation"  # a generation was withdrawn; registry.withdraw


@dataclass(frozen=True)
class LogEntry:
    """One entry as the database has it; without an index it is not in the log yet."""

    entry_id: int
    log_index: int | None
    kind: Kind
    generation_id: uuid.UUID | None
    leaf: bytes


@dataclass(frozen=True)
class Standing:
    """What the log says of one generation now."""

    log_index: int | None  # of the newest entry about the generation itself; None: not public yet, or none
    withdrawn_at: datetime | None


def generation_begun(connection: Connection, generation: Generation) -> None:
    """With the salt of the commitments to come, so that a stream's receipt can be given whole at its end."""
    _insert_salt(connection, generation.generation_id)
    _insert(
        connection,
        Kind.GENERATION,
        generation.generation_id,
        event="begun",
        content_id=f"{generation.content_id:012x}",
        at=rfc3339(generation.created_at),
        system={"name": generation.system, "version": generation.system_version},
        model=generation.model,
    )


def generation_finished(connection: Connection, generation: Generation, file_sha256: bytes | None) -> None:
    """`file_sha256` is of the released file, None when it was streamed."""
    assert generation.pcm_sha256 is not None and generation.finished_at is not None
    _insert_salt(connection, generation.generation_id)  # one of an older release has none yet
    salt = salts(connection, [generation.generation_id])[generation.generation_id]
    _insert(
        connection,
        Kind.GENERATION,
        generation.generation_id,
        event="finished",
        at=rfc3339(generation.finished_at),
        duration_s=generation.duration_s,
        pcm_commit=commitment(salt, bytes.fromhex(generation.pcm_sha256)),
        file_commit=None if file_sha256 is None else commitment(salt, file_sha256),
    )


def generation_aborted(connection: Connection, generation_id: uuid.UUID, finished_at: datetime) -> None:
    _insert(connection, Kind.GENERATION, generation_id, event="aborted", at=rfc3339(finished_at))


def statement(
    connection: Connection, kind: Kind, body: Mapping[str, Any], generation_id: uuid.UUID | None = None
) -> int:
    """Anything but a generation; returns its entry_id. Raises `RegistryInputError`."""
    if set(body) & {"v", "kind", "generation_id", "at"}:
        raise RegistryInputError("v, kind, generation_id and at are set by the log")
    if len(canonical(dict(body))) > MAX_STATEMENT_BYTES:
        raise RegistryInputError(
            f"a log entry holds at most {MAX_STATEMENT_BYTES} bytes: log a hash of the rest"
        )
    return _insert(connection, kind, generation_id, at=rfc3339(datetime.now(UTC)), **body)


def entries_of(connection: Connection, generation_ids: Iterable[uuid.UUID]) -> list[LogEntry]:
    """All that speak of these generations, oldest first."""
    rows = connection.execute(_ENTRIES_OF, {"generation_ids": list(generation_ids)})
    return [_entry(row) for row in rows]


def standing(connection: Connection, generation_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Standing]:
    """Of each of these generations."""
    log_index: dict[uuid.UUID, int | None] = {}
    withdrawn_at: dict[uuid.UUID, datetime] = {}
    for entry in entries_of(connection, generation_ids):
        if entry.generation_id is None:
            continue
        if entry.kind is Kind.REVOCATION:
            at = datetime.fromisoformat(json.loads(entry.leaf)["at"])
            withdrawn_at.setdefault(entry.generation_id, at)  # entries come oldest first
        elif entry.kind is Kind.GENERATION:
            log_index[entry.generation_id] = entry.log_index
    return {name: Standing(log_index.get(name), withdrawn_at.get(name)) for name in generation_ids}


def withdrawal(connection: Connection, generation_id: uuid.UUID) -> LogEntry | None:
    """The entry that withdrew this generation, public or not; None when nobody did."""
    entries = entries_of(connection, [generation_id])
    return next((entry for entry in entries if entry.kind is Kind.REVOCATION), None)


def entry_at(connection: Connection, log_index: int) -> LogEntry | None:
    row = connection.execute(_select().where(LogEntryRow.log_index == log_index)).one_or_none()
    return None if row is None else _entry(row)


def entries_by_id(connection: Connection, entry_ids: Iterable[int]) -> list[LogEntry]:
    rows = connection.execute(_select().where(LogEntryRow.entry_id.in_(list(entry_ids))))
    return [_entry(row) for row in rows]


def newest_of_kind(connection: Connection, kind: Kind) -> LogEntry | None:
    chosen = _select().where(LogEntryRow.kind == kind.value).order_by(LogEntryRow.entry_id.desc()).limit(1)
    row = connection.execute(chosen).one_or_none()
    return None if row is None else _entry(row)


def is_announced(connection: Connection, old: str, new: str, size: int) -> bool:
    """Whether one of the first `size` entries says that the log's key `new` follows `old`."""
    chosen = _select().where(LogEntryRow.kind == Kind.KEY_ROTATION.value, LogEntryRow.log_index < size)
    return any(announces(_entry(row), old, new) for row in connection.execute(chosen))


def announces(entry: LogEntry, old: str, new: str) -> bool:
    """Whether this entry says that the log's key `new` follows `old`."""
    said = json.loads(entry.leaf)
    return entry.kind is Kind.KEY_ROTATION and (said.get("old"), said.get("new")) == (old, new)


def sequenced(connection: Connection, start: int, limit: int) -> list[LogEntry]:
    """Entries that have an index, from `start` on, in order."""
    chosen = _select().where(LogEntryRow.log_index >= start).order_by(LogEntryRow.log_index).limit(limit)
    return [_entry(row) for row in connection.execute(chosen)]


def waiting_s(connection: Connection) -> float:
    """How long the oldest entry has waited for its index; 0 when none waits."""
    age = func.extract("epoch", func.clock_timestamp() - func.min(LogEntryRow.created_at))
    statement = select(func.coalesce(age, 0)).where(LogEntryRow.log_index.is_(None))
    return float(connection.execute(statement).scalar_one())


def salts(connection: Connection, generation_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, bytes]:
    """Those that are there: an erased one is absent."""
    rows = connection.execute(_SALTS, {"generation_ids": list(generation_ids)})
    return {row.generation_id: bytes(row.salt) for row in rows}


def _insert(connection: Connection, kind: Kind, generation_id: uuid.UUID | None, **body: Any) -> int:
    named = {} if generation_id is None else {"generation_id": str(generation_id)}
    leaf = canonical({"v": LEAF_VERSION, "kind": kind.value, **named, **body})
    values = {"kind": kind.value, "generation_id": generation_id, "leaf": leaf}
    return connection.execute(_INSERT, values).scalar_one()


def _insert_salt(connection: Connection, generation_id: uuid.UUID) -> None:
    values = {"generation_id": generation_id, "salt": secrets.token_bytes(SALT_BYTES)}
    connection.execute(_INSERT_SALT, values)


def _select() -> Select[Any]:
    names = ("entry_id", "log_index", "kind", "generation_id", "leaf")
    return select(*(LogEntryRow.__table__.columns[name] for name in names))


# Built once, for what every generation and every receipt runs: see generations.py.
_INSERT = insert(LogEntryRow).returning(LogEntryRow.entry_id)
_INSERT_SALT = postgresql.insert(LogSaltRow).on_conflict_do_nothing()
_NAMED: BindParameter[Any] = bindparam("generation_ids", expanding=True)
_ENTRIES_OF = _select().where(LogEntryRow.generation_id.in_(_NAMED)).order_by(LogEntryRow.entry_id)
_SALTS = select(LogSaltRow.generation_id, LogSaltRow.salt).where(LogSaltRow.generation_id.in_(_NAMED))


def _entry(row: Row[Any]) -> LogEntry:
    return LogEntry(row.entry_id, row.log_index, Kind(row.kind), row.generation_id, bytes(row.leaf))


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
