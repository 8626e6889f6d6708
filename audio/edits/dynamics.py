"""Level, polarity, quantisation and level-dependent gain. Every output has the input's length and alignment.

The dynamics processors follow the peak level of blocks of 1 ms with an attack and a release, and apply the
gain interpolated between blocks. Dimension key: T samples at 24 kHz, mono; F blocks.
"""

import numpy as np
from numpy.typing import NDArray

from audio.rates import SAMPLE_RATE_HZ

Wav = NDArray[np.float32]

BLOCK_SAMPLES = SAMPLE_RATE_HZ // 1000
FLOOR_DB = -120.0


def gain(wav_T: Wav, *, gain_db: float) -> Wav:
    """A constant gain, not clipped."""
    return (wav_T * 10 ** (gain_db / 20)).astype(np.float32)


def polarity(wav_T: Wav) -> Wav:
    """The same wave upside down."""
    return np.asarray(-wav_T, dtype=np.float32)


def scale(wav_T: Wav, *, factor: float) -> Wav:
    """Boost (factor > 1) or duck (factor < 1), clipped to [-1, 1] as a file would clip it."""
    return np.asarray(np.clip(wav_T * factor, -1.0, 1.0), dtype=np.float32)


def quantise(wav_T: Wav, *, levels: int) -> Wav:
    """Round to `levels` evenly spaced values in [-1, 1]."""
    step = 2.0 / (levels - 1)
    out_T = np.rint((np.clip(wav_T, -1, 1) + 1) / step) * step - 1
    return np.asarray(out_T, dtype=np.float32)


def compress(wav_T: Wav, *, threshold_db: float, ratio: float) -> Wav:
    """Downward compressor: above the threshold the level grows by 1/ratio; attack 5 ms, release 80 ms."""
    level_F = _level_db(wav_T, attack_ms=5, release_ms=80)
    return _with_gain(wav_T, -np.maximum(level_F - threshold_db, 0) * (1 - 1 / ratio))


def limit(wav_T: Wav, *, threshold_db: float) -> Wav:
    """Limiter: nothing passes the threshold; attack 1 ms, release 50 ms, then a clip for what is left."""
    level_F = _level_db(wav_T, attack_ms=1, release_ms=50)
    out_T = _with_gain(wav_T, -np.maximum(level_F - threshold_db, 0))
    ceiling = 10 ** (threshold_db / 20)
    return np.clip(out_T, -ceiling, ceiling).astype(np.float32)


def expand(wav_T: Wav, *, threshold_db: float, ratio: float = 2.0) -> Wav:
    """Downward expander: below the threshold the level falls `ratio` times as fast, by 40 dB at most."""
    level_F = _level_db(wav_T, attack_ms=5, release_ms=80)
    return _with_gain(wav_T, np.maximum(np.minimum(level_F - threshold_db, 0) * (ratio - 1), -40.0))


def _level_db(wav_T: Wav, *, attack_ms: float, release_ms: float) -> NDArray[np.float64]:
    num_blocks = -(-len(wav_T) // BLOCK_SAMPLES)
    padded_T = np.zeros(num_blocks * BLOCK_SAMPLES, dtype=np.float64)
    padded_T[: len(wav_T)] = np.abs(wav_T)
    peaks_F = padded_T.reshape(num_blocks, BLOCK_SAMPLES).max(axis=1)
    rise, fall = np.exp(-1.0 / attack_ms), np.exp(-1.0 / release_ms)
    follower, followed = 0.0, []
    for peak in peaks_F.tolist():
        keep = rise if peak > follower else fall
        follower = keep * follower + (1 - keep) * peak
        followed.append(follower)
    return np.asarray(20 * np.log10(np.maximum(followed, 10 ** (FLOOR_DB / 20))))


def _with_gain(wav_T: Wav, gain_db_F: NDArray[np.float64]) -> Wav:
    centres_F = (np.arange(len(gain_db_F)) + 0.5) * BLOCK_SAMPLES
    gain_db_T = np.interp(np.arange(len(wav_T)), centres_F, gain_db_F)
    return (wav_T * 10 ** (gain_db_T / 20)).astype(np.float32)
