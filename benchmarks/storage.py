"""What an hour of speech takes in PostgreSQL, table by table, and whether COPY would write it faster.

    python -m benchmarks.storage [--hours 2] [--rounds 9]

(1) Bytes, in generations of two minutes: files (one write each) and streams (a write each second, each in a
    transaction of its own, as recordings write). The slope behind the first hour, so that what empty tables
    take does not count. Codes of chance: bytes are bytes.
(2) Time to write an hour of windows in one transaction: as `registry.generations` does it, a row at a time,
    and by COPY in the binary format, with the trigger of the table in both. Medians over rounds that take
    turns. As one row (a file of an hour), as 30 (an archive of files of two minutes) and as 3,750 (what
    streams write in an hour, which nobody writes at once).

Needs no corpus and no weights. Not covered: WAL, backups, the log's files.
"""

import argparse
import struct
import tempfile
import time
import uuid
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert, text

from audio import SAMPLE_RATE_HZ
from benchmarks import report
from registry import NewGeneration, generations
from registry.database import Database
from registry.fingerprint.windows import HOP_SAMPLES
from registry.generations import Chunk
from registry.postgres import EmbeddedServer
from registry.tables import EMBEDDING_WIDTH, SIGN_BYTES, FingerprintRow

GENERATION_WINDOWS = 250  # two minutes
WINDOWS_PER_HOUR = 3600 * SAMPLE_RATE_HZ / HOP_SAMPLES
NEW = NewGeneration("benchmark", "1", "none", SAMPLE_RATE_HZ)
WEIGHTS = "00" * 32
KINDS = {"files": GENERATION_WINDOWS, "streams": 2}  # windows in a write
APPEND = insert(FingerprintRow)  # built once, as registry/generations.py does
BULK = {"1 row": 7_500, "30 rows": GENERATION_WINDOWS, "3,750 rows": 2}  # windows in a row
SIZES = """
SELECT CASE WHEN relname ~ '^fingerprint_changelog_[0-9]+$' THEN 'fingerprint_changelog' ELSE relname END,
       sum(pg_relation_size(oid)), sum(coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0)),
       sum(pg_indexes_size(oid))
FROM pg_class WHERE relkind = 'r' AND (relname IN ('generation', 'fingerprint', 'log_entry', 'log_salt')
    OR relname ~ '^fingerprint_changelog_[0-9]+$')
GROUP BY 1 ORDER BY 1
"""


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=2.0, help="of speech behind the first hour")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="earmark-storage-") as name:
        Path(name).chmod(0o711)  # the database's own account passes through
        with EmbeddedServer.attach(Path(name) / "data") as server:
            database = Database(server.url())
            database.prepare()
            for kind, windows_a_write in KINDS.items():
                result[kind] = growth(database, windows_a_write, args.hours)
                _print_bytes(kind, result[kind], WINDOWS_PER_HOUR / windows_a_write)
            result["bulk"] = bulk(database, args.rounds)
            database.close()
    rows = [[name, *times.values()] for name, times in result["bulk"].items()]
    print("\n" + report.table(("an hour in", "INSERT, ms", "COPY, ms", "times"), rows))
    print(f"\nwritten to {report.write('storage', result)}")


def growth(database: Database, windows_a_write: int, hours: float) -> dict[str, dict[str, float]]:
    """Bytes an hour of each table: its rows, what is kept outside of them, its indexes."""
    store(database, 1.0, windows_a_write)
    before = _sizes(database)
    store(database, hours, windows_a_write)
    after = _sizes(database)
    return {
        table: {part: (after[table][part] - size) / hours for part, size in parts.items()}
        for table, parts in before.items()
    }


def store(database: Database, hours: float, windows_a_write: int) -> None:
    """What recordings write, and as they do."""
    for _ in range(round(hours * WINDOWS_PER_HOUR / GENERATION_WINDOWS)):
        generation_id, model = _begun(database)
        for first in range(0, GENERATION_WINDOWS, windows_a_write):
            with database.transaction() as connection:
                _unhurried(connection)
                chunk = _chunk(first, windows_a_write, model)
                generations.append(connection, generation_id, chunk, (first + windows_a_write) * HOP_SAMPLES)
        with database.transaction() as connection:
            generations.finish(connection, generation_id, GENERATION_WINDOWS * HOP_SAMPLES, bytes(32))


