"""Folds of all hypotheses: what the shared tables give is what each hypothesis gives by itself."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from watermark.keyed import features
from watermark.keyed.geometry import BINS_PER_BAND, FIRST_BIN, NUM_BANDS, PERIOD_TILES, TILE_FRAMES
from watermark.keyed.warped import folds

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def log_power_at(wav_T: Floats, pitch: float) -> Doubles:
    """Return nepers in bands that lie `pitch` times as high [F, K]; a band's edge may cut a bin."""
    frames = np.lib.stride_tricks.sliding_window_view(wav_T.astype(np.float64), 480)[::120]
    power = np.abs(np.fft.rfft(frames * features.hann_window(480))) ** 2
    bands = np.zeros((len(power), NUM_BANDS))
    for k in range(NUM_BANDS):
        low, high = ((FIRST_BIN - 0.5 + BINS_PER_BAND * edge) * pitch for edge in (k, k + 1))
        for j in range(power.shape[1]):
            bands[:, k] += power[:, j] * max(0.0, min(j + 0.5, high) - max(j - 0.5, low))
    return features.log_power(bands.astype(np.float32)).astype(np.float64)


def fold_by_itself(log_FK: Doubles, tempo: float, phase: float) -> Doubles:
    """Return the fold of one hypothesis [128, K], by the formulas of `features` and tiles cut one by one."""
    step = TILE_FRAMES / tempo
    edges = np.rint((np.arange(int(len(log_FK) / step - phase) + 1) + phase) * step).astype(int)
    tiles = np.array([log_FK[first:end].mean(axis=0) for first, end in pairwise(edges)])
    padded = np.pad(tiles, ((0, 0), (2, 2)), mode="edge")
    white = tiles[2:-2].copy()
    for a in range(5):
        for b in range(5):
            white -= features.KERNEL[a, b] * padded[a : a + len(white), b : b + NUM_BANDS]
    limit = 4.625 * np.abs(white).mean()
    folded = np.zeros((PERIOD_TILES, NUM_BANDS))
    for n, row in enumerate(np.clip(white, -limit, limit)):
        folded[n % PERIOD_TILES] += row
    return folded


def test_every_kind_of_hypothesis_folds_as_it_does_by_itself(voices: dict[str, Floats]) -> None:
    """Tables shared by hypotheses must change nothing but the last digits: in 5 s and in 3.1 s,
    for both phases of the slowest and the fastest, for stretches, changes of speed and of pitch.
    """
    for num_samples in (120_000, 74_400):
        wav_T = voices["kerstin_1"][:num_samples]
        warps, folded_HN = folds(wav_T)
        chosen = [0, 1, 5, 100, 101, 150, 200, 201, 260, 301, 360, 398, 399]
        assert len({warps[h].pitch for h in chosen}) > 5
        for h in chosen:
            expected = fold_by_itself(log_power_at(wav_T, warps[h].pitch), warps[h].tempo, 0.5 * (h % 2))
            got = folded_HN[h].reshape(PERIOD_TILES, NUM_BANDS) / 2  # in units of ln, not of nepers
            assert np.abs(got - expected).max() < 1e-3 * expected.std()


@pytest.mark.parametrize("num_samples", [480, 600, 2_000, 12_000])
def test_audio_of_a_few_frames_folds_to_something_finite(num_samples: int) -> None:
    _, folded_HN = folds(np.random.default_rng(0).standard_normal(num_samples).astype(np.float32))
    assert folded_HN.shape == (400, PERIOD_TILES * 50)
    assert np.isfinite(folded_HN).all()
