"""Marking: formats stay, origins are checked, and a crash anywhere loses nothing that was released."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from api.errors import OriginError
from api.marking import Origin, _encode
from api.service import Service
from api.settings import Settings
from audio import (
    DecodeError,
    DecodeFailure,
    EncodeError,
    NativeAudio,
    SourceInfo,
    decode,
    decode_native,
    encode,
)
from registry import GenerationFilter, GenerationState
from tests.api.conftest import Server, recording
from tests.api.kill_marking import STEPS

ROOT = Path(__file__).parents[2]


def test_killed_at_every_step_nothing_released_is_lost(database_url: str, tmp_path: Path) -> None:
    """A file that left without its row could later be denied: "not ours"."""
    key_holder = Service.open(Settings(data_dir=tmp_path, database_url=database_url))  # makes the key
    key_holder.close()
    environment = os.environ | {"EARMARK_DATABASE_URL": database_url, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.api.kill_marking", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    expected = [f"{step}: {-signal.SIGKILL}" for step in STEPS]
    assert ended.stdout.splitlines() == expected, ended.stderr
    with Service.open(Settings(data_dir=tmp_path, database_url=database_url)) as service:
        states = {one.system: one.state for one in service.registry.generations(limit=100)}
        aborted, complete = GenerationState.ABORTED, GenerationState.COMPLETE
        assert states == {
            "after begin": aborted,
            "after mark": aborted,
            "after fingerprints": aborted,
            "after encode": aborted,
            "after finish": complete,
            "after log": complete,
            "after release": complete,
        }
        released = [step for step in STEPS if (tmp_path / step).exists()]
        assert released == ["after release"]
        answer = service.detect((tmp_path / "after release").read_bytes())
        assert answer.verdict == "issued_here"
        assert answer.generation is not None
        assert answer.generation.system == "after release"
        # What was fingerprinted before the crash is searchable, aborted or not.
        found = {
            service.registry.generation(match.generation_id).system
            for match in service.registry.match(decode(recording("amelia")).wav_T, 24_000).matches
        }
        assert found == {"after fingerprints", "after encode", "after finish", "after log", "after release"}
        assert service.registry.check_log() == [], "a generation without its entries, or the reverse"


def test_an_error_after_begin_aborts_the_generation_and_releases_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise EncodeError("no room")

    monkeypatch.setattr("api.marking.encode", fail)
    with pytest.raises(EncodeError):
        server.service.mark_file(recording("eltocino"), Origin(system="fails"))
    (newest,) = server.service.registry.generations(limit=1)
    assert (newest.system, newest.state) == ("fails", GenerationState.ABORTED)


def test_rate_channels_and_stereo_image_stay(server: Server) -> None:
    """The mark is added to each channel; what differs between them is untouched."""
    rng = np.random.default_rng(0)
    mono_T = decode(recording("eltocino")).wav_T[: 4 * 24_000]
    left_T = np.repeat(mono_T, 2)  # 48 kHz by repetition: energy far above 12 kHz, which must survive
    right_T = 0.5 * left_T + 0.001 * rng.standard_normal(len(left_T)).astype(np.float32)
    original = encode(np.stack([left_T, right_T]), 48_000, "wav", codec="pcm_f32le")
    marked = decode_native(server.service.mark_file(original).data)
    before = decode_native(original)
    assert marked.source.sample_rate_hz == 48_000
    assert marked.source.codec == "pcm_f32le"
    assert marked.wav_CT.shape == before.wav_CT.shape
    mark_CT = marked.wav_CT - before.wav_CT
    np.testing.assert_allclose(mark_CT[0], mark_CT[1], atol=1e-6)
    assert 15 < 10 * np.log10(np.square(before.wav_CT[0]).sum() / np.square(mark_CT[0]).sum()) < 40


def test_channels_that_cancel_in_mono_are_refused_and_nothing_is_registered(server: Server) -> None:
    """They left with neither mark nor fingerprint, and were said to be marked."""
    wav_T = decode(recording("eltocino")).wav_T
    before = server.service.registry.count_generations(GenerationFilter())
    with pytest.raises(DecodeError, match="polarity") as refused:
        server.service.mark_file(encode(np.stack([wav_T, -wav_T]), 24_000, "wav"))
    assert refused.value.reason is DecodeFailure.UNSUPPORTED_LAYOUT
    assert server.service.registry.count_generations(GenerationFilter()) == before
    one_side = encode(np.stack([wav_T, np.zeros_like(wav_T)]), 24_000, "wav")
    assert server.service.detect(server.service.mark_file(one_side).data).verdict == "issued_here"


@pytest.mark.parametrize("text", ["", "x" * 101, "a\nb", "<script>", "a\x00", "user@example.com?", "é\u202e"])
def test_an_origin_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(OriginError):
        Origin(system=text)


def test_an_origin_is_what_the_registry_then_says(server: Server) -> None:
    marked = server.service.mark_file(recording("eltocino"), Origin("Acme TTS", "2.1.0+cpu", "voice/en@1a2b"))
    record = server.service.generation(marked.generation.generation_id)
    assert (record.system, record.system_version, record.model) == ("Acme TTS", "2.1.0+cpu", "voice/en@1a2b")
    assert record.state is GenerationState.COMPLETE
    assert record.content_id == marked.content_id_hex


@pytest.mark.parametrize("container", ["wav", "mp3", "ogg", "m4a"])
def test_another_container_is_written_when_asked_for(server: Server, container: str) -> None:
    """`earmark mark in.flac -o out.mp3` must not leave FLAC behind that name."""
    marked = server.service.mark_file(recording("eltocino"), container=container)
    assert marked.container == container
    assert decode(marked.data).source.container == container


def test_a_container_that_cannot_be_written_becomes_wav() -> None:
    source = SourceInfo("aiff", "pcm_s16be", 24_000, 1, 1.0, 384_000)
    data, container = _encode(NativeAudio(np.zeros((1, 24_000), np.float32), source))
    assert container == "wav"
    assert decode(data).source.container == "wav"
