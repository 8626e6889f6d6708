"""The changelog against real PostgreSQL: its order under concurrency, its content, its refusals."""

import threading
import uuid
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, exc, text

from registry import changelog, generations
from registry.database import Database
from registry.errors import StartFromSnapshot
from registry.generations import Chunk
from registry.packing import quantised
from registry.records import NewGeneration

NEW = NewGeneration("earmark", "0.1.0", "mini", 24_000)
WEIGHTS = "ab" * 32


def codes(num_windows: int, seed: int = 0) -> np.ndarray:
    return quantised(np.random.default_rng(seed).standard_normal((num_windows, 128)))


def signs(num_windows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_windows, 64), dtype=np.uint8)


def begin(database: Database) -> tuple[uuid.UUID, int]:
    with database.transaction() as connection:
        generation = generations.begin(connection, NEW, owner=1)
        return generation.generation_id, generations.ensure_model(connection, WEIGHTS, "1")


def append(connection: Connection, generation_id: uuid.UUID, model: int, first: int, count: int) -> None:
    chunk = Chunk(first, codes(count, first), signs(count, first), np.ones(count, dtype=np.bool_), model)
    generations.append(connection, generation_id, chunk, num_samples=(first + count) * 11_520)


def committed_positions(database: Database) -> list[int]:
    with database.transaction() as connection:
        return [change.position for change in changelog.read(connection, 0)]


def a_later_position_became_visible_first(database: Database) -> bool:
    """Insert on one connection without committing, then insert and commit on a second one, and look."""
    (early_id, model), (late_id, _) = begin(database), begin(database)
    late_is_done = threading.Event()

    def insert_late() -> None:
        with database.transaction() as connection:
            append(connection, late_id, model, 0, 1)
        late_is_done.set()

    late = threading.Thread(target=insert_late)
    with database.transaction() as connection:
        append(connection, early_id, model, 0, 1)  # its position is drawn, its commit is not there yet
        late.start()
        late_is_done.wait(0.5)
        seen = committed_positions(database)
    late.join()
    # A reader whose cursor is the last position it saw asks only for what is behind it.
    behind = [position for position in committed_positions(database) if position not in seen]
    return bool(seen) and min(behind) < max(seen)


def test_a_later_position_never_becomes_visible_before_an_earlier_one(database: Database) -> None:
    """Else a replica that has read the later one never asks for the earlier one: a lost fingerprint."""
    assert not a_later_position_became_visible_first(database)
    assert len(committed_positions(database)) == 2


def test_without_the_lock_in_the_trigger_the_order_breaks(database: Database) -> None:
    """Keeps the test above honest: it must fail as soon as somebody removes the lock."""
    with database.transaction() as connection:
        source = connection.execute(text("SELECT prosrc FROM pg_proc WHERE proname = 'fingerprint_log'"))
        body = source.scalar_one()
        assert "PERFORM pg_advisory_xact_lock" in body
        unlocked = body.replace("PERFORM pg_advisory_xact_lock(1700885101, 1);", "")
        assert unlocked != body
        create = "CREATE OR REPLACE FUNCTION fingerprint_log() RETURNS trigger LANGUAGE plpgsql AS "
        connection.exec_driver_sql(f"{create} $${unlocked}$$".replace("%", "%%"))
    assert a_later_position_became_visible_first(database)


def test_a_change_carries_what_was_appended(database: Database) -> None:
    generation_id, model = begin(database)
    informative = np.array([True, False, True, True, False, True, True, True, True, False])
    with database.transaction() as connection:
        chunk = Chunk(0, codes(10, 7), signs(10, 7), informative, model)
        generations.append(connection, generation_id, chunk, num_samples=10 * 11_520)
        append(connection, generation_id, model, 10, 3)
    with database.transaction() as connection:
        first, second = changelog.read(connection, 0)
        behind = changelog.read(connection, first.position)
    assert [change.position for change in behind] == [second.position]
    assert (first.generation_id, first.first_window, second.first_window) == (generation_id, 0, 10)
    assert first.weights_sha256 == WEIGHTS
    assert first.codes_ND.shape == (10, 128)
    assert np.array_equal(first.codes_ND, codes(10, 7))
    assert np.array_equal(first.informative_N, informative)


