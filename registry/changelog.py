"""Read what was fingerprinted, in commit order; this is all that replicas see of the database.

    lock order = position order = commit order

The insert trigger on `fingerprint` takes one transaction-scoped advisory lock and only then draws the
position, and PostgreSQL releases that lock after the commit has become visible. So once a reader has seen
position p, no position below p can appear later, and `position > p` never skips a row. Positions have gaps
(an insert that is rolled back keeps its number) and start at 1; 0 means "nothing replayed yet".

Old positions are dropped by `retain`; who asks for what lies behind one of them is told to start from a
snapshot: `everything`, the table itself, which always holds all of it.

Source: AcoustID server (2026), fingerprint changelog. tests/registry/test_changelog.py holds the order with
two connections. Not covered: deletions of fingerprints, there are none.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, Select, func, select, tuple_

from registry.errors import StartFromSnapshot, UnknownGeneration
from registry.packing import unpack_codes, unpack_informative
from registry.tables import (
    EMBEDDING_WIDTH,
    SIGN_BYTES,
    ChangelogFloorRow,
    ChangelogRow,
    FingerprintRow,
    FpModelRow,
    GenerationRow,
)

CHANGELOG_KEPT = timedelta(days=60)
"""How far back a replica may have fallen and still catch up by replay."""
PARTITION_POSITIONS = 1 << 20  # twin: migrations/versions/0004_changelog_partitions.py
BATCH_ROWS = 512  # a row is one second of speech or one whole utterance: 0.1 to 20 MB a batch


@dataclass(frozen=True)
class Change:
    """The windows of one fingerprint row. Arrays are read-only."""

    position: int
    generation_ordinal: int  # dense enough to sort by; rises with the generation's begin
    generation_id: uuid.UUID
    first_window: int  # number of codes_ND[0] within its generation
    codes_ND: NDArray[np.int8]  # registry/packing.py
    informative_N: NDArray[np.bool_]  # False: silence, never to be indexed
    weights_sha256: str  # hex, of the network that made the codes


@dataclass(frozen=True)
class GenerationCodes:
    """All windows of one generation so far, from window 0 on. Arrays are read-only."""

    generation_ordinal: int
    generation_id: uuid.UUID
    codes_ND: NDArray[np.int8]
    signs_NB: NDArray[np.uint8]  # none in what an earlier version fingerprinted
    informative_N: NDArray[np.bool_]
    weights_sha256: str | None = None  # hex, of the network that made the codes; None without any


def read(connection: Connection, after: int, limit: int = BATCH_ROWS) -> list[Change]:
    """Changes with `position > after`, lowest first, at most `limit`; an empty list means "up to date".

    Safe to call from any number of connections at once. Never keep the transaction open while waiting. Raises
    `StartFromSnapshot` when something behind `after` was dropped.
    """
    statement = (
        _windows(ChangelogRow.position)
        .join(
            ChangelogRow,
            (FingerprintRow.generation_ordinal == ChangelogRow.generation_ordinal)
            & (FingerprintRow.first_window == ChangelogRow.first_window),
        )
        .where(ChangelogRow.position > after)
        .order_by(ChangelogRow.position)
        .limit(limit)
    )
    changes = [_change(row, row.position) for row in connection.execute(statement)]
    # Asked last: what is dropped after the rows were read would be noticed, not missed.
    check_reaches(connection, after)
    return changes


def check_reaches(connection: Connection, after: int) -> None:
    """Raises `StartFromSnapshot` when something behind `after` was dropped."""
    floor = _floor(connection)
    if after < floor:
        raise StartFromSnapshot(f"the changelog begins behind position {floor}, and {after} was asked for")


def everything(connection: Connection, batch_rows: int = BATCH_ROWS) -> Iterator[list[Change]]:
    """Every window there is, by generation, in batches; as changes of `last_position`.

    In one `Database.snapshot`, since positions are commit order: it sees exactly what was committed up to its
    last position, and a replay goes on from there.
    """
    position = last_position(connection)
    key = tuple_(FingerprintRow.generation_ordinal, FingerprintRow.first_window)
    after = tuple_(-1, -1)
    while True:
        statement = (
            _windows()
            .where(key > after)
            .order_by(FingerprintRow.generation_ordinal, FingerprintRow.first_window)
            .limit(batch_rows)
        )
        rows = connection.execute(statement).all()
        if not rows:
            return
        yield [_change(row, position) for row in rows]
        after = tuple_(rows[-1].ordinal, rows[-1].first_window)


def retain(connection: Connection, keep: timedelta = CHANGELOG_KEPT) -> int:
    """Drop the partitions of the changelog whose every row is older than this, a day at least; how many."""
    num_dropped: int = connection.execute(select(func.fingerprint_changelog_retain(keep))).scalar_one()
    return num_dropped


def replay(connection: Connection, after: int, batch_rows: int = BATCH_ROWS) -> Iterator[list[Change]]:
    """Every change behind `after`, in batches, until there are no more."""
    while changes := read(connection, after, batch_rows):
        yield changes
        after = changes[-1].position


def last_position(connection: Connection) -> int:
    """The highest committed position, 0 when nothing was ever fingerprinted."""
    highest: int | None = connection.execute(select(func.max(ChangelogRow.position))).scalar_one()
    return _floor(connection) if highest is None else highest


def last_ordinal(connection: Connection) -> int:
    """The highest ordinal of any generation, 0 when there is none."""
    return connection.execute(select(func.coalesce(func.max(GenerationRow.ordinal), 0))).scalar_one()


def fetch_codes(connection: Connection, generation_ordinals: Iterable[int]) -> dict[int, GenerationCodes]:
    """All windows of the given generations, keyed by ordinal; unknown or still empty ones are absent.

    Windows are contiguous from 0 (the trigger refuses anything else), so row n of `codes_ND` is window n.
    """
    statement = (
        select(
            GenerationRow.ordinal,
            GenerationRow.generation_id,
            FingerprintRow.num_windows,
            FingerprintRow.codes,
            FingerprintRow.signs,
            FingerprintRow.informative,
            FpModelRow.weights_sha256,
        )
        .join(GenerationRow, GenerationRow.ordinal == FingerprintRow.generation_ordinal)
        .join(FpModelRow, FpModelRow.fp_model_id == FingerprintRow.fp_model_id)
        .where(FingerprintRow.generation_ordinal.in_(sorted(set(generation_ordinals))))
        .order_by(FingerprintRow.generation_ordinal, FingerprintRow.first_window)
    )
    rows: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(statement):
        rows[row.ordinal].append(row)
    return {ordinal: _generation_codes(of_one) for ordinal, of_one in rows.items()}


def fetch_generation(connection: Connection, generation_id: uuid.UUID) -> GenerationCodes:
    """All windows of one generation, none when it has none yet. Raises `UnknownGeneration`."""
    statement = select(GenerationRow.ordinal).where(GenerationRow.generation_id == generation_id)
    ordinal = connection.execute(statement).scalar_one_or_none()
    if ordinal is None:
        raise UnknownGeneration(f"the registry holds no generation {generation_id}")
    no_codes_ND, no_signs_NB = np.zeros((0, EMBEDDING_WIDTH), np.int8), np.zeros((0, SIGN_BYTES), np.uint8)
    empty = GenerationCodes(ordinal, generation_id, no_codes_ND, no_signs_NB, np.zeros(0, np.bool_))
    return fetch_codes(connection, [ordinal]).get(ordinal, empty)


def _windows(*more: Any) -> Select[Any]:
    """What a change is made of, from `fingerprint` and what it refers to."""
    return (
        select(
            *more,
            GenerationRow.ordinal,
            GenerationRow.generation_id,
            FingerprintRow.first_window,
            FingerprintRow.num_windows,
            FingerprintRow.codes,
            FingerprintRow.informative,
            FpModelRow.weights_sha256,
        )
        .select_from(FingerprintRow)
        .join(GenerationRow, GenerationRow.ordinal == FingerprintRow.generation_ordinal)
        .join(FpModelRow, FpModelRow.fp_model_id == FingerprintRow.fp_model_id)
    )


def _change(row: Row[Any], position: int) -> Change:
    return Change(
        position=position,
        generation_ordinal=row.ordinal,
        generation_id=row.generation_id,
        first_window=row.first_window,
        codes_ND=unpack_codes(row.codes, row.num_windows),
        informative_N=unpack_informative(row.informative, row.num_windows),
        weights_sha256=bytes(row.weights_sha256).hex(),
    )


def _generation_codes(rows: list[Any]) -> GenerationCodes:
    """One generation's rows in order: one process wrote them, so one network."""
    return GenerationCodes(
        rows[0].ordinal,
        rows[0].generation_id,
        np.concatenate([unpack_codes(row.codes, row.num_windows) for row in rows]),
        np.frombuffer(b"".join(row.signs or b"" for row in rows), np.uint8).reshape(-1, SIGN_BYTES),
        np.concatenate([unpack_informative(row.informative, row.num_windows) for row in rows]),
        bytes(rows[0].weights_sha256).hex(),
    )


def _floor(connection: Connection) -> int:
    return connection.execute(select(ChangelogFloorRow.position)).scalar_one()
