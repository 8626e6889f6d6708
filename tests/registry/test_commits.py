"""Each commit of a generation's life fails once: lost, or kept by PostgreSQL and reported as failed.

The caller then does what the docstrings say: begins anew, calls `finish`, `abort` and `withdraw` again, never
pushes twice. Afterwards there is one of everything, and nothing was released that has no row.
"""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from sqlalchemy import text

from registry import Registry, changelog
from registry.database import Database
from registry.errors import DatabaseUnavailable, GenerationClosed
from registry.log import Kind, LogFiles
from registry.records import Generation, NewGeneration
from tests.registry.failing_commits import KEPT, LASTING, failing_commit
from tests.registry.log.conftest import assert_sound
from tests.registry.plain import speech

NEW = NewGeneration("test", "1", "none", 24_000)
AUDIO = speech(84_000)
CHUNK_SAMPLES = 16_800  # writes of one window and of two
FILE_SHA256 = bytes(32)
T = TypeVar("T")


def again(call: Callable[[], T]) -> T:
    """As a caller does: once more when the database was away."""
    try:
        return call()
    except DatabaseUnavailable:
        return call()


def live(registry: Registry, ending: str) -> Generation:
    """One whole life, released chunk by chunk; returns the generation whose audio was released."""
    generation = again(lambda: registry.begin(NEW))
    recording = again(lambda: registry.recording(generation.generation_id))
    again(lambda: registry.log.wait(generation.generation_id))
    for start in range(0, len(AUDIO), CHUNK_SAMPLES):
        try:
            recording.push(AUDIO[start : start + CHUNK_SAMPLES])
        except DatabaseUnavailable:
            continue  # the samples were taken; the next push or the end writes them
    if ending == "finish":
        again(lambda: recording.finish(FILE_SHA256))
    else:
        again(recording.abort)
    receipt = again(lambda: registry.log.wait(generation.generation_id))
    assert receipt.verify(registry.log.signer.trust).entry["event"] == f"{ending}ed"
    again(lambda: registry.withdraw(generation.generation_id, "a test"))
    return generation


