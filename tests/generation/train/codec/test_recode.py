"""Speech through the shipped codec and back: as long, in time, altered, and the same in pieces of 30 s."""

from pathlib import Path

import numpy as np

from audio import trusted
from generation.train.codec.config import SHIPPED
from generation.train.codec.recode import recoder

SPEECH = trusted.read(Path(__file__).parents[3] / "assets" / "amelia.flac", "flac")


def envelope(wav_T: np.ndarray) -> np.ndarray:
    """Root mean square of each 20 ms."""
    blocks = wav_T[: len(wav_T) // 480 * 480].reshape(-1, 480)
    return np.sqrt(np.square(blocks).mean(axis=1))


def test_what_comes_back_is_as_long_and_in_time() -> None:
    """Nothing is aligned afterwards: training takes a copy's frame for that of the original."""
    wav_T = SPEECH[:70_001]
    coded_T = recoder(SHIPPED)(wav_T)
    assert (coded_T.shape, coded_T.dtype) == (wav_T.shape, np.float32)
    assert not np.allclose(coded_T, wav_T, atol=0.01)
    before, after = envelope(wav_T), envelope(coded_T)
    likeness = [np.corrcoef(before[5:-5], np.roll(after, shift)[5:-5])[0, 1] for shift in range(-4, 5)]
    assert abs(int(np.argmax(likeness)) - 4) <= 1
    assert max(likeness) > 0.8


def test_long_audio_is_coded_in_pieces_that_follow_each_other() -> None:
    """31 s are 30 and 1; each begins as a stream of its own."""
    wav_T = np.resize(SPEECH, 31 * 24_000)
    recoded = recoder(SHIPPED)
    whole_T = recoded(wav_T)
    assert len(whole_T) == len(wav_T)
    assert np.allclose(whole_T[720_000:], recoded(wav_T[720_000:]), atol=1e-4)
