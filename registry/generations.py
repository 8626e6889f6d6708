"""The life of a generation: begin, append, finish or abort, and looking it up again.

    begin ──► open ──append*──► open ──finish──► complete
                                 └──abort, or its owner's death──► aborted

Every function runs inside the caller's transaction and none commits, so that one call of the registry is one
commit: it happened or it did not. `append`, `finish` and `abort` may be repeated after a commit whose
answer was lost; what is already there is left as it is. Not covered: changing or removing a generation.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select, text, update
from sqlalchemy.dialects import postgresql

from audio import SAMPLE_RATE_HZ
from registry.errors import GenerationClosed, RegistryError, RegistryInputError, UnknownGeneration
from registry.log import outbox
from registry.packing import pack_codes, pack_informative
from registry.records import (
    EVERY_GENERATION,
    Generation,
    GenerationFilter,
    NewGeneration,
    draw_content_id,
    uuid7,
)
from registry.tables import CONTENT_ID_BITS, FingerprintRow, FpModelRow, GenerationRow, GenerationState

CONTENT_ID_DRAWS = 8  # a clash has p = 4e-9 at a million generations; eight in a row mean a broken generator
PAGE_LIMIT = 1000

# Built once: what SQLAlchemy spends on building a statement is more than PostgreSQL spends on running it.
_BEGIN = (
    postgresql.insert(GenerationRow)
    .on_conflict_do_nothing(index_elements=["content_id"])
    .returning(*GenerationRow.__table__.columns)
)
_APPEND = insert(FingerprintRow)


@dataclass(frozen=True)
class Chunk:
    """Consecutive windows of one generation, by one network."""

    first_window: int
    codes_ND: NDArray[np.int8]  # of packing.quantised
    signs_NB: NDArray[np.uint8]
    informative_N: NDArray[np.bool_]
    fp_model_id: int


def begin(
    connection: Connection,
    new: NewGeneration,
    owner: int,
    draw: Callable[[], int] = draw_content_id,
    generation_id: uuid.UUID | None = None,
) -> Generation:
    """Insert an open generation and its log entry; draws again when a content id is taken.

    `generation_id` is a fresh UUIDv7, for who must know it before the commit; None draws one.
    """
    for _ in range(CONTENT_ID_DRAWS):
        values = {
            "generation_id": generation_id or uuid7(),
            "content_id": draw(),
            "system": new.system,
            "system_version": new.system_version,
            "model": new.model,
            "sample_rate_hz": new.sample_rate_hz,
            "metadata": dict(new.metadata),  # the column's name: parameters do not know the attribute's
            "owner": owner,
        }
        row = connection.execute(_BEGIN, values).one_or_none()
        if row is not None:
            generation = _generation(row)
            outbox.generation_begun(connection, generation)
            return generation
    raise RegistryError(f"{CONTENT_ID_DRAWS} random content ids in a row were taken: the generator is broken")


def append(connection: Connection, generation_id: uuid.UUID, chunk: Chunk, num_samples: int) -> None:
    """Add windows; `num_samples` (24 kHz) is how much of the generation has now been fingerprinted.

    Windows that an earlier call has already written are skipped, so a repeated call adds nothing. Raises
    `UnknownGeneration`; `GenerationClosed` when windows are missing and it is no longer open.
    """
    ordinal, state = lock(connection, generation_id)
    missing = _missing(connection, ordinal, chunk)
    if not len(missing.codes_ND):
        return
    if state is not GenerationState.OPEN:
        raise _closed(generation_id, state)
    connection.execute(
        update(GenerationRow).where(GenerationRow.ordinal == ordinal).values(num_samples=num_samples)
    )
    # Last, since the trigger takes the changelog's lock, which is then held for the commit alone.
    connection.execute(_APPEND, packed(ordinal, missing))


def packed(ordinal: int, chunk: Chunk) -> dict[str, Any]:
    """The row that holds these windows, by column."""
    return {
        "generation_ordinal": ordinal,
        "first_window": chunk.first_window,
        "num_windows": len(chunk.codes_ND),
        "fp_model_id": chunk.fp_model_id,
        "codes": pack_codes(chunk.codes_ND),
        "signs": chunk.signs_NB.tobytes(),
        "informative": pack_informative(chunk.informative_N),
    }


def finish(
    connection: Connection,
    generation_id: uuid.UUID,
    num_samples: int,
    pcm_sha256: bytes,
    file_sha256: bytes | None = None,
) -> Generation:
    """Close as complete, with a log entry that commits to the samples and, if given, to the released file.

    Raises `UnknownGeneration`; `GenerationClosed` when it was aborted, or was completed with other audio.
    """
    ordinal, state = lock(connection, generation_id)
    if state is GenerationState.OPEN:
        _close(connection, ordinal, GenerationState.COMPLETE, num_samples=num_samples, pcm_sha256=pcm_sha256)
    generation = get(connection, generation_id)
    if generation.state is not GenerationState.COMPLETE or generation.pcm_sha256 != pcm_sha256.hex():
        raise _closed(generation_id, generation.state)
    if state is GenerationState.OPEN:
        outbox.generation_finished(connection, generation, file_sha256)
    return generation


def abort(connection: Connection, generation_id: uuid.UUID) -> Generation:
    """Close as aborted; what was appended stays searchable. Raises as `finish`."""
    ordinal, state = lock(connection, generation_id)
    if state is GenerationState.COMPLETE:
        raise _closed(generation_id, state)
    if state is GenerationState.OPEN:
        _close(connection, ordinal, GenerationState.ABORTED)
    generation = get(connection, generation_id)
    if state is GenerationState.OPEN:
        assert generation.finished_at is not None
        outbox.generation_aborted(connection, generation_id, generation.finished_at)
    return generation


def recover(connection: Connection, own_number: int) -> int:
    """Abort the open generations of dead owners; returns how many. Any process may do it at any time.

    The owner's lock is held until the commit, so an owner that comes back meanwhile waits for its next write.
    """
    is_open = GenerationRow.state == GenerationState.OPEN
    owners = connection.execute(select(GenerationRow.owner).where(is_open).distinct()).scalars().all()
    num_aborted = 0
    for owner in owners:
        if owner == own_number:
            continue
        free = connection.execute(text("SELECT pg_try_advisory_xact_lock(:owner)"), {"owner": owner})
        if free.scalar_one():
            statement = update(GenerationRow).where(is_open, GenerationRow.owner == owner)
            values = {"state": GenerationState.ABORTED.value, "finished_at": func.clock_timestamp()}
            closed = statement.values(values).returning(
                GenerationRow.generation_id, GenerationRow.finished_at
            )
            for row in connection.execute(closed).all():
                outbox.generation_aborted(connection, row.generation_id, row.finished_at)
                num_aborted += 1
    return num_aborted


def get(connection: Connection, generation_id: uuid.UUID) -> Generation:
    """Raises `UnknownGeneration`."""
    statement = _select().where(GenerationRow.generation_id == generation_id)
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise UnknownGeneration(f"the registry holds no generation {generation_id}")
    return _generation(row)


def get_by_content_id(connection: Connection, content_id: int) -> Generation | None:
    """None when this registry never issued that content id, whatever 64-bit number it is."""
    if not 0 <= content_id < 1 << CONTENT_ID_BITS:
        return None
    row = connection.execute(_select().where(GenerationRow.content_id == content_id)).one_or_none()
    return None if row is None else _generation(row)


def newest(
    connection: Connection,
    limit: int,
    after: uuid.UUID | None = None,
    wanted: GenerationFilter = EVERY_GENERATION,
) -> list[Generation]:
    """The wanted ones, newest first, at most `limit` (1 to 1000), those begun before `after` when it is
    given.

    The last id of one page is the cursor of the next; what is begun meanwhile never shifts a page. Raises
    `RegistryInputError`, `UnknownGeneration`.
    """
    if not 1 <= limit <= PAGE_LIMIT:
        raise RegistryInputError(f"limit must be from 1 to {PAGE_LIMIT}, not {limit}")
    statement = _select().where(*_conditions(wanted)).order_by(GenerationRow.ordinal.desc()).limit(limit)
    if after is not None:
        cursor = select(GenerationRow.ordinal).where(GenerationRow.generation_id == after)
        ordinal = connection.execute(cursor).scalar_one_or_none()
        if ordinal is None:
            raise UnknownGeneration(f"the registry holds no generation {after} to list from")
        statement = statement.where(GenerationRow.ordinal < ordinal)
    return [_generation(row) for row in connection.execute(statement)]


def count(connection: Connection, wanted: GenerationFilter = EVERY_GENERATION) -> int:
    """How many there are now; reads an index or the whole table, so ask once for an export and not for a
    page."""
    statement = select(func.count()).select_from(GenerationRow).where(*_conditions(wanted))
    return connection.execute(statement).scalar_one()


def ensure_model(connection: Connection, weights_sha256: str, version: str) -> int:
    """The fp_model_id of these weights (hex), inserted on first use."""
    values = {"weights_sha256": bytes.fromhex(weights_sha256), "version": version}
    connection.execute(postgresql.insert(FpModelRow).values(values).on_conflict_do_nothing())
    statement = select(FpModelRow.fp_model_id).where(FpModelRow.weights_sha256 == values["weights_sha256"])
    return connection.execute(statement).scalar_one()


def _missing(connection: Connection, ordinal: int, chunk: Chunk) -> Chunk:
    # What of the chunk is not in the table yet; the generation's row is locked, so that cannot change.
    statement = (
        select(FingerprintRow.first_window + FingerprintRow.num_windows)
        .where(FingerprintRow.generation_ordinal == ordinal)
        .order_by(FingerprintRow.first_window.desc())
        .limit(1)
    )
    num_written = connection.execute(statement).scalar_one_or_none() or 0
    skip = max(num_written - chunk.first_window, 0)
    return replace(
        chunk,
        first_window=chunk.first_window + skip,
        codes_ND=chunk.codes_ND[skip:],
        signs_NB=chunk.signs_NB[skip:],
        informative_N=chunk.informative_N[skip:],
    )


def lock(connection: Connection, generation_id: uuid.UUID) -> tuple[int, GenerationState]:
    """Its ordinal and state, which nobody changes until the transaction ends. Raises `UnknownGeneration`."""
    statement = (
        select(GenerationRow.ordinal, GenerationRow.state)
        .where(GenerationRow.generation_id == generation_id)
        .with_for_update(key_share=True)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise UnknownGeneration(f"the registry holds no generation {generation_id}")
    return row.ordinal, GenerationState(row.state)


def _close(connection: Connection, ordinal: int, state: GenerationState, **values: object) -> None:
    statement = update(GenerationRow).where(GenerationRow.ordinal == ordinal)
    connection.execute(statement.values(state=state.value, finished_at=func.clock_timestamp(), **values))


def _closed(generation_id: uuid.UUID, state: GenerationState) -> GenerationClosed:
    return GenerationClosed(f"generation {generation_id} is {state.value}: begin a new one")


def _conditions(wanted: GenerationFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.created_from is not None:
        conditions.append(GenerationRow.created_at >= wanted.created_from)
    if wanted.created_before is not None:
        conditions.append(GenerationRow.created_at < wanted.created_before)
    if wanted.model is not None:
        conditions.append(GenerationRow.model == wanted.model)
    if wanted.state is not None:
        conditions.append(GenerationRow.state == wanted.state)
    return conditions


def _select() -> Select[Any]:
    return select(*GenerationRow.__table__.columns)


def _generation(row: Row[Any]) -> Generation:
    return Generation(
        generation_id=row.generation_id,
        content_id=row.content_id,
        state=GenerationState(row.state),
        created_at=row.created_at,
        finished_at=row.finished_at,
        system=row.system,
        system_version=row.system_version,
        model=row.model,
        sample_rate_hz=row.sample_rate_hz,
        duration_s=row.num_samples / SAMPLE_RATE_HZ,
        pcm_sha256=None if row.pcm_sha256 is None else bytes(row.pcm_sha256).hex(),
        metadata=row.metadata,
    )
