"""A recording against real PostgreSQL: chunking, refusals, kills between all steps, a server that dies."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from registry import changelog, generations
from registry.changelog import GenerationCodes
from registry.database import Database
from registry.errors import DatabaseUnavailable, GenerationClosed, RegistryInputError
from registry.owner import OwnerLock
from registry.postgres import EmbeddedServer
from registry.recording import Recording
from registry.records import Generation, NewGeneration
from registry.replica import Replica
from registry.tables import GenerationState
from tests.conftest import stop_at_once
from tests.registry.killed_writer import NUM_SAMPLES
from tests.registry.plain import (
    HOP_SAMPLES,
    WINDOW_SAMPLES,
    PlainFingerprinter,
    num_windows,
    speech,
    window_code,
)

NEW = NewGeneration("test", "1", "none", 24_000)


def start(database: Database, owner: OwnerLock) -> Recording:
    owner.hold()
    with database.transaction() as connection:
        model = generations.ensure_model(connection, "ef" * 32, "1")
        generation = generations.begin(connection, NEW, owner.number)
    return Recording(database, owner, PlainFingerprinter(), model, generation.generation_id)


def stored(database: Database) -> list[tuple[Generation, GenerationCodes | None]]:
    """Every generation, oldest first, with its windows."""
    with database.transaction() as connection:
        rows = generations.newest(connection, 1000)[::-1]
        ordinals = {c.generation_ordinal for c in changelog.read(connection, 0, 100_000)}
        by_id = {codes.generation_id: codes for codes in changelog.fetch_codes(connection, ordinals).values()}
    return [(row, by_id.get(row.generation_id)) for row in rows]


@pytest.mark.parametrize("chunk_samples", [1_920, 7_777, 24_000, 100_000])
def test_any_chunking_stores_the_same_windows(database: Database, chunk_samples: int) -> None:
    samples = speech(100_000)
    recording = start(database, OwnerLock(database))
    for first in range(0, len(samples), chunk_samples):
        recording.push(samples[first : first + chunk_samples])
        recording.push(samples[:0])
    generation = recording.finish()
    ((_, codes),) = stored(database)
    assert codes is not None
    assert generation.duration_s == pytest.approx(100_000 / 24_000)
    assert generation.pcm_sha256 == hashlib.sha256(samples.astype("<f4").tobytes()).hexdigest()
    expected = [window_code(samples, number) for number in range(num_windows(100_000) + 1)]
    assert np.array_equal(codes.codes_ND, np.stack(expected))


def test_a_window_is_durable_one_second_after_its_last_sample(database: Database) -> None:
    samples = speech(240_000)
    recording = start(database, OwnerLock(database))
    for first in range(0, len(samples), 1_920):
        recording.push(samples[first : first + 1_920])
        num_released = first + 1_920
        with database.transaction() as connection:
            num_durable = sum(len(change.codes_ND) for change in changelog.read(connection, 0))
        assert num_durable >= num_windows(num_released - 24_000)


def test_what_was_released_before_an_abort_is_stored_to_its_end(database: Database) -> None:
    samples = speech(30_000)
    recording = start(database, OwnerLock(database))
    recording.push(samples)
    assert recording.abort().state is GenerationState.ABORTED
    ((generation, codes),) = stored(database)
    assert codes is not None
    assert np.array_equal(codes.codes_ND, np.stack([window_code(samples, 0), window_code(samples, 1)]))
    assert generation.duration_s == pytest.approx(1.25)


def test_a_recording_without_audio_can_be_finished(database: Database) -> None:
    generation = start(database, OwnerLock(database)).finish()
    assert (generation.state, generation.duration_s) == (GenerationState.COMPLETE, 0.0)


def test_a_closed_recording_takes_nothing_more(database: Database) -> None:
    for close in (Recording.finish, Recording.abort):
        recording = start(database, OwnerLock(database))
        close(recording)
        for call in (lambda: recording.push(speech(10)), recording.finish, recording.abort):  # noqa: B023
            with pytest.raises(GenerationClosed):
                call()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 100), dtype=np.float32),
        np.zeros(100, dtype=np.int16),
        np.array([0.0, np.nan], dtype=np.float32),
        np.array([np.inf], dtype=np.float32),
    ],
)
def test_a_refused_chunk_changes_nothing(database: Database, wrong: np.ndarray) -> None:
    samples = speech(50_000)
    recording = start(database, OwnerLock(database))
    recording.push(samples[:20_000])
    with pytest.raises(RegistryInputError):
        recording.push(wrong)
    recording.push(samples[20_000:])
    generation = recording.finish()
    assert generation.pcm_sha256 == hashlib.sha256(samples.tobytes()).hexdigest()


def test_interleaved_recordings_do_not_leak(database: Database) -> None:
    owner = OwnerLock(database)
    one, two = start(database, owner), start(database, owner)
    audio = {one.generation_id: speech(60_000, 1), two.generation_id: speech(60_000, 2)}
    for first in range(0, 60_000, 10_000):
        for recording in (one, two):
            recording.push(audio[recording.generation_id][first : first + 10_000])
    one.finish()
    two.finish()
    for generation, codes in stored(database):
        assert codes is not None
        assert np.array_equal(codes.codes_ND[3], window_code(audio[generation.generation_id], 3))


def test_a_kill_between_any_two_steps_loses_nothing_that_was_acknowledged(database: Database) -> None:
    """Kill -9 before each statement and each commit of a whole generation."""
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.registry.killed_writer", url]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=300)
    attempts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(attempts) > 20, "the writer has fewer steps than it must have"
    assert not [attempt for attempt in attempts if attempt["failed"]], done.stderr
    assert [attempt["complete"] for attempt in attempts].index(True) <= len(attempts) - 1
    assert attempts[-1]["complete"]

    recovering = OwnerLock(database)
    recovering.hold()
    with database.transaction() as connection:
        generations.recover(connection, recovering.number)
    found = {row.metadata["kill_before"]: (row, codes) for row, codes in stored(database)}
    assert len(found) == len(stored(database)), "an attempt has left two generations"

    for attempt in attempts:
        if attempt["begun"] is not None:
            assert attempt["kill_before"] in found, "an acknowledged generation is lost"
    for kill_before, (row, codes) in found.items():
        attempt = attempts[kill_before - 1]
        samples = speech(NUM_SAMPLES, seed=kill_before)
        assert row.state in (GenerationState.COMPLETE, GenerationState.ABORTED)
        assert row.state is GenerationState.COMPLETE or not attempt["complete"]
        num_stored = 0 if codes is None else len(codes.codes_ND)
        assert num_stored >= num_windows(attempt["pushed"] - 24_000), "released audio is not searchable"
        for number in range(num_stored):
            assert codes is not None
            assert np.array_equal(codes.codes_ND[number], window_code(samples, number))
        if row.state is GenerationState.COMPLETE:
            assert num_stored == num_windows(NUM_SAMPLES) + 1
    recovering.release()

    replica = Replica(database, "ef" * 32, None)
    num_windows_stored = sum(0 if codes is None else len(codes.codes_ND) for _, codes in found.values())
    assert replica.status().num_windows == num_windows_stored, "replay lost or doubled a window"
    assert replica.rebuild() == replica.status()
    assert replica.status().num_windows == num_windows_stored
    assert replica.check().passed


def test_a_server_that_dies_and_returns_costs_a_recording_nothing(data_dir: Path) -> None:
    """`pg_ctl stop -m immediate` under an open recording, then a restart."""
    samples = speech(200_000)
    with EmbeddedServer.attach(data_dir) as server:
        database = Database(server.url())
        database.prepare()
        owner = OwnerLock(database)
        recording = start(database, owner)
        recording.push(samples[:100_000])
        stop_at_once(server.cluster)
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            recording.push(samples[100_000:150_000])
        with pytest.raises(DatabaseUnavailable):
            recording.push(samples[150_000:175_000])
        with EmbeddedServer.attach(data_dir):
            recording.push(samples[175_000:])
            generation = recording.finish()
            ((row, codes),) = stored(database)
        owner.release()
        database.close()
    assert row == generation
    assert row.state is GenerationState.COMPLETE
    assert row.pcm_sha256 == hashlib.sha256(samples.tobytes()).hexdigest()
    assert codes is not None
    num_expected = -(-(200_000 - WINDOW_SAMPLES) // HOP_SAMPLES) + 1
    assert np.array_equal(codes.codes_ND, np.stack([window_code(samples, n) for n in range(num_expected)]))
