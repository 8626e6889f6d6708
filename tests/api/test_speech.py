"""Our own speech on its way out: it is issued here, and who leaves early leaves an aborted row behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from api.service import Service
from api.settings import Settings
from api.speech import MarkedSpeech
from audio import SAMPLE_RATE_HZ
from generation import Speaker
from registry import DatabaseUnavailable, GenerationState, Recording
from tests.api.conftest import Server, flac
from tests.generation.tiny import write_tiny_voice

ROOT = Path(__file__).parents[2]
TEXT = "Hello there, how are you today? The quick brown fox jumps over the lazy dog while it rains."


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Speaker:
    return Speaker.load(write_tiny_voice(tmp_path_factory.mktemp("voices") / "tiny"))


def _begin(server: Server, speaker: Speaker) -> MarkedSpeech:
    return MarkedSpeech.begin(server.service, speaker, speaker.read(TEXT), seed=3)


def test_what_is_said_is_issued_here(server: Server, speaker: Speaker) -> None:
    speech = _begin(server, speaker)
    assert server.service.registry.generation(speech.generation.generation_id).state is GenerationState.OPEN
    wav_T = np.concatenate(list(speech))
    assert speech.duration_s == len(wav_T) / SAMPLE_RATE_HZ > 3
    row = server.service.registry.generation(speech.generation.generation_id)
    assert (row.state, row.system, row.model) == (GenerationState.COMPLETE, "earmark", "tiny")
    answer = server.service.detect(flac(wav_T))
    assert answer.verdict == "issued_here", answer.verdict_reason
    assert answer.generation is not None
    assert answer.generation.generation_id == speech.generation.generation_id
    speech.close()
    assert server.service.registry.generation(row.generation_id).state is GenerationState.COMPLETE


def test_who_leaves_early_leaves_an_aborted_row_that_is_still_found(server: Server, speaker: Speaker) -> None:
    speech = _begin(server, speaker)
    heard: list[np.ndarray] = []
    while speech.duration_s < 3:
        heard.append(next(speech))
    speech.close()
    speech.close()
    row = server.service.registry.generation(speech.generation.generation_id)
    assert row.state is GenerationState.ABORTED
    registry = server.service.registry
    match = registry.compare(row.generation_id, registry.prepare(np.concatenate(heard), SAMPLE_RATE_HZ))
    assert match.outcome == "found"
    with pytest.raises(StopIteration):
        next(speech)


def test_who_never_listens_leaves_an_aborted_row(server: Server, speaker: Speaker) -> None:
    speech = _begin(server, speaker)
    speech.close()
    row = server.service.registry.generation(speech.generation.generation_id)
    assert (row.state, row.duration_s) == (GenerationState.ABORTED, 0.0)


def test_a_database_that_goes_away_stops_the_speech(
    server: Server, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = _begin(server, speaker)
    next(speech)

    def away(*_: object) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(Recording, "push", away)
        with pytest.raises(DatabaseUnavailable):
            next(speech)
    speech.close()
    row = server.service.registry.generation(speech.generation.generation_id)
    assert row.state is GenerationState.ABORTED


KILLED = """
import os, signal, sys
from pathlib import Path
from api.cli import say
from api.cli.main import main
from audio import WavWriter

pushes, push = 0, WavWriter.push
def deadly(writer, wav_T):
    global pushes
    pushes += 1
    if pushes == 45:
        os.kill(os.getpid(), signal.SIGKILL)
    return push(writer, wav_T)
WavWriter.push = deadly
_, data, voice, text = sys.argv
main(["say", text, "--seed", "3", "--data-dir", data, "--model", voice, "-o", "-"])
"""


def test_killed_in_mid_speech_the_row_is_aborted_and_what_was_heard_is_found(
    database_url: str, tmp_path: Path
) -> None:
    """`earmark say` with standard output piped to a player, killed 3.5 s in."""
    voice = write_tiny_voice(tmp_path / "tiny")
    environment = os.environ | {"EARMARK_DATABASE_URL": database_url, "OMP_NUM_THREADS": "1"}
    data = tmp_path / "data"
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(data), str(voice), TEXT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=300,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    heard_T = np.frombuffer(ended.stdout[44:], "<i2").astype(np.float32) / 32768
    assert len(heard_T) > 3 * SAMPLE_RATE_HZ
    with Service.open(Settings(data_dir=data, database_url=database_url)) as service:
        [row] = service.registry.generations(limit=10)
        assert (row.state, row.model) == (GenerationState.ABORTED, "tiny")
        answer = service.detect(flac(heard_T))
        assert answer.verdict in ("issued_here", "issued_here_altered")
        assert answer.generation is not None
        assert answer.generation.generation_id == row.generation_id