@pytest.fixture
def logged(database_url: str, tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(database_url, log_files=LogFiles.in_folder(tmp_path / "data")) as registry:
        yield registry


@KEPT
@pytest.mark.parametrize("ending", ["finish", "abort"])
def test_a_life_with_any_commit_failing_is_one_life(
    database: Database, logged: Registry, ending: str, kept: bool
) -> None:
    released, nth = [], 0
    while True:
        nth += 1
        with failing_commit(logged._database, nth, kept) as fault:
            released.append(live(logged, ending).generation_id)
        logged.recover()
        assert_sound(database, logged.log)
        if fault.count < nth:
            break
    assert nth > 6, "a life has at least these: begin, model, two writes, an end, a withdrawal"
    state = "complete" if ending == "finish" else "aborted"
    expected_windows = len(logged.fingerprinter.run(AUDIO).codes_ND)
    with database.transaction() as connection:
        rows = connection.execute(text("SELECT generation_id, state, num_samples FROM generation")).all()
        by_id = {row.generation_id: row for row in rows}
        for generation_id in released:
            assert (by_id[generation_id].state, by_id[generation_id].num_samples) == (state, len(AUDIO))
            codes = changelog.fetch_generation(connection, generation_id)
            assert len(codes.codes_ND) == expected_windows, "a window is missing or there twice"
        others = set(by_id) - set(released)
        assert len(others) == kept, "a begin that was kept and reported as failed, and no other row"
        for generation_id in others:
            assert (by_id[generation_id].state, by_id[generation_id].num_samples) == ("aborted", 0)
        positions = connection.execute(
            text("SELECT generation_ordinal, first_window, count(*) FROM fingerprint_changelog GROUP BY 1, 2")
        ).all()
        assert all(row.count == 1 for row in positions)
    assert events(logged, released) == {("begun", f"{ending}ed", "revocation"): len(released)}
    assert logged.index.check().passed


def events(registry: Registry, generation_ids: list) -> Counter[tuple[str, ...]]:
    """How many generations have these entries, in this order."""
    found: Counter[tuple[str, ...]] = Counter()
    for generation_id in generation_ids:
        entries = registry.log.entries_of([generation_id])
        assert all(entry.log_index is not None for entry in entries)
        found[
            tuple(
                json.loads(entry.leaf)["event"] if entry.kind is Kind.GENERATION else entry.kind.value
                for entry in entries
            )
        ] += 1
    return found


@KEPT
def test_a_begin_that_was_reported_as_failed_is_not_left_open(
    database: Database, logged: Registry, kept: bool
) -> None:
    """This process lives on, so nobody's recovery would end it; the next begin does, and `recover` too."""
    for settle in (lambda: logged.begin(NEW), logged.recover):
        before = {one.generation_id for one in logged.generations(1000)}
        with failing_commit(logged._database, 1, kept), pytest.raises(DatabaseUnavailable):
            logged.begin(NEW)
        begun = [one for one in logged.generations(1000) if one.generation_id not in before]
        assert len(begun) == kept
        settle()
        for one in begun:
            assert logged.generation(one.generation_id).state == "aborted"
        assert_sound(database, logged.log)
    assert logged.recover() == 0


@KEPT
@LASTING
def test_what_cannot_be_registered_is_not_left_open(logged: Registry, kept: bool, lasting: bool) -> None:
    """The caller has an error and no id, so nobody but the registry can end it."""
    registered, nth = [], 0
    while not registered:
        nth += 1
        with failing_commit(logged._database, nth, kept, lasting), suppress(DatabaseUnavailable):
            registered.append(logged.register(AUDIO, 24_000))
    assert nth == 5, "begin, model, a write and the end fail in turn"
    still_open = [one for one in logged.generations(1000) if one.state == "open"]
    assert not still_open, "the register that succeeded began after them, and ended them"
    assert logged.recover() == 0
    assert logged.log.wait(registered[0]).verify(logged.log.signer.trust).entry["event"] == "finished"


def test_what_is_given_up_is_aborted_unless_it_is_closed(logged: Registry) -> None:
    """A finish that was kept and reported as failed is followed by giving up: it stays complete."""
    complete, is_open = logged.register(AUDIO, 24_000), logged.begin(NEW).generation_id
    for generation_id in (complete, is_open):
        logged.abandon(generation_id)
    assert logged.generation(complete).state == "complete"
    assert logged.generation(is_open).state == "aborted"


def test_a_begin_that_is_under_way_elsewhere_is_not_ended(logged: Registry) -> None:
    """Only what was reported as failed is in doubt."""
    with failing_commit(logged._database, 1, kept=True), pytest.raises(DatabaseUnavailable):
        logged.begin(NEW)
    made: list[Generation] = []
    threads = [threading.Thread(target=lambda: made.append(logged.begin(NEW))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert all(logged.generation(one.generation_id).state == "open" for one in made)


@KEPT
def test_the_end_that_was_kept_cannot_be_another_one(logged: Registry, kept: bool) -> None:
    """After a finish without an answer, an abort is refused by name when the finish was kept, and a finish
    that is repeated gives what was stored."""
    generation = logged.begin(NEW)
    recording = logged.recording(generation.generation_id)
    recording.push(AUDIO)
    with failing_commit(logged._database, 1, kept), pytest.raises(DatabaseUnavailable):
        recording.finish(FILE_SHA256)
    if kept:
        with pytest.raises(GenerationClosed, match="is complete"):
            recording.abort()
    done = recording.finish(FILE_SHA256)
    assert done == logged.generation(generation.generation_id)
    assert done.pcm_sha256 == hashlib.sha256(np.ascontiguousarray(AUDIO, "<f4").tobytes()).hexdigest()
    assert logged.log.wait(generation.generation_id).check_audio(b"", lambda: bytes.fromhex(done.pcm_sha256))
