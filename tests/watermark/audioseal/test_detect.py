"""The detector's rules around the network: windows, probabilities, messages, words.

The network here is a hand-made one that hears a tone: the tests need an answer that is known beforehand.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.watermark.audioseal.conftest import ANY_NULL, TINY, made_weights
from watermark import Outcome, SignalError
from watermark.audioseal import detect
from watermark.audioseal.config import HOP_SAMPLES
from watermark.audioseal.detect import PublicDetector
from watermark.audioseal.null import Null

Floats = NDArray[np.float32]
MESSAGE = 0b1010_0000_1111_0011
RATE = 24_000


def _hears_a_tone(_: object, wav_BT: Tensor) -> Tensor:
    """Log-odds 10 where a frame's sixteenth bin (1200 Hz) holds a tenth of its power, else -1."""
    frames_BFS = wav_BT.unflatten(1, (-1, HOP_SAMPLES))
    power_BFK = torch.fft.rfft(frames_BFS).abs().square()
    share_BF = power_BFK[..., 16] / power_BFK.sum(dim=2).clamp(min=1e-9)
    marked_BF = torch.where(share_BF > 0.1, 10.0, -1.0)
    bits_M = torch.tensor([1.0 if MESSAGE >> (15 - i) & 1 else -1.0 for i in range(16)])
    unmarked_BF = torch.zeros_like(marked_BF)
    return torch.cat([unmarked_BF[:, None], marked_BF[:, None], bits_M[:, None] * marked_BF[:, None]], dim=1)


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublicDetector:
    """A null under which log-odds of 10 are less than 1e-6, and of -1 nothing at all."""
    monkeypatch.setattr(detect, "frame_logits", _hears_a_tone)
    null = replace(ANY_NULL, quantiles=tuple(1.0 - 0.2 * i for i in range(19)), spread=0.5)
    return PublicDetector(made_weights(tmp_path, TINY, null))


def _noise(seconds: float, level: float = 0.05) -> Floats:
    return (np.random.default_rng(1).standard_normal(int(seconds * RATE)) * level).astype(np.float32)


def _with_tone(wav_T: Floats, start_s: float, end_s: float) -> Floats:
    marked_T = wav_T.copy()
    span = slice(int(start_s * RATE), int(end_s * RATE))
    marked_T[span] += 0.1 * np.sin(2 * np.pi * 1200 * np.arange(len(wav_T)) / RATE)[span].astype(np.float32)
    return marked_T


def test_a_marked_recording_is_found_with_its_message(detector: PublicDetector) -> None:
    found = detector.detect(_with_tone(_noise(12), 0, 12), RATE)
    assert found.outcome is Outcome.FOUND
    assert found.message == MESSAGE
    assert found.payload is None
    assert found.score == pytest.approx(10, abs=0.2)
    assert found.score > found.threshold
    # Five windows (at 0, 2.5, 5 and 7 s, the last to reach the end), each at the null's floor.
    assert found.false_alarm_probability == pytest.approx(4e-6)
    (segment,) = found.segments
    assert (segment.start_s, segment.end_s) == (0.0, pytest.approx(12.0, abs=0.02))


def test_unmarked_sound_is_not_found(detector: PublicDetector) -> None:
    found = detector.detect(_noise(12), RATE)
    assert found.outcome is Outcome.NOT_FOUND
    assert found.message is None and found.segments == ()
    assert found.score < found.threshold
    assert found.false_alarm_probability == 1.0


def test_a_marked_part_of_a_long_file_is_found_where_it_is(detector: PublicDetector) -> None:
    """Averaged over the whole minute, 8 s of mark would drown."""
    found = detector.detect(_with_tone(_noise(60), 22, 30), RATE)
    assert found.outcome is Outcome.FOUND
    (segment,) = found.segments
    assert segment.start_s == pytest.approx(22, abs=2.5)
    assert segment.end_s == pytest.approx(30, abs=2.5)
    assert found.message == MESSAGE


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_any_rate_is_taken(detector: PublicDetector, rate: int) -> None:
    times = np.arange(8 * rate) / rate
    wav_T = (0.1 * np.sin(2 * np.pi * 1200 * times)).astype(np.float32)
    assert detector.detect(wav_T, rate).outcome is Outcome.FOUND


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: _noise(0), "too short"),
        (lambda: _noise(4.9), "too short: 5 s are needed"),
        (lambda: _noise(9, level=0.0), "silent"),
        (lambda: np.pad(_noise(0.5), (0, 8 * RATE)), "silent: no 5 s have a second of sound"),
    ],
)
def test_audio_that_cannot_speak_is_inconclusive(
    detector: PublicDetector, make: Callable[[], Floats], words: str
) -> None:
    found = detector.detect(make(), RATE)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.reason is not None and words in found.reason
    assert found.false_alarm_probability == 1.0


def test_loudness_does_not_matter(tmp_path: Path, voices: dict[str, Floats]) -> None:
    """A network with biases hears a quiet copy as another sound: training stalled at one clip in fourteen."""
    listener = detect.Listener(made_weights(tmp_path, TINY).detector)
    wav_T = voices["kathleen_1"][: 6 * RATE]
    loud, quiet = (listener.hear(wav_T * gain) for gain in (1.0, np.float32(0.01)))
    assert np.allclose(loud.presence_F, quiet.presence_F, atol=1e-4)
    assert np.sqrt(np.mean(listener.hear(wav_T).power_F)) == pytest.approx(0.1, rel=0.3)


def test_pauses_do_not_dilute_the_score(detector: PublicDetector) -> None:
    """The mark dies away with the speech, so frames 40 dB below the loudest say nothing and do not count."""
    wav_T = _with_tone(_noise(10), 0, 10)
    gated_T = wav_T * (np.arange(len(wav_T)) // RATE % 2 == 0)
    assert detector.detect(gated_T, RATE).score == pytest.approx(10, abs=0.2)


@pytest.mark.parametrize("wav_T", [np.array([0.0, np.inf], np.float32), np.zeros((2, RATE), np.float32)])
def test_samples_that_are_no_waveform_are_refused(detector: PublicDetector, wav_T: Floats) -> None:
    with pytest.raises(SignalError):
        detector.detect(wav_T, RATE)


def test_a_null_that_claims_less_finds_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same scores, and a null whose tail reaches them: what counts is the probability, not the score."""
    monkeypatch.setattr(detect, "frame_logits", _hears_a_tone)
    wide = Null(1000, tuple(1.0 - 0.2 * i for i in range(19)), 20.0)
    found = PublicDetector(made_weights(tmp_path, TINY, wide)).detect(_with_tone(_noise(8), 0, 8), RATE)
    assert found.outcome is Outcome.NOT_FOUND


def test_blocks_of_ten_seconds_are_one_stream(tmp_path: Path, voices: dict[str, Floats]) -> None:
    """A real network, heard in blocks and heard whole."""
    weights = made_weights(tmp_path, TINY)
    wav_T = voices["kathleen_1"][: 480 * HOP_SAMPLES]
    longer_T = np.concatenate([wav_T, wav_T])
    heard = detect.Listener(weights.detector).hear(longer_T)
    with torch.inference_mode():
        whole_BCF = detect.frame_logits(weights.detector, detect.levelled(torch.from_numpy(longer_T)[None]))
    assert len(longer_T) > 240_000
    assert np.allclose(heard.presence_F, detect.presence(whole_BCF)[0].numpy(), atol=1e-5)
    assert np.allclose(heard.bits_MF, detect.message_logits(whole_BCF)[0].numpy(), atol=1e-5)