def test_replay_in_small_batches_equals_one_read(database: Database) -> None:
    generation_id, model = begin(database)
    for first in range(0, 20, 2):
        with database.transaction() as connection:
            append(connection, generation_id, model, first, 2)
    with database.transaction() as connection:
        batched = [change.position for batch in changelog.replay(connection, 0, 3) for change in batch]
        assert batched == [change.position for change in changelog.read(connection, 0)]
        assert batched[-1] == changelog.last_position(connection)
        assert list(changelog.replay(connection, batched[-1])) == []


def test_fetch_codes_joins_the_chunks_of_each_generation(database: Database) -> None:
    (one, model), (two, _), (empty, _) = begin(database), begin(database), begin(database)
    with database.transaction() as connection:
        append(connection, one, model, 0, 9)
        append(connection, two, model, 0, 2)
        append(connection, one, model, 9, 4)
        ordinals = {
            change.generation_id: change.generation_ordinal for change in changelog.read(connection, 0)
        }
        fetched = changelog.fetch_codes(connection, [*ordinals.values(), 999_999])
    assert empty not in ordinals
    assert set(fetched) == set(ordinals.values())
    assert np.array_equal(fetched[ordinals[one]].codes_ND, np.concatenate([codes(9, 0), codes(4, 9)]))
    assert np.array_equal(fetched[ordinals[one]].signs_NB, np.concatenate([signs(9, 0), signs(4, 9)]))
    assert fetched[ordinals[one]].informative_N.shape == (13,)
    assert fetched[ordinals[two]].generation_id == two


def test_what_an_earlier_release_registered_has_no_signs(database: Database) -> None:
    """Its rows were written before there was a column for them; and no row holds signs of another length."""
    generation_id, model = begin(database)
    with database.transaction() as connection:
        append(connection, generation_id, model, 0, 3)
        ordinal = changelog.read(connection, 0)[0].generation_ordinal
    row = (
        "INSERT INTO fingerprint (generation_ordinal, first_window, num_windows, fp_model_id, codes, "
        "informative, signs) SELECT generation_ordinal, first_window + 3, num_windows, fp_model_id, codes, "
        "informative, {} FROM fingerprint"
    )
    with pytest.raises(exc.IntegrityError, match="fingerprint_signs"), database.transaction() as connection:
        connection.execute(text(row.format("substring(signs FROM 2)")))
    with database.transaction() as connection:
        connection.execute(text(row.format("NULL")))
        fetched = changelog.fetch_codes(connection, [ordinal])[ordinal]
    assert (len(fetched.codes_ND), len(fetched.signs_NB)) == (6, 3)


@pytest.mark.parametrize(("first", "count"), [(1, 1), (4, 2), (7, 1)])
def test_windows_that_leave_a_gap_or_overlap_are_refused(database: Database, first: int, count: int) -> None:
    """Written past `generations.append`, as a faulty writer would."""
    generation_id, model = begin(database)
    with database.transaction() as connection:
        append(connection, generation_id, model, 0, 3)
        append(connection, generation_id, model, 3, 3)
    insert = text(
        "INSERT INTO fingerprint SELECT ordinal, :first, :count, :model, :codes, '\\x00' FROM generation"
    )
    values = {"first": first, "count": count, "model": model, "codes": codes(count).tobytes()}
    with (
        pytest.raises(exc.IntegrityError, match="without gap or overlap"),
        database.transaction() as connection,
    ):
        connection.execute(insert, values)
    assert len(committed_positions(database)) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fingerprint SET num_windows = 1",
        "DELETE FROM fingerprint",
        "TRUNCATE fingerprint",
        "UPDATE fingerprint_changelog SET position = 9",
        "DELETE FROM fingerprint_changelog",
    ],
)
def test_fingerprints_and_their_log_are_never_changed(database: Database, statement: str) -> None:
    generation_id, model = begin(database)
    with database.transaction() as connection:
        append(connection, generation_id, model, 0, 1)
    with (
        pytest.raises(exc.IntegrityError, match="never changed or removed"),
        database.transaction() as connection,
    ):
        connection.execute(text(statement))