def bulk(database: Database, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds for an hour of windows, and their ratio."""
    ways: tuple[Callable[[Connection, list[dict[str, Any]]], None], ...] = (_insert, _copy)
    out = {}
    for name, windows_a_row in BULK.items():
        times_ms: list[list[float]] = [[], []]
        for _ in range(rounds):
            for way, of_way in zip(ways, times_ms, strict=True):
                rows = _rows(database, windows_a_row)
                started_s = time.perf_counter()
                with database.transaction() as connection:
                    way(connection, rows)
                of_way.append(1000 * (time.perf_counter() - started_s))
        inserted_ms, copied_ms = (float(np.median(of_way)) for of_way in times_ms)
        out[name] = {
            "insert_ms": round(inserted_ms, 1),
            "copy_ms": round(copied_ms, 1),
            "times": round(inserted_ms / copied_ms, 2),
        }
    return out


def _rows(database: Database, windows_a_row: int) -> list[dict[str, Any]]:
    """An hour, in generations of two minutes or in one that is as long as its row."""
    rows: list[dict[str, Any]] = []
    length = max(windows_a_row, GENERATION_WINDOWS)
    for _ in range(7_500 // length):
        generation_id, model = _begun(database)
        with database.transaction() as connection:
            ordinal, _ = generations.lock(connection, generation_id)
        starts = range(0, length, windows_a_row)
        rows += [generations.packed(ordinal, _chunk(first, windows_a_row, model)) for first in starts]
    return rows


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        connection.execute(APPEND, row)


def _copy(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """The binary format: a head of 19 bytes; for each row the number of values, then each with its length;
    the end is a row of -1 values. Numbers have the width of their column, first byte highest."""
    widths = {"generation_ordinal": ">q"}
    parts = [b"PGCOPY\n\xff\r\n\0" + bytes(8)]
    for row in rows:
        parts.append(struct.pack(">h", len(row)))
        for name, value in row.items():
            raw = value if isinstance(value, bytes) else struct.pack(widths.get(name, ">i"), value)
            parts += (struct.pack(">i", len(raw)), raw)
    parts.append(struct.pack(">h", -1))
    driver = connection.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor:
        statement = f"COPY fingerprint ({', '.join(rows[0])}) FROM STDIN WITH (FORMAT binary)"
        cursor.copy_expert(statement, BytesIO(b"".join(parts)))


def _begun(database: Database) -> tuple[uuid.UUID, int]:
    with database.transaction() as connection:
        _unhurried(connection)
        model = generations.ensure_model(connection, WEIGHTS, "benchmark")
        return generations.begin(connection, NEW, owner=1).generation_id, model


def _unhurried(connection: Connection) -> None:
    """Without a flush for each commit: where bytes are counted, nobody asks what a crash would leave."""
    connection.execute(text("SET LOCAL synchronous_commit = off"))


def _chunk(first: int, num_windows: int, model: int) -> Chunk:
    rng = np.random.default_rng(first)
    codes_ND = rng.integers(-8, 8, (num_windows, EMBEDDING_WIDTH), np.int8) * 2 + 1
    signs_NB = rng.integers(0, 256, (num_windows, SIGN_BYTES), np.uint8)
    return Chunk(first, codes_ND.astype(np.int8), signs_NB, np.ones(num_windows, np.bool_), model)


def _sizes(database: Database) -> dict[str, dict[str, int]]:
    with database.transaction() as connection:
        rows = connection.execute(text(SIZES)).all()
    return {name: {"rows": int(a), "outside": int(b), "indexes": int(c)} for name, a, b, c in rows}


def _print_bytes(kind: str, tables: dict[str, dict[str, float]], writes_an_hour: float) -> None:
    rows = []
    for table, parts in tables.items():
        total = sum(parts.values())
        each = (f"{total / WINDOWS_PER_HOUR:.1f}", f"{total / writes_an_hour:.0f}")
        rows.append([table, *(f"{size / 1e6:.3f}" for size in (*parts.values(), total)), *each])
    total = sum(sum(parts.values()) for parts in tables.values())
    rows.append(["all", "", "", "", f"{total / 1e6:.3f}", f"{total / WINDOWS_PER_HOUR:.1f}",
                 f"{total / writes_an_hour:.0f}"])  # fmt: skip
    header = (kind, "rows, MB/h", "outside", "indexes", "together", "bytes a window", "bytes a write")
    print("\n" + report.table(header, rows), flush=True)


if __name__ == "__main__":
    main()
