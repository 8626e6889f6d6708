"""The life of a generation against real PostgreSQL: ids, states, repeats, recovery, listing."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import exc, text

from registry import changelog, generations
from registry.database import Database
from registry.errors import GenerationClosed, RegistryError, RegistryInputError, UnknownGeneration
from registry.generations import Chunk
from registry.owner import OwnerLock
from registry.packing import quantised
from registry.records import Generation, NewGeneration, uuid7
from registry.tables import GenerationState

NEW = NewGeneration("earmark", "0.1.0", "mini", 48_000, {"voice": "ä", "seed": 7})
DIGEST = bytes(range(32))
HOP = 11_520


def begin(database: Database, owner: int = 1) -> Generation:
    with database.transaction() as connection:
        return generations.begin(connection, NEW, owner)


def chunk(database: Database, first: int, count: int) -> Chunk:
    with database.transaction() as connection:
        model = generations.ensure_model(connection, "cd" * 32, "1")
    codes = quantised(np.random.default_rng(first).standard_normal((count, 128)))
    signs = np.random.default_rng(first).integers(0, 256, (count, 64), dtype=np.uint8)
    return Chunk(first, codes, signs, np.ones(count, dtype=np.bool_), model)


def append(database: Database, generation: Generation, first: int, count: int) -> None:
    windows = chunk(database, first, count)
    with database.transaction() as connection:
        generations.append(connection, generation.generation_id, windows, (first + count) * HOP)


def finish(database: Database, generation: Generation, digest: bytes = DIGEST) -> Generation:
    with database.transaction() as connection:
        return generations.finish(connection, generation.generation_id, 10 * HOP, digest)


def abort(database: Database, generation: Generation) -> Generation:
    with database.transaction() as connection:
        return generations.abort(connection, generation.generation_id)


def get(database: Database, generation: Generation) -> Generation:
    with database.transaction() as connection:
        return generations.get(connection, generation.generation_id)


def num_windows(database: Database, generation: Generation) -> int:
    with database.transaction() as connection:
        changes = changelog.read(connection, 0)
    return sum(len(c.codes_ND) for c in changes if c.generation_id == generation.generation_id)


@contextmanager
def owner(database: Database) -> Iterator[OwnerLock]:
    lock = OwnerLock(database)
    lock.hold()
    yield lock
    lock.release()


def test_a_new_generation_is_open_and_says_what_it_is(database: Database) -> None:
    before = datetime.now(UTC)
    generation = begin(database)
    assert get(database, generation) == generation
    assert generation.state is GenerationState.OPEN
    assert generation.generation_id.version == 7
    assert 0 <= generation.content_id < 1 << 48
    assert abs(generation.created_at - before) < timedelta(seconds=10)
    assert generation.created_at.tzinfo is not None
    assert (generation.system, generation.system_version, generation.model) == ("earmark", "0.1.0", "mini")
    assert generation.sample_rate_hz == 48_000
    assert generation.metadata == {"voice": "ä", "seed": 7}
    assert (generation.finished_at, generation.pcm_sha256, generation.duration_s) == (None, None, 0.0)


def test_the_layout_of_the_id_is_that_of_rfc_9562() -> None:
    """48 bits of milliseconds, version 7, variant 10; the example time of the RFC's appendix A.6."""
    made = uuid7(0x017F22E279B0)
    assert str(made).startswith("017f22e2-79b0-7")
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert uuid7(0x017F22E279B0) != made
    assert uuid7(1) < uuid7(2)


def test_a_content_id_that_is_taken_is_drawn_again(database: Database) -> None:
    taken = begin(database).content_id
    draws = iter([taken, taken, 5])
    with database.transaction() as connection:
        assert generations.begin(connection, NEW, 1, draw=lambda: next(draws)).content_id == 5


def test_a_broken_random_generator_is_reported_and_not_retried_forever(database: Database) -> None:
    taken = begin(database).content_id
    with pytest.raises(RegistryError, match="generator is broken"), database.transaction() as connection:
        generations.begin(connection, NEW, 1, draw=lambda: taken)


@pytest.mark.parametrize("content_id", [-1, 1 << 48])
def test_the_database_refuses_a_content_id_beyond_48_bits(database: Database, content_id: int) -> None:
    with pytest.raises(exc.IntegrityError), database.transaction() as connection:
        generations.begin(connection, NEW, 1, draw=lambda: content_id)


def test_a_finished_generation_has_its_duration_and_hash_for_good(database: Database) -> None:
    generation = begin(database)
    append(database, generation, 0, 10)
    done = finish(database, generation)
    assert done.state is GenerationState.COMPLETE
    assert done.finished_at is not None
    assert done.finished_at >= done.created_at
    assert done.duration_s == pytest.approx(4.8)
    assert done.pcm_sha256 == DIGEST.hex()
    assert finish(database, generation) == done  # the answer was lost and the caller asks again
    with pytest.raises(GenerationClosed):
        finish(database, generation, bytes(32))
    with pytest.raises(GenerationClosed):
        abort(database, generation)
    with pytest.raises(GenerationClosed):
        append(database, generation, 10, 1)
    assert num_windows(database, generation) == 10


def test_an_aborted_generation_keeps_its_windows_and_takes_no_more(database: Database) -> None:
    generation = begin(database)
    append(database, generation, 0, 4)
    aborted = abort(database, generation)
    assert aborted.state is GenerationState.ABORTED
    assert aborted.duration_s == pytest.approx(4 * 0.48)
    assert abort(database, generation) == aborted
    with pytest.raises(GenerationClosed):
        append(database, generation, 4, 1)
    with pytest.raises(GenerationClosed):
        finish(database, generation)
    assert num_windows(database, generation) == 4


