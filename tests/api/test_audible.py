"""Which part of audio can carry evidence, and how much of it spans cover."""

import numpy as np
import pytest

from api.audible import audible

RATE_HZ = 24_000


def tone(seconds: float, level: float = 0.1) -> np.ndarray:
    at_T = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * 440 * at_T)).astype(np.float32)


def test_a_tone_is_audible_and_the_silence_around_it_is_not() -> None:
    silence = np.zeros(RATE_HZ, np.float32)
    heard = audible(np.concatenate([silence, tone(2.0), silence]))
    assert heard.duration_s == pytest.approx(2.0, abs=0.021)
    assert heard.covered([(1.0, 3.0)]) == 1.0
    assert heard.covered([(0.0, 1.0), (3.0, 4.0)]) == 0.0
    assert heard.covered([(1.0, 2.0)]) == pytest.approx(0.5, abs=0.02)


def test_overlapping_spans_count_once_and_spans_past_the_ends_are_cut() -> None:
    heard = audible(tone(2.0))
    assert heard.covered([(-5.0, 1.0), (0.5, 1.0)]) == pytest.approx(0.5, abs=0.02)
    assert heard.covered([(0.0, 9.0)]) == 1.0


@pytest.mark.parametrize("num_samples", [0, 1, 479, 24_000])
def test_silence_of_any_length_is_not_audible(num_samples: int) -> None:
    heard = audible(np.zeros(num_samples, np.float32))
    assert heard.duration_s == 0.0
    assert heard.covered([(0.0, 10.0)]) == 0.0


def test_quiet_speech_is_judged_by_its_own_level() -> None:
    """A recording at -60 dBFS is still a recording: what counts is what stands out of it."""
    quiet = audible(np.concatenate([tone(1.0, 0.001), np.zeros(RATE_HZ, np.float32)]))
    assert quiet.duration_s == pytest.approx(1.0, abs=0.021)
