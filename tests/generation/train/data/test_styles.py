"""Each style is measured on a tone that is switched on and off like words."""

import numpy as np
import pytest
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from generation.train.data.effects import level_db
from generation.train.data.item import SpokenSentence, Word
from generation.train.data.styles import NAMES, NEUTRAL_LEVEL_DB, STYLES, styled

_PITCH_HZ = 200.0
_WORDS = (Word("one", 0.2, 0.6), Word("two", 0.8, 1.2), Word("three.", 1.4, 1.8))


@pytest.fixture(scope="module")
def neutral() -> SpokenSentence:
    """Three words of harmonics at 200 Hz with the slope of a voice, in 2 s, with a floor of quiet noise."""
    time_T = np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone_T = sum(np.sin(2 * np.pi * _PITCH_HZ * k * time_T + k * k) / k**1.5 for k in range(1, 40))
    on_T = np.any([(time_T >= word.start_s) & (time_T < word.end_s) for word in _WORDS], axis=0)
    noise_T = np.random.default_rng(0).standard_normal(len(time_T)) * 1e-4
    wav_T = (0.1 * tone_T * on_T + noise_T).astype(np.float32)
    return SpokenSentence("one two three.", _WORDS, wav_T, "tone")


def _of(sentence: SpokenSentence, word: int) -> NDArray[np.float32]:
    start, end = (int(edge * SAMPLE_RATE_HZ) for edge in sentence.words[word][1:])
    inset = (end - start) // 5
    return sentence.wav_T[start + inset : end - inset]


def _periodicity(wav_T: NDArray[np.float32]) -> tuple[float, float]:
    """Pitch in Hz, and the autocorrelation there relative to lag 0."""
    spectrum = np.abs(np.fft.rfft(wav_T, 2 * len(wav_T))) ** 2
    lags = np.fft.irfft(spectrum)
    lags = lags[: len(wav_T) // 2] / (1 - np.arange(len(wav_T) // 2) / len(wav_T)) / lags[0]
    first = SAMPLE_RATE_HZ // 400
    lag = first + int(np.argmax(lags[first : SAMPLE_RATE_HZ // 120]))
    return SAMPLE_RATE_HZ / lag, float(lags[lag])


def _tilt_db_per_octave(wav_T: NDArray[np.float32]) -> float:
    power = np.abs(np.fft.rfft(wav_T * np.hanning(len(wav_T)))) ** 2
    frequencies = np.fft.rfftfreq(len(wav_T), 1 / SAMPLE_RATE_HZ)
    bands = [power[(frequencies > low) & (frequencies < 2 * low)].mean() for low in (300, 600, 1200, 2400)]
    return float(np.polyfit(range(4), 10 * np.log10(bands), 1)[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_style_measures_as_its_row_says(neutral: SpokenSentence, name: str) -> None:
    """A style token that does not change the sound cannot be learnt."""
    style, plain, changed = STYLES[name], styled(neutral, "neutral", 1), styled(neutral, name, 1).check()
    assert changed.style == name
    assert changed.duration_s == pytest.approx(neutral.duration_s / style.rate, rel=0.001)
    assert level_db(changed.wav_T) == pytest.approx(NEUTRAL_LEVEL_DB + style.level_db, abs=0.1)
    pitch_hz, periodic = _periodicity(_of(changed, 1))
    if style.whispered:
        assert periodic < 0.5
        return
    assert periodic > 0.8
    assert pitch_hz == pytest.approx(_PITCH_HZ * style.pitch, rel=0.02)
    tilted = _tilt_db_per_octave(_of(changed, 1)) - _tilt_db_per_octave(_of(plain, 1))
    assert tilted == pytest.approx(style.tilt_db_per_octave, abs=0.7 + 2.0 * (style.pitch != 1.0))


@pytest.mark.parametrize("name", NAMES)
def test_the_words_are_heard_at_their_times_in_every_style(neutral: SpokenSentence, name: str) -> None:
    """Stretching that moved the sound and not the times would shift the text stream against the speech."""
    changed = styled(neutral, name, 1)
    quietest_word = min(level_db(_of(changed, word)) for word in range(3))
    for before, after in zip(changed.words, changed.words[1:], strict=False):
        middle = int((before.end_s + after.start_s) / 2 * SAMPLE_RATE_HZ)
        assert level_db(changed.wav_T[middle - 600 : middle + 600]) < quietest_word - 20


def test_the_same_seed_gives_the_same_whisper(neutral: SpokenSentence) -> None:
    """A run that goes on after a stop must write what it would have written."""
    first, again, other = (styled(neutral, "whisper", seed).wav_T for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
