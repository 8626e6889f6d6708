"""A real log on a database and a folder of the test's own, and generations to log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from registry import generations
from registry.database import Database
from registry.log import LogFiles, TransparencyLog
from registry.log.check import check
from registry.records import Generation, NewGeneration
from tests.registry.log.independent import verify_log

NEW = NewGeneration("test", "1", "none", 24_000)


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    return LogFiles.in_folder(tmp_path / "data")


@pytest.fixture
def log(database: Database, files: LogFiles) -> Iterator[TransparencyLog]:
    opened = TransparencyLog.open(database, files)
    yield opened
    opened.close()


def begin(database: Database, count: int = 1) -> list[Generation]:
    """So many open generations, each with an entry that waits for the sequencer."""
    with database.transaction() as connection:
        return [generations.begin(connection, NEW, owner=1) for _ in range(count)]


def fill(database: Database, count: int) -> None:
    """So many entries at once, of no generation: to get to the edge of a tile quickly."""
    with database.transaction() as connection:
        values = (
            "SELECT 'policy-change', convert_to('{\"kind\":\"policy-change\",\"n\":' || n || '}', 'utf8')"
        )
        connection.execute(
            text(f"INSERT INTO log_entry (kind, leaf) {values} FROM generate_series(1, :count) n"),
            {"count": count},
        )


def finish(database: Database, generation: Generation, pcm: bytes, file: bytes | None = None) -> None:
    with database.transaction() as connection:
        generations.finish(connection, generation.generation_id, 24_000, pcm, file)


def indexes(database: Database) -> list[int]:
    with database.transaction() as connection:
        chosen = text("SELECT log_index FROM log_entry WHERE log_index IS NOT NULL ORDER BY log_index")
        return list(connection.execute(chosen).scalars())


def assert_sound(database: Database, log: TransparencyLog) -> None:
    """What must hold after any failure: the indexes, the tiles, the rows, and for a stranger's verifier."""
    found = indexes(database)
    assert found == list(range(len(found)))
    log.run_batch()
    assert check(database, log) == []
    key = str(log.key.verifier)
    assert verify_log(str(log.folder.root), key)["size"] == len(indexes(database))


def edit(database: Database, statement: str) -> None:
    """As somebody would who owns the database: triggers off."""
    with database.transaction() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(statement))
