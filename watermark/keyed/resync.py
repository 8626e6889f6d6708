"""Find the pilot in audio whose speed, tempo or pitch was changed, at a stated price in certainty.

The order, with the numbers used below:
(1) of at most eight equal parts of the audio the loudest 5 s are searched, so that long audio costs no more;
(2) for every hypothesis of the grid tiles are cut at its tempo from bands at its pitch, whitened and folded
(warped.py);
(3) one matrix product gives the correlation with the pilot at all offsets of all hypotheses;
(4) the best is a sum with random signs, normalised as in search.py: for a wrong key its variance is 1,
whatever the audio is. Its p-value pays for every window, hypothesis and offset;
(5) only when the mark was found, the warp is refined, on the detector's own features.

To be quick, tiles in (2) begin on the nearest frame and have no weights: the score was 0.85 to 1.17 times
that of plain features at the true warp (docs/LOG.md, 2026-11-25); the reader's is larger (decision 0029).
Dimension key: T samples, N folded tiles, H hypotheses in two phases, O offsets in tiles.
Not covered: tempo and pitch changed by unrelated factors; two warps in one file; a warp that drifts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from watermark.keyed import features, geometry
from watermark.keyed.geometry import NUM_BANDS, PERIOD_TILES, SAMPLE_RATE_HZ, Layout
from watermark.keyed.search import PilotSearch
from watermark.keyed.warped import folds as folds
from watermark.warp import Warp

Floats = npt.NDArray[np.float32]

WINDOW_SAMPLES = 5 * SAMPLE_RATE_HZ
MAX_WINDOWS = 8
_FINE_TEMPO_STEPS = 0.002 * np.arange(-2, 3)  # natural logarithms; z falls by half over 0.4 % in 5 s
_FINE_SIZES = (-2, 0, 2)  # samples more or less in a frame, 0.2 % of pitch each


@dataclass(frozen=True)
class Resync:
    """The best fit of one search, and of how many it is the best. `window` is its first and end sample."""

    warp: Warp
    z: float
    window: tuple[int, int]
    num_trials: int


def windows(wav_T: Floats) -> list[tuple[int, int]]:
    """Return the first and end sample of each window (1); audio of less than 10 s has one."""
    num_parts = min(MAX_WINDOWS, max(1, len(wav_T) // WINDOW_SAMPLES))
    energy = np.concatenate([[0.0], np.cumsum(np.square(wav_T[::4], dtype=np.float64))])
    edges = np.linspace(0, len(wav_T), num_parts + 1).astype(int)
    chosen = []
    for first, end in pairwise(edges):
        starts = np.arange(first, max(first, end - WINDOW_SAMPLES) + 1, SAMPLE_RATE_HZ // 2)
        ends = np.minimum(starts + WINDOW_SAMPLES, len(wav_T))
        loudest = (energy[ends // 4] - energy[starts // 4]).argmax()
        chosen.append((int(starts[loudest]), int(ends[loudest])))
    return chosen


class ResyncSearch:
    """The search of one key for its pilot at other speeds, tempos and pitches."""

    def __init__(self, layout: Layout) -> None:
        self._search = PilotSearch(layout)
        # Column o is the pilot as a fold shows it whose row 0 is row o of the period.
        shifted = np.stack([np.roll(layout.pilot, -o, axis=0) for o in range(PERIOD_TILES)], axis=-1)
        self._pilots = np.ascontiguousarray(shifted.reshape(PERIOD_TILES * NUM_BANDS, PERIOD_TILES))

    def best(self, wav_T: Floats, enough: Callable[[float, int], bool]) -> Resync:
        """Return the best fit in the 24 kHz waveform, which is there whether or not it means anything.

        Once `enough(z, num_trials)`, no further window is searched; all are paid for.
        """
        searched = windows(wav_T)
        best: Resync | None = None
        for first, end in searched:
            warps, folded = folds(wav_T[first:end])
            h, z = self.best_fold(folded)
            num_trials = len(searched) * len(warps) * PERIOD_TILES
            if best is None or z > best.z:
                best = Resync(warps[h], z, (first, end), num_trials)
            if enough(best.z, num_trials):
                break
        assert best is not None
        return best

    def best_fold(self, folds_HN: Floats) -> tuple[int, float]:
        """Return the row of `folds_HN` that fits the pilot best at any offset (3), and its z (4)."""
        top_HO = (torch.from_numpy(folds_HN) @ torch.from_numpy(self._pilots)).numpy()
        # The share of pilot tiles hardly depends on the offset, so the best is chosen by the whole energy.
        energy_H1 = np.vecdot(folds_HN, folds_HN)[:, None] + 1e-9
        h, o = np.unravel_index(int((top_HO / np.sqrt(energy_H1)).argmax()), top_HO.shape)
        energy = float((folds_HN[h] ** 2) @ np.abs(self._pilots[:, o]))
        return int(h), float(top_HO[h, o]) / np.sqrt(energy + 1e-9)

    def refined(self, wav_T: Floats, hit: Resync) -> Warp:
        """Return the warp of a mark that was found, to about 0.05 % of tempo and 0.2 % of pitch (5)."""
        first, end = hit.window
        part_T = wav_T[first:end]
        size = features.frame_samples(hit.warp)
        z = [self._z(part_T, Warp(hit.warp.tempo, _pitch(size + more))) for more in _FINE_SIZES]
        pitch = _pitch(size + int(_FINE_SIZES[int(np.argmax(z))]))
        part_T = wav_T[max(0, first - WINDOW_SAMPLES // 2) : end + WINDOW_SAMPLES // 2]
        z = [self._z(part_T, Warp(hit.warp.tempo * np.exp(step), pitch)) for step in _FINE_TEMPO_STEPS]
        return Warp(hit.warp.tempo * float(np.exp(_summit(_FINE_TEMPO_STEPS, z))), pitch)

    def _z(self, part_T: Floats, warp: Warp) -> float:
        return float(self._search.scores(features.tile_features(part_T, warp)).max())


def _pitch(frame_samples: int) -> float:
    return geometry.WINDOW_SAMPLES / frame_samples


def _summit(steps: npt.NDArray[np.floating], z: list[float]) -> float:
    """Return where the parabola through the best of equally spaced z and its two neighbours is highest."""
    best = int(np.clip(np.argmax(z), 1, len(z) - 2))
    left, middle, right = z[best - 1 : best + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(steps[best] + np.clip(shift, -1, 1) * (steps[1] - steps[0]))
