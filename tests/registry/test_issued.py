"""The ids that were issued, followed by processes that keep them: none is missed, whoever wrote it."""

import threading
import uuid
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import text

from registry import Registry, StartFromSnapshot, changelog, generations, issued
from registry.database import Database
from tests.registry.plain import speech
from tests.registry.test_changelog import NEW, age_changelog, append, begin


def content_id(database: Database, generation_id: uuid.UUID) -> int:
    with database.transaction() as connection:
        return generations.get(connection, generation_id).content_id


def issue(database: Database) -> int:
    """A generation with a window, as of audio that was released."""
    generation_id, model = begin(database)
    with database.transaction() as connection:
        append(connection, generation_id, model, 0, 1)
    return content_id(database, generation_id)


def read(database: Database, after: int | None = None) -> issued.IssuedIds:
    with database.snapshot() as connection:
        return issued.read(connection, after)


def test_an_empty_registry_has_issued_nothing_and_is_followed_from_there(database: Database) -> None:
    nothing = read(database)
    assert nothing.content_ids_N.dtype == np.int64
    assert nothing.content_ids_N.tolist() == []
    new = issue(database)
    assert read(database, nothing.position).content_ids_N.tolist() == [new]


def test_everything_is_read_in_batches(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven ids in batches of three; the largest and the smallest id there may be survive the way."""
    monkeypatch.setattr(issued, "BATCH_IDS", 3)
    wanted = [0, (1 << 48) - 1, *range(5, 10)]
    with database.transaction() as connection:
        for one in wanted:
            generations.begin(connection, NEW, owner=1, draw=lambda one=one: one)
    assert sorted(read(database).content_ids_N.tolist()) == sorted(wanted)


def test_whoever_follows_gets_each_new_id_once_whatever_is_appended_to_the_old(database: Database) -> None:
    generation_id, model = begin(database)
    with database.transaction() as connection:
        append(connection, generation_id, model, 0, 2)
    start = read(database)
    with database.transaction() as connection:
        append(connection, generation_id, model, 2, 1)  # an old one goes on
    new = {issue(database), issue(database)}
    then = read(database, start.position)
    assert set(then.content_ids_N.tolist()) == new
    assert len(then.content_ids_N) == 2
    assert then.position > start.position
    assert read(database, then.position).content_ids_N.tolist() == []


def test_an_id_whose_transaction_commits_late_is_not_missed(database: Database) -> None:
    """It has a lower ordinal than one that was read before: whoever follows ordinals would lose it."""
    begun, inserted, commit = threading.Event(), threading.Event(), threading.Event()
    late: list[int] = []

    def insert_late() -> None:
        with database.transaction() as connection:
            generation = generations.begin(connection, NEW, owner=1)
            model = generations.ensure_model(connection, "ab" * 32, "1")
            begun.set()
            commit.wait(10)
            append(connection, generation.generation_id, model, 0, 1)
            late.append(generation.content_id)
        inserted.set()

    thread = threading.Thread(target=insert_late)
    thread.start()
    assert begun.wait(10)
    with database.transaction() as connection:  # a model of its own: the other's row is not committed
        model = generations.ensure_model(connection, "cd" * 32, "1")
        early = generations.begin(connection, NEW, owner=1)
        append(connection, early.generation_id, model, 0, 1)
    first = read(database)
    commit.set()
    thread.join(10)
    assert inserted.is_set()
    assert first.content_ids_N.tolist() == [early.content_id]
    assert read(database, first.position).content_ids_N.tolist() == late


def test_who_fell_behind_the_changelog_is_told_and_not_given_nothing(database: Database) -> None:
    old = issue(database)
    start = read(database)
    with database.transaction() as connection:  # beyond the first partition: it may be dropped now
        connection.execute(text("SELECT setval('fingerprint_changelog_position', :n)"), {"n": 1 << 21})
    new = issue(database)
    age_changelog(database, "90 days")
    with database.transaction() as connection:
        assert changelog.retain(connection, timedelta(days=60)) >= 1
    with pytest.raises(StartFromSnapshot):
        read(database, start.position - 1)
    assert sorted(read(database).content_ids_N.tolist()) == sorted([old, new])


def test_the_facade_follows_other_processes_and_keeps_what_was_aborted(registry: Registry) -> None:
    kept = registry.register(speech(48_000, seed=1), 24_000)
    start = registry.issued_ids()
    assert start.content_ids_N.tolist() == [registry.generation(kept).content_id]
    with Registry.open(registry._database.url.render_as_string(hide_password=False)) as other:
        generation = other.begin(NEW)
        recording = other.recording(generation.generation_id)
        recording.push(speech(48_000, seed=2))
        recording.abort()
    assert registry.issued_ids(start.position).content_ids_N.tolist() == [generation.content_id]
