"""Find the pilot: correlation with every offset of its period, and a p-value that pays for the search.

    z[p, o] = sum_{m, k} Fold_p[m, k] * pilot[(m + o) mod 128, k] / sqrt(sum Fold_p[m, k]**2 where pilot)

Fold_p adds up, row by row of the period, the features of tiles that start at frames p, p + 4, p + 8, …
With the audio fixed and the signs random (a wrong key, or audio never marked), z has mean 0 and variance 1
exactly, and as a sum of thousands of bounded terms a normal tail that it stays under; the false-alarm
probability is that tail times the number of offsets and windows tried (Bonferroni). It is a statement about
random keys for this very audio, so it needs no model of speech.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from watermark.keyed.geometry import PERIOD_FRAMES, PERIOD_TILES, TILE_FRAMES, Layout

Floats = npt.NDArray[np.float32]

NUM_OFFSETS = PERIOD_FRAMES  # 512 places where the period may start, 5 ms apart
# The tail is exact for random keys, but a probability below this would claim more than any machine, file or
# pseudo-random function has been checked for.
MIN_PROBABILITY = 1e-12
WINDOW_FRAMES = 250 * TILE_FRAMES  # 5 s


@dataclass(frozen=True)
class Sync:
    """Where the pilot fits best in one window of the features."""

    first_frame: int
    num_frames: int
    offset_frames: int  # frame f of the features is frame (f + offset_frames) mod 512 of the period
    z: float


def false_alarm_probability(z: float, num_trials: float) -> float:
    """Return the p-value of the best z of `num_trials`, within [MIN_PROBABILITY, 1]."""
    return min(1.0, max(MIN_PROBABILITY, num_trials * tail(z)))


def tail(z: float) -> float:
    """Return the probability that a standard normal variable exceeds z."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def threshold(false_alarm_probability: float, num_trials: float) -> float:
    """Return the z whose tail, paid for `num_trials` times, equals the probability (bisection)."""
    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if num_trials * tail(middle) > false_alarm_probability else (low, middle)
    return high


def windows(num_frames: int) -> list[tuple[int, int]]:
    """Return the (first, count) frames of each window searched: 5 s every 2.5 s, 2.5 s every 1.25 s, the last
    of each at the end, and all of it; the short ones are for pieces that are shorter than 5 s."""
    size, hop = WINDOW_FRAMES, WINDOW_FRAMES // 2
    if num_frames < size + hop:
        return [(0, num_frames)]
    return [*every(num_frames, size), *every(num_frames, hop), (0, num_frames)]


def short_windows(num_frames: int) -> list[tuple[int, int]]:
    """Return the windows of 2.5 s that `windows` leaves out of audio shorter than 7.5 s: once a mark is
    found, they tell two recordings apart that were joined there."""
    size, hop = WINDOW_FRAMES, WINDOW_FRAMES // 2
    return every(num_frames, hop) if hop < num_frames < size + hop else []


def every(num_frames: int, size: int) -> list[tuple[int, int]]:
    """Windows that overlap by half, but for the last one, which ends with the audio."""
    starts = [*range(0, num_frames - size, size // 2), num_frames - size]
    return [(start, size) for start in starts]


def fold(features_FK: Floats, phase: int, first_frame: int = 0) -> Floats:
    """Add up tile rows that share a row of the period [128, K]; row 0 is the tile at frame `phase`.

    `first_frame` is where `features_FK` starts in the whole, so that folds of different windows align.
    """
    skip = (phase - first_frame) % TILE_FRAMES
    rows = features_FK[skip::TILE_FRAMES]
    start = (first_frame + skip - phase) // TILE_FRAMES % PERIOD_TILES
    num_periods = -(-(start + len(rows)) // PERIOD_TILES)
    padded = np.zeros((num_periods * PERIOD_TILES, features_FK.shape[1]), np.float32)
    padded[start : start + len(rows)] = rows
    folded: Floats = padded.reshape(num_periods, PERIOD_TILES, -1).sum(axis=0)
    return folded


class PilotSearch:
    """The pilot of one key, ready to be searched for."""

    def __init__(self, layout: Layout) -> None:
        self._pilot = np.fft.rfft(layout.pilot, axis=0)
        self._mask = np.fft.rfft(np.abs(layout.pilot), axis=0)

    def scores(self, features_FK: Floats, first_frame: int = 0) -> Floats:
        """Return z for every offset [512]: entry g is for `offset_frames` = g."""
        z = np.zeros((PERIOD_TILES, TILE_FRAMES), np.float32)
        for phase in range(TILE_FRAMES):
            folded = fold(features_FK, phase, first_frame)
            top = np.fft.irfft((np.conj(np.fft.rfft(folded, axis=0)) * self._pilot).sum(axis=1), PERIOD_TILES)
            energy = np.fft.irfft(
                (np.conj(np.fft.rfft(folded**2, axis=0)) * self._mask).sum(axis=1), PERIOD_TILES
            )
            # Tile row o of the period starts at frame `phase`, so frame 0 is frame 4 o - phase of it.
            z[:, phase] = top / np.sqrt(np.maximum(energy, 1e-6))
        by_frame = np.zeros(PERIOD_FRAMES, np.float32)
        offsets = (TILE_FRAMES * np.arange(PERIOD_TILES)[:, None] - np.arange(TILE_FRAMES)) % PERIOD_FRAMES
        by_frame[offsets] = z
        return by_frame

    def best(self, features_FK: Floats, first_frame: int, num_frames: int) -> Sync:
        """Return the best fit within one window of the features."""
        z = self.scores(features_FK[first_frame : first_frame + num_frames], first_frame)
        offset = int(z.argmax())
        return Sync(first_frame, num_frames, offset, float(z[offset]))