def test_the_lock_numbers_in_the_migration_are_those_of_the_tables() -> None:
    """The trigger repeats them on purpose; the twins must agree."""
    from registry.tables import LOCK_CHANGELOG, LOCK_SPACE

    folder = Path(__file__).parents[2] / "migrations/versions"
    migration = (folder / "0004_changelog_partitions.py").read_text()
    assert migration.count(f"pg_advisory_xact_lock({LOCK_SPACE}, {LOCK_CHANGELOG})") == 2
    assert "PARTITION_POSITIONS = 1 << 20" in migration
    assert changelog.PARTITION_POSITIONS == 1 << 20


def test_a_partition_is_made_when_it_is_needed_and_dropped_when_all_have_read_it(database: Database) -> None:
    """By the insert itself: a partition that nobody made in time would stop every writer."""
    generation_id, model = begin(database)
    with database.transaction() as connection:
        append(connection, generation_id, model, 0, 1)
        connection.execute(text(f"SELECT setval('fingerprint_changelog_position', {1 << 20} - 2)"))
    for first in (1, 2, 3):
        with database.transaction() as connection:
            append(connection, generation_id, model, first, 1)
    with database.transaction() as connection:
        assert [change.position for change in changelog.read(connection, 1)] == [
            (1 << 20) - 1, 1 << 20, (1 << 20) + 1,
        ]  # fmt: skip
        assert changelog.retain(connection) == 0, "it is younger than the retention"
    age_changelog(database, "61 days")
    with database.transaction() as connection:
        assert changelog.retain(connection) == 1
        assert changelog.retain(connection) == 0, "the one in use always stays"


def test_a_reader_that_fell_behind_is_told_to_start_from_a_snapshot(database: Database) -> None:
    """An over-aged position would otherwise get what is left, and look like being up to date."""
    generation_id, model = begin(database)
    with database.transaction() as connection:
        append(connection, generation_id, model, 0, 2)
        connection.execute(text(f"SELECT setval('fingerprint_changelog_position', {1 << 20} - 1)"))
        append(connection, generation_id, model, 2, 3)
    age_changelog(database, "61 days")
    with database.transaction() as connection:
        assert changelog.retain(connection) == 1
        for after in (0, 1, (1 << 20) - 2):
            with pytest.raises(StartFromSnapshot):
                changelog.read(connection, after)
        assert [change.position for change in changelog.read(connection, (1 << 20) - 1)] == [1 << 20]
    with database.snapshot() as connection:
        (changes,) = changelog.everything(connection)
    assert [(change.first_window, len(change.codes_ND)) for change in changes] == [(0, 2), (2, 3)]
    assert {change.position for change in changes} == {1 << 20}


def test_a_snapshot_sees_what_was_committed_up_to_its_position_and_nothing_else(database: Database) -> None:
    """A window between snapshot and replay would be lost, one in both would be indexed twice."""
    generation_id, model = begin(database)
    with database.transaction() as connection:
        append(connection, generation_id, model, 0, 1)
    with database.snapshot() as reading:
        position = changelog.last_position(reading)
        with database.transaction() as connection:
            append(connection, generation_id, model, 1, 1)
        assert [one.first_window for batch in changelog.everything(reading, 1) for one in batch] == [0]
    with database.transaction() as connection:
        assert [change.first_window for change in changelog.read(connection, position)] == [1]


def test_the_changelog_is_kept_for_a_day_at_least(database: Database) -> None:
    """A slip of the operator's must not send every server back to the table."""
    with pytest.raises(exc.DBAPIError, match="a day at least"), database.transaction() as connection:
        changelog.retain(connection, timedelta(hours=1))


def age_changelog(database: Database, age: str) -> None:
    with database.transaction() as connection:
        parent = "'fingerprint_changelog'::regclass"
        names = text(f"SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = {parent}")
        for name in connection.execute(names).scalars().all():
            connection.execute(text(f"ALTER TABLE {name} DISABLE TRIGGER USER"))
            connection.execute(text(f"UPDATE {name} SET created_at = created_at - interval '{age}'"))
