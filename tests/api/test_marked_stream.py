"""Live marking: the stream is the file, sample for sample, and a crash anywhere loses nothing released."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from api.marked_stream import MarkedStream
from api.service import Service
from api.settings import Settings
from audio import SAMPLE_RATE_HZ, decode
from registry import DatabaseUnavailable, GenerationClosed, GenerationState, Recording
from tests.api.conftest import Server, flac, recording
from tests.api.kill_stream import STEPS
from watermark import SignalError

ROOT = Path(__file__).parents[2]

MAX_UNREGISTERED_S = 1.0 + 0.08 + 0.02
"""The design's second, the push in which it ends, and what the embedder still held."""


def spoken(name: str = "kerstin_1") -> NDArray[np.float32]:
    return decode(recording(name)).wav_T


def said(stream: MarkedStream, wav_T: NDArray[np.float32], chunk: int) -> NDArray[np.float32]:
    pieces = [stream.push(wav_T[at : at + chunk]) for at in range(0, len(wav_T), chunk)]
    return np.concatenate([*pieces, stream.finish()])


def test_killed_at_every_step_nothing_released_is_lost(database_url: str, tmp_path: Path) -> None:
    """A conversation that broke off must be as recognisable as one that ended."""
    Service.open(Settings(data_dir=tmp_path, database_url=database_url)).close()  # makes the key
    environment = os.environ | {"EARMARK_DATABASE_URL": database_url, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.api.kill_stream", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180)
    assert ended.stdout.splitlines() == [f"{step}: {-signal.SIGKILL}" for step in STEPS], ended.stderr
    with Service.open(Settings(data_dir=tmp_path, database_url=database_url)) as service:
        rows = {one.model: one for one in service.registry.generations(limit=100)}
        assert rows.keys() == STEPS.keys()
        for step in STEPS:
            released_T = np.frombuffer((tmp_path / step).read_bytes(), np.float32)
            released_s = len(released_T) / SAMPLE_RATE_HZ
            row = rows[step]
            ended_well = step in ("after finish", "after release")
            assert row.state is (GenerationState.COMPLETE if ended_well else GenerationState.ABORTED), step
            if step in ("after begin", "after the log"):
                assert released_s == 0
                continue
            assert released_s > 2
            assert row.duration_s > released_s - MAX_UNREGISTERED_S, step
            answer = service.detect(flac(released_T))
            # Of a crash the last second may be missing, which of 3 s is more than an edge.
            assert answer.verdict in (
                ["issued_here"] if ended_well else ["issued_here", "issued_here_altered"]
            )
            assert answer.generation is not None and answer.generation.model == step
        assert len((tmp_path / "after release").read_bytes()) == 4 * len(spoken("amelia"))


def test_a_stream_is_the_file_and_the_row_is_its_hash(server: Server) -> None:
    """Streaming equals offline, and the registry describes exactly what was returned."""
    wav_T = spoken()
    stream = server.service.open_stream("tests")
    payload = stream.generation.content_id
    released_T = said(stream, wav_T, 1920)
    offline_T = server.service.embedder.mark(wav_T, SAMPLE_RATE_HZ, payload=payload)
    np.testing.assert_allclose(released_T, offline_T, atol=1e-5)
    row = server.service.registry.generation(stream.generation_id)
    assert (row.state, row.system, row.model) == (GenerationState.COMPLETE, "earmark", "tests")
    assert row.pcm_sha256 == hashlib.sha256(released_T.tobytes()).hexdigest()
    assert dict(row.metadata) == {}
    assert stream.num_released_samples == len(wav_T)


@pytest.mark.parametrize("chunk", [1, 997, 50_000])
def test_any_chunking_releases_the_same_samples(server: Server, chunk: int) -> None:
    wav_T = spoken()[: 3_000 if chunk == 1 else 50_000]
    stream = server.service.open_stream("tests")
    stream.push(wav_T[:0])
    whole_T = server.service.embedder.mark(wav_T, SAMPLE_RATE_HZ, payload=stream.generation.content_id)
    np.testing.assert_allclose(said(stream, wav_T, chunk), whole_T, atol=1e-5)


def test_a_push_is_late_by_no_more_than_the_latency(server: Server) -> None:
    stream, num_in = server.service.open_stream("tests"), 0
    for size in (1, 119, 1920, 1919, 500):
        num_in += size
        stream.push(np.zeros(size, np.float32))
        assert num_in - stream.num_released_samples <= stream.latency_samples
    held = num_in - stream.num_released_samples
    assert len(stream.finish()) == held > 0


def test_a_push_that_fails_releases_nothing_and_can_only_be_aborted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = server.service.open_stream("tests")
    released = stream.push(spoken()[:48_000])
    with pytest.raises(SignalError):
        stream.push(np.full(1920, np.nan, np.float32))

    def away(*_: object) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(Recording, "push", away)
    with pytest.raises(DatabaseUnavailable):
        stream.push(np.zeros(1920, np.float32))
    assert stream.num_released_samples == len(released)
    monkeypatch.undo()
    stream.abort()
    row = server.service.registry.generation(stream.generation_id)
    assert row.state is GenerationState.ABORTED
    registry = server.service.registry
    match = registry.compare(stream.generation_id, registry.prepare(released, SAMPLE_RATE_HZ))
    assert match.outcome == "found"
    with pytest.raises(GenerationClosed):
        stream.finish()


def test_streams_side_by_side_do_not_leak_into_each_other(server: Server) -> None:
    wav_T = spoken()[:48_000]
    first, second = server.service.open_stream("tests"), server.service.open_stream("tests")
    pieces: list[NDArray[np.float32]] = []
    for at in range(0, len(wav_T), 1920):
        pieces.append(first.push(wav_T[at : at + 1920]))
        second.push(-wav_T[at : at + 1920])
    second.finish()
    alone_T = server.service.embedder.mark(wav_T, SAMPLE_RATE_HZ, payload=first.generation.content_id)
    np.testing.assert_allclose(np.concatenate([*pieces, first.finish()]), alone_T, atol=1e-5)
