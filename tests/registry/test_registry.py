"""The facade, with the real network, index and server: register, look up, follow other processes, restart."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from audio import decode
from registry import (
    DatabaseUnavailable,
    GenerationState,
    NewGeneration,
    Registry,
    RegistryInputError,
    UnknownGeneration,
)
from registry.database import Database
from registry.fingerprint.network import FingerprintNetwork
from registry.fingerprint.subprints import Directions
from registry.fingerprint.windows import Fingerprinter
from registry.generations import uuid7
from registry.index import WindowIndex
from registry.postgres import EmbeddedServer
from registry.postgres.server import exclusive
from tests.conftest import stop_at_once
from tests.registry.plain import speech
from tests.registry.test_changelog import age_changelog

NEW = NewGeneration("test", "1", "none", 24_000)
ROOT = Path(__file__).parents[2]

REGISTER = """
import sys
from registry import Registry
from tests.registry.plain import speech
with Registry.open(sys.argv[1]) as registry:
    for line in sys.stdin:
        print(registry.register(speech(96_000, seed=int(line)), 24_000), flush=True)
"""

BEGIN_AND_DIE = """
import os, signal, sys
from registry import NewGeneration, Registry
registry = Registry.open(sys.argv[1])
print(registry.begin(NewGeneration("test", "1", "none", 24_000)).generation_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def index_rows(registry: Registry) -> list[tuple[int, int]]:
    """Every (generation, window) the index holds, sorted; a doubled row shows."""
    ordinals_N, windows_N = registry.index.search(lambda index: index.places())
    return sorted(zip(ordinals_N.tolist(), windows_N.tolist(), strict=True))


def test_what_was_registered_can_be_looked_up(registry: Registry) -> None:
    metadata = {"system": "moshi", "system_version": "2", "model": "mini", "voice": "amelia"}
    generation_id = registry.register(speech(120_000), 24_000, metadata)
    generation = registry.generation(generation_id)
    assert generation.state is GenerationState.COMPLETE
    assert (generation.system, generation.system_version, generation.model) == ("moshi", "2", "mini")
    assert generation.metadata == {"voice": "amelia"}
    assert generation.duration_s == 5.0
    assert registry.generation_by_content_id(generation.content_id) == generation
    assert registry.generations(10) == [generation]
    status = registry.index.status()
    registry.index.catch_up()
    assert registry.index.status().num_windows == (120_000 - 24_000) // 11_520 + 1
    assert not status.is_current


@pytest.mark.parametrize(
    ("shape", "rate_hz"), [((2, 96_000), 48_000), ((16_000,), 8_000), ((3, 44_100), 44_100)]
)
def test_other_rates_and_channels_are_registered_as_24_khz_mono(
    registry: Registry, shape: tuple[int, ...], rate_hz: int
) -> None:
    wav = speech(int(np.prod(shape))).reshape(shape)
    generation = registry.generation(registry.register(wav, rate_hz))
    assert generation.duration_s == pytest.approx(shape[-1] / rate_hz, abs=1e-3)
    assert generation.sample_rate_hz == rate_hz


@pytest.mark.parametrize(
    ("wav", "rate_hz"),
    [
        (np.zeros(100, dtype=np.int16), 24_000),
        (np.full(100, np.nan, dtype=np.float32), 24_000),
        (np.full(24_000, 1e18, dtype=np.float32), 24_000),
        (np.zeros((2, 3, 4), dtype=np.float32), 24_000),
        (np.zeros(100, dtype=np.float32), 8),
        (np.zeros(100, dtype=np.float32), 768_001),
    ],
)
def test_audio_that_cannot_be_used_is_refused_before_anything_is_written(
    registry: Registry, wav: np.ndarray, rate_hz: int
) -> None:
    with pytest.raises(RegistryInputError):
        registry.register(wav, rate_hz)
    with pytest.raises(RegistryInputError):
        registry.match(wav, rate_hz)
    assert registry.generations(10) == []


def test_a_generation_nobody_begun_is_unknown(registry: Registry) -> None:
    for call in (
        registry.generation,
        registry.recording,
        lambda i: registry.compare(i, registry.prepare(speech(48_000), 24_000)),
    ):
        with pytest.raises(UnknownGeneration):
            call(uuid7())
    assert registry.generation_by_content_id(7) is None


def test_a_match_finds_what_another_process_has_just_acknowledged(database_url: str) -> None:
    """Read your writes: no waiting, no refresh, whichever process answers."""
    clip = decode(ROOT / "tests/assets/amelia.flac").wav_T
    with Registry.open(database_url) as writing, Registry.open(database_url) as reading:
        assert reading.match(clip, 24_000).outcome == "not_found"
        recording = writing.recording(writing.begin(NEW).generation_id)
        recording.push(clip)  # open still: what is being released can be found already
        part = reading.prepare(clip[36_000:132_000], 24_000)
        result = reading.search(part)
        assert result.outcome == "found"
        assert result.matches[0].generation_id == recording.generation_id
        assert result.matches[0].offset_s == pytest.approx(1.5, abs=0.25)
        assert reading.compare(recording.generation_id, part).outcome == "found"
        silent = writing.begin(NEW).generation_id
        assert reading.compare(silent, part).outcome == "not_found"


def test_what_another_version_of_the_fingerprint_registered_is_not_denied(database_url: str) -> None:
    """After an upgrade the old windows say nothing: neither "not found" nor "not this one"."""
    clip = decode(ROOT / "tests/assets/amelia.flac").wav_T
    with Registry.open(database_url) as before:
        before._fingerprinter = Fingerprinter(FingerprintNetwork(), Directions(), "0", "ab" * 32)
        old = before.register(clip, 24_000)
    with Registry.open(database_url) as registry:
        query = registry.prepare(clip, 24_000)
        searched, compared = registry.search(query), registry.compare(old, query)
        assert (searched.outcome, compared.outcome) == ("inconclusive", "inconclusive")
        assert searched.num_windows_indexed == 0
        assert searched.reason is not None and "another version" in searched.reason
        assert compared.reason is not None and "another version" in compared.reason
        assert registry.index.status().num_foreign > 0
        new = registry.register(clip, 24_000)
        assert registry.search(query).matches[0].generation_id == new
        assert registry.index.check().passed


def test_a_rebuilt_index_equals_the_replayed_one(registry: Registry) -> None:
    for seed in range(4):
        registry.register(speech(60_000 + 20_000 * seed, seed), 24_000)
    recording = registry.recording(registry.begin(NEW).generation_id)
    recording.push(speech(100_000, 9))
    recording.abort()
    replayed = index_rows(registry)
    assert len(set(replayed)) == len(replayed)
    registry.index.rebuild()
    assert index_rows(registry) == replayed
    check = registry.index.check()
    assert check.passed
    assert check.num_self_queries > 10


def test_two_processes_on_one_data_folder_see_each_others_generations(data_dir: Path) -> None:
    """And the last one out stops the server."""
    with Registry.open(data_dir) as registry:
        command = [sys.executable, "-c", REGISTER, str(data_dir)]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdin is not None
            assert other.stdout is not None
            for seed in (1, 2):
                other.stdin.write(f"{seed}\n")
                other.stdin.flush()
                theirs = uuid.UUID(other.stdout.readline().strip())
                assert registry.generation(theirs).state is GenerationState.COMPLETE
                before = len(index_rows(registry))
                ours = registry.register(speech(96_000, 10 + seed), 24_000)
                assert len(index_rows(registry)) > before
                assert [row.generation_id for row in registry.generations(2)] == [ours, theirs]
            other.stdin.close()
            assert other.wait() == 0
        assert len({ordinal for ordinal, _ in index_rows(registry)}) == 4


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that half a minute of speech is sealed and merged as hours are."""
    monkeypatch.setattr(WindowIndex.__init__, "__defaults__", (None, 64, None))


def test_what_was_sealed_is_taken_up_and_what_came_later_is_replayed(
    database_url: str, tmp_path: Path, small_segments: None
) -> None:
    """Also where files are damaged: then everything is read again."""
    with Registry.open(database_url, index_dir=tmp_path) as registry:
        for seed in range(12):
            registry.register(speech(96_000, seed), 24_000)
            registry.index.catch_up()
        complete = index_rows(registry)
        status = registry.index.status()
        assert 0 < status.saved_position < status.position
    (folder,) = tmp_path.iterdir()
    for damage in (None, "*.segment", "manifest.json"):
        for path in folder.glob(damage) if damage else ():
            path.write_bytes(b"{")
        with Registry.open(database_url, index_dir=tmp_path) as registry:
            assert registry.index.status().is_current
            assert index_rows(registry) == complete
            assert registry.index.check().passed


def test_an_index_of_another_registry_is_never_taken(
    database_url: str, tmp_path: Path, small_segments: None
) -> None:
    """One index folder, two databases: their positions mean different windows."""
    with Registry.open(database_url, index_dir=tmp_path) as registry:
        registry.register(speech(960_000, 1), 24_000)
    database = Database(database_url)
    with database.transaction() as connection:
        connection.execute(text("UPDATE registry_identity SET registry_id = gen_random_uuid()"))
    database.close()
    with Registry.open(database_url, index_dir=tmp_path) as registry:
        assert len(index_rows(registry)) == 82
    assert len(list(tmp_path.iterdir())) == 2


def test_an_index_ahead_of_a_restored_database_is_not_taken(
    database_url: str, tmp_path: Path, small_segments: None
) -> None:
    with Registry.open(database_url, index_dir=tmp_path) as registry:
        for seed in range(2):
            registry.register(speech(960_000, seed), 24_000)
            registry.index.catch_up()
        assert registry.index.status().saved_position == 2
    database = Database(database_url)
    with database.transaction() as connection:
        for table in ("fingerprint_changelog", "fingerprint_changelog_0", "fingerprint"):
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        connection.execute(text("DELETE FROM fingerprint_changelog WHERE position = 2"))
        connection.execute(text("DELETE FROM fingerprint WHERE generation_ordinal = 2"))
    database.close()
    with Registry.open(database_url, index_dir=tmp_path) as registry:
        assert {ordinal for ordinal, _ in index_rows(registry)} == {1}


def test_an_index_that_fell_behind_the_changelog_is_read_from_the_table(
    database_url: str, tmp_path: Path, small_segments: None
) -> None:
    """A server that was away for longer than changes are kept must not miss what came in between."""
    with Registry.open(database_url, index_dir=tmp_path) as away:
        away.register(speech(960_000, 1), 24_000)
        away.index.catch_up()
        with Registry.open(database_url) as registry:
            registry.register(speech(96_000, 2), 24_000)
            with registry._database.transaction() as connection:
                connection.execute(text(f"SELECT setval('fingerprint_changelog_position', {1 << 20} - 1)"))
            registry.register(speech(96_000, 3), 24_000)
            age_changelog(registry._database, "61 days")
            assert registry.purge().num_changelog_partitions == 1
            expected = index_rows(registry)
        assert index_rows(away) == expected
        assert away.index.check().passed


def test_the_check_names_what_is_missing_and_what_is_there_twice(registry: Registry) -> None:
    """A count alone would not see one window lost and one doubled."""
    registry.register(speech(96_000, 1), 24_000)
    registry.index.search(lambda index: index._hot.add([index._hot.entries[0]]))
    check = registry.index.check()
    assert (check.num_missing, check.num_unexpected, check.passed) == (0, 7, False)
    registry.index.rebuild()
    assert registry.index.check().passed
    registry.index.search(lambda index: setattr(index, "_hot", type(index._hot)()))
    assert registry.index.check().num_missing == 7


def test_opening_aborts_what_a_killed_process_left_open(data_dir: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", BEGIN_AND_DIE, str(data_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with Registry.open(data_dir) as registry:
        generation = registry.generation(uuid.UUID(killed.stdout.strip()))
        assert generation.state is GenerationState.ABORTED
        own = registry.begin(NEW)
        assert registry.recover() == 0
        assert registry.generation(own.generation_id).state is GenerationState.OPEN


def test_many_threads_may_use_one_registry(registry: Registry) -> None:
    errors: list[Exception] = []

    def work(seed: int) -> None:
        try:
            generation_id = registry.register(speech(48_000, seed), 24_000)
            registry.index.catch_up()
            assert registry.generation(generation_id).state is GenerationState.COMPLETE
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(registry.generations(100)) == 16
    rows = index_rows(registry)
    assert len(rows) == len(set(rows)) == 16 * 3


def test_a_killed_server_comes_back_under_an_open_registry(data_dir: Path) -> None:
    """Nobody runs a command on the folder: who asks first hears that it is away, and starts it by that."""
    with Registry.open(data_dir) as registry:
        before = registry.register(speech(96_000, 1), 24_000)
        pid = (data_dir / "postgres/cluster/postmaster.pid").read_text().split()[0]
        os.kill(int(pid), signal.SIGKILL)
        with pytest.raises(DatabaseUnavailable):
            registry.count_generations()
        deadline_s = time.monotonic() + 60.0
        while True:
            try:
                after = registry.register(speech(96_000, 2), 24_000)
                break
            except DatabaseUnavailable:
                assert time.monotonic() < deadline_s
                time.sleep(0.1)
        for name, seed in ((before, 1), (after, 2)):
            found = registry.match(speech(96_000, seed), 24_000)
            assert found.matches[0].generation_id == name


def test_a_server_that_is_stopped_at_once_loses_nothing_and_is_used_again(data_dir: Path) -> None:
    """`pg_ctl stop -m immediate` under an open registry, then a restart."""
    with Registry.open(data_dir) as registry:
        before = registry.register(speech(96_000, 1), 24_000)
        left_open = registry.begin(NEW).generation_id
        assert registry._server is not None
        stop_at_once(registry._server.cluster)
        with exclusive(data_dir / "start.lock"):  # or it would be back before the third call
            for call in (
                lambda: registry.generations(1),
                lambda: registry.begin(NEW),
                registry.index.catch_up,
            ):
                with pytest.raises(DatabaseUnavailable, match="does not answer"):
                    call()
        with EmbeddedServer.attach(data_dir):
            assert registry.generation(before).state is GenerationState.COMPLETE
            recording = registry.recording(left_open)
            recording.push(speech(48_000))
            assert recording.finish().state is GenerationState.COMPLETE
            after = registry.register(speech(96_000, 2), 24_000)
            found = {row.generation_id for row in registry.generations(10)}
            assert found == {before, left_open, after}
            assert len({ordinal for ordinal, _ in index_rows(registry)}) == 3


def test_a_registry_whose_server_is_gone_can_still_be_closed(data_dir: Path) -> None:
    """Else the error of the outage is replaced by one of the clean-up."""
    with pytest.raises(DatabaseUnavailable), Registry.open(data_dir) as registry:
        registry.begin(NEW)
        assert registry._server is not None
        stop_at_once(registry._server.cluster)
        registry.generations(1)
    with Registry.open(data_dir) as registry:
        assert registry.generations(1)[0].state is GenerationState.ABORTED


MATCH = """
import sys
from pathlib import Path
from audio import decode
from registry import Registry
with Registry.open(sys.argv[1]) as registry:
    prepared = registry.prepare(decode(Path(sys.argv[2])).wav_T[36_000:132_000], 24_000)
    print("ready", flush=True)
    for line in sys.stdin:
        print(*(match.generation_id for match in registry.search(prepared).matches), flush=True)
"""


def test_another_process_finds_a_generation_within_two_seconds(database_url: str) -> None:
    """Two servers on one database, and whichever is asked must know what the other has issued."""
    path = ROOT / "tests/assets/amelia.flac"
    clip = decode(path).wav_T
    command = [sys.executable, "-c", MATCH, database_url, str(path)]
    with (
        Registry.open(database_url) as registry,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        assert other.stdin is not None
        assert other.stdout is not None

        def ask() -> str:
            assert other.stdin is not None
            assert other.stdout is not None
            other.stdin.write("?\n")
            other.stdin.flush()
            return other.stdout.readline().strip()

        assert other.stdout.readline() == "ready\n"
        assert ask() == ""
        generation_id = registry.register(clip, 24_000)
        acknowledged_s = time.monotonic()
        assert ask() == str(generation_id)
        assert time.monotonic() - acknowledged_s < 2.0
        other.stdin.close()
        assert other.wait() == 0