def test_a_repeated_append_adds_only_what_is_missing(database: Database) -> None:
    """The commit went through and its answer was lost; the next write carries the same windows and more."""
    generation = begin(database)
    append(database, generation, 0, 3)
    append(database, generation, 0, 3)
    append(database, generation, 0, 5)
    append(database, generation, 2, 5)
    with database.transaction() as connection:
        changes = changelog.read(connection, 0)
    assert [(change.first_window, len(change.codes_ND)) for change in changes] == [(0, 3), (3, 2), (5, 2)]
    finish(database, generation)
    append(database, generation, 0, 5)  # all there already: the repeat of a write before the end
    assert num_windows(database, generation) == 7


def test_an_unknown_generation_is_an_error_and_an_unknown_content_id_a_result(database: Database) -> None:
    nobody = uuid7()
    windows = chunk(database, 0, 1)
    with database.transaction() as connection:
        for call in (
            lambda: generations.get(connection, nobody),
            lambda: generations.append(connection, nobody, windows, HOP),
            lambda: generations.finish(connection, nobody, 1, DIGEST),
            lambda: generations.abort(connection, nobody),
            lambda: generations.newest(connection, 1, after=nobody),
        ):
            with pytest.raises(UnknownGeneration):
                call()
        for content_id in (0, -1, 1 << 48, 1 << 63, 1 << 70):
            assert generations.get_by_content_id(connection, content_id) is None


def test_a_generation_is_found_by_its_content_id(database: Database) -> None:
    generation = begin(database)
    begin(database)
    with database.transaction() as connection:
        assert generations.get_by_content_id(connection, generation.content_id) == generation


def test_pages_join_up_although_generations_are_begun_meanwhile(database: Database) -> None:
    made = [begin(database).generation_id for _ in range(5)]
    with database.transaction() as connection:
        first = generations.newest(connection, 2)
    begin(database)
    with database.transaction() as connection:
        second = generations.newest(connection, 2, after=first[-1].generation_id)
        third = generations.newest(connection, 2, after=second[-1].generation_id)
        assert generations.newest(connection, 2, after=third[-1].generation_id) == []
    assert [g.generation_id for g in (*first, *second, *third)] == made[::-1]


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_range_is_refused(database: Database, limit: int) -> None:
    with pytest.raises(RegistryInputError, match="limit"), database.transaction() as connection:
        generations.newest(connection, limit)


@pytest.mark.parametrize(
    "wrong",
    [
        {"system": ""},
        {"model": "a\x00b"},
        {"system_version": "\ud800"},
        {"sample_rate_hz": 0},
        {"sample_rate_hz": 1 << 31},
        {"metadata": {"x": float("nan")}},
        {"metadata": {"x": "\x00"}},
        {"metadata": {"x": b"bytes"}},
        {"metadata": {"x": "\udfff"}},
    ],
)
def test_a_description_the_database_cannot_hold_is_refused_before_it_is_asked(
    wrong: dict[str, object],
) -> None:
    fields: dict[str, object] = {"system": "s", "system_version": "1", "model": "m", "sample_rate_hz": 24_000}
    with pytest.raises(RegistryInputError):
        NewGeneration(**(fields | wrong))  # type: ignore[arg-type]


def test_recovery_aborts_what_dead_owners_left_and_nothing_else(database: Database) -> None:
    with owner(database) as alive, owner(database) as recovering:
        with owner(database) as dead:
            left_open = begin(database, dead.number)
            append(database, left_open, 0, 2)
            complete = begin(database, dead.number)
            finish(database, complete)
        running, own = begin(database, alive.number), begin(database, recovering.number)
        with database.transaction() as connection:
            assert generations.recover(connection, recovering.number) == 1
        with database.transaction() as connection:
            assert generations.recover(connection, recovering.number) == 0
    recovered = get(database, left_open)
    assert recovered.state is GenerationState.ABORTED
    assert recovered.finished_at is not None
    assert num_windows(database, left_open) == 2
    assert get(database, complete).state is GenerationState.COMPLETE
    assert get(database, running).state is GenerationState.OPEN
    assert get(database, own).state is GenerationState.OPEN


def test_an_owner_whose_connection_was_cut_takes_its_lock_again(database: Database) -> None:
    """A restart of the server must not make a living process look dead beyond its next write."""
    with owner(database) as cut, owner(database) as recovering:
        generation = begin(database, cut.number)
        with database.transaction() as connection:
            others = "pid <> pg_backend_pid() AND datname = current_database()"
            connection.execute(
                text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"),
            )
        cut.hold()
        recovering.hold()
        with database.transaction() as connection:
            assert generations.recover(connection, recovering.number) == 0
    assert get(database, generation).state is GenerationState.OPEN


def test_the_same_weights_get_one_number(database: Database) -> None:
    with database.transaction() as connection:
        first = generations.ensure_model(connection, "00" * 32, "1")
        assert generations.ensure_model(connection, "00" * 32, "1") == first
        assert generations.ensure_model(connection, "01" * 32, "2") != first


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE generation SET model = 'other'",
        "UPDATE generation SET metadata = '{}'",
        "UPDATE generation SET owner = 2, state = 'aborted', finished_at = now()",
        "DELETE FROM generation",
        "TRUNCATE generation CASCADE",
    ],
)
def test_what_a_generation_was_begun_as_is_never_changed(database: Database, statement: str) -> None:
    """Not even while it is open, and by the tables' owner."""
    begin(database)
    with pytest.raises(exc.IntegrityError, match="never changed"), database.transaction() as connection:
        connection.execute(text(statement))
