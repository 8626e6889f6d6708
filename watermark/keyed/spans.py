"""Mark off where a known pattern stands: the stretches of audio whose tiles agree with it.

    r[n] = sum_k V[n, k] * sign[n, k],   e[n] = sum_k V[n, k]^2
    gain[n] = share * (r[n] - share * e[n] / 2)

Where the mark stands r has mean share * e and variance e, elsewhere mean 0, so a gain is a log-likelihood
ratio: a row that says little, since it is quiet or drowned, costs little. The spans are the likeliest path
of a chain of two states, marked and not, whose changes cost _CHANGE (Viterbi, 1967). Silence says nothing of
either: a span may pass over a short one, and neither begins nor ends in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from watermark.keyed.geometry import HOP_SAMPLES, PERIOD_TILES, SAMPLE_RATE_HZ, TILE_FRAMES
from watermark.keyed.search import Sync
from watermark.result import MarkSegment, ScoreAt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_TILE_S = TILE_FRAMES * HOP_SAMPLES / SAMPLE_RATE_HZ
_MIN_Z = 5.0  # one stretch in millions of noise is this strong, and a second of clean mark scores 12
_CHANGE = 6.0  # nats: a change every few seconds would cost 5, every minute 8
_JOIN_S = 0.6  # shorter gaps lie inside words and pauses
_SILENCE_GAIN = -2 * _CHANGE * _TILE_S / _JOIN_S  # of a row: a silence as long costs what leaving it out does


@dataclass(frozen=True)
class Agreement:
    """How the tiles of each row agree with a known pattern [N], and what they could at most (squared)."""

    agreement_N: Doubles
    energy_N: Doubles
    start_s: float  # of row 0

    @classmethod
    def of(cls, features_FK: Floats, signs_MK: Floats, offset_frames: int) -> Self:
        """Of all audio with `signs_MK` at the offset."""
        phase = -offset_frames % TILE_FRAMES
        rows_NK = features_FK[phase::TILE_FRAMES]
        period_row = ((offset_frames + phase) // TILE_FRAMES + np.arange(len(rows_NK))) % PERIOD_TILES
        signs_NK = signs_MK[period_row]
        return cls(
            (rows_NK * signs_NK).sum(axis=1, dtype=np.float64),
            (rows_NK**2 * (signs_NK != 0)).sum(axis=1, dtype=np.float64),
            phase / TILE_FRAMES * _TILE_S,
        )

    def z(self, first: int, end: int) -> float:
        """Of rows `first` to `end`; mean 0 and variance 1 where the pattern does not stand."""
        energy = self.energy_N[first:end].sum()
        return float(self.agreement_N[first:end].sum() / math.sqrt(energy + 1e-9))

    def share(self) -> float:
        """Of the energy that agrees, in the two seconds that show the pattern best."""
        width = min(len(self.agreement_N), round(2.0 / _TILE_S))
        agreement, energy = (
            np.convolve(of_N, np.ones(width), "valid") for of_N in (self.agreement_N, self.energy_N)
        )
        best = int(np.argmax(agreement / np.sqrt(energy + 1e-9)))
        return max(0.0, float(agreement[best] / (energy[best] + 1e-9)))

    def second_of(self, row: float) -> float:
        return self.start_s + row * _TILE_S


def find(features_FK: Floats, signs_MK: Floats, offset_frames: int, payload: int | None) -> list[MarkSegment]:
    """Return the spans of the whole audio that show `signs_MK` at the offset, in time order."""
    seen = Agreement.of(features_FK, signs_MK, offset_frames)
    share = seen.share()
    gains_N = share * (seen.agreement_N - share * seen.energy_N / 2)
    silent_N = seen.energy_N == 0
    gains_N[silent_N] = _SILENCE_GAIN
    # Noise alone makes short stretches too: those are dropped before gaps between the others are closed.
    strong = [s for s in _likeliest_stretches(gains_N) if seen.z(*s) >= _MIN_Z]
    return [
        MarkSegment(seen.second_of(first), seen.second_of(end), seen.z(first, end), payload)
        for first, end in (_without_silent_ends(stretch, silent_N) for stretch in _join(strong))
    ]


def scores(features_FK: Floats, signs_MK: Floats, offset_frames: int) -> list[ScoreAt]:
    """Return z over seconds that overlap by half, over the whole audio; of less than a second none."""
    seen = Agreement.of(features_FK, signs_MK, offset_frames)
    size = round(1.0 / _TILE_S)
    firsts = range(0, len(seen.agreement_N) - size + 1, size // 2)
    return [ScoreAt(seen.second_of(first + size / 2), seen.z(first, first + size)) for first in firsts]


def window(sync: Sync, payload: int | None) -> MarkSegment:
    """Return the window that the pilot was found in as one span."""
    hop_s = HOP_SAMPLES / SAMPLE_RATE_HZ
    end_frame = sync.first_frame + sync.num_frames
    return MarkSegment(sync.first_frame * hop_s, end_frame * hop_s, sync.z, payload)


def without_overlap(segments: list[MarkSegment]) -> list[MarkSegment]:
    """Drop spans that lie mostly inside a stronger one; return the rest in time order."""
    kept: list[MarkSegment] = []
    for segment in sorted(segments, key=lambda s: (s.payload is None, -s.score)):
        length = segment.end_s - segment.start_s
        hidden = sum(max(0.0, min(segment.end_s, k.end_s) - max(segment.start_s, k.start_s)) for k in kept)
        if hidden < length / 2:
            kept.append(segment)
    return sorted(kept, key=lambda s: s.start_s)


def _likeliest_stretches(gain_N: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the stretches, first and end, whose gains add up highest when each change costs `_CHANGE`."""
    marked, unmarked = 0.0, 0.0
    came_N = np.empty((len(gain_N), 2), np.bool_)  # whether the best way to each state is from the other
    for n, gain in enumerate(gain_N.tolist()):
        came_N[n] = unmarked - _CHANGE > marked, marked - _CHANGE > unmarked
        marked, unmarked = max(marked, unmarked - _CHANGE) + gain, max(unmarked, marked - _CHANGE)
    stretches: list[tuple[int, int]] = []
    inside, end = marked > unmarked, len(gain_N)
    for n in range(len(gain_N) - 1, -1, -1):
        if came_N[n, 0 if inside else 1]:
            if inside:
                stretches.append((n, end))
            inside, end = not inside, n
    if inside:
        stretches.append((0, end))
    return stretches[::-1]


def _without_silent_ends(stretch: tuple[int, int], silent_N: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return the stretch from its first row that says something to its last."""
    first, end = stretch
    speaking = first + np.flatnonzero(~silent_N[first:end])
    return int(speaking[0]), int(speaking[-1]) + 1


def _join(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join stretches with a short gap between them."""
    joined: list[tuple[int, int]] = []
    for first, end in stretches:
        if joined and (first - joined[-1][1]) * _TILE_S < _JOIN_S:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined
