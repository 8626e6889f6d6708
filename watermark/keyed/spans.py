"""Mark off where a known pattern stands: the stretches of audio whose tiles agree with it.

    r[n] = sum_k V[n, k] * sign[n, k],   gain[n] = r[n] - mean(r) / 2

A span is a maximal stretch whose gains add up highest (Ruzzo & Tompa, 1999, "A linear time algorithm for
finding all maximal scoring subsequences"): rows where the mark stands gain, rows without it lose as much.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from watermark.keyed.geometry import HOP_SAMPLES, PERIOD_TILES, SAMPLE_RATE_HZ, TILE_FRAMES
from watermark.keyed.search import Sync
from watermark.result import MarkSegment

Floats = npt.NDArray[np.float32]

_TILE_S = TILE_FRAMES * HOP_SAMPLES / SAMPLE_RATE_HZ
_MIN_Z = 5.0  # one stretch in millions of noise is this strong, and a second of clean mark scores 12
_JOIN_S = 0.6  # shorter gaps lie inside words and pauses


def find(features_FK: Floats, signs_MK: Floats, offset_frames: int, payload: int | None) -> list[MarkSegment]:
    """Return the spans of the whole audio that show `signs_MK` at the offset, in time order."""
    phase = -offset_frames % TILE_FRAMES
    rows_NK = features_FK[phase::TILE_FRAMES]
    period_row = ((offset_frames + phase) // TILE_FRAMES + np.arange(len(rows_NK))) % PERIOD_TILES
    signs_NK = signs_MK[period_row]
    agreement_N = (rows_NK * signs_NK).sum(axis=1, dtype=np.float64)
    energy_N = (rows_NK**2 * (signs_NK != 0)).sum(axis=1, dtype=np.float64)
    level = _typical_level(agreement_N)

    def z_score(first: int, end: int) -> float:
        return float(agreement_N[first:end].sum() / math.sqrt(energy_N[first:end].sum() + 1e-9))

    # Noise alone makes short stretches too: those are dropped before gaps between the others are closed.
    strong = [s for s in _maximal_stretches(agreement_N - level / 2) if z_score(*s) >= _MIN_Z]
    start_s = phase / TILE_FRAMES * _TILE_S
    return [
        MarkSegment(start_s + first * _TILE_S, start_s + end * _TILE_S, z_score(first, end), payload)
        for first, end in _join(strong)
    ]


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


def _typical_level(agreement_N: npt.NDArray[np.float64]) -> float:
    """Return the mean agreement in the best two seconds: what a marked row gains."""
    width = min(len(agreement_N), round(2.0 / _TILE_S))
    sums = np.cumsum(np.concatenate([[0.0], agreement_N]))
    return max(0.0, float((sums[width:] - sums[:-width]).max() / width))


def _maximal_stretches(gain_N: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return all maximal scoring stretches as (first, end)."""
    stack: list[tuple[int, int, float, float]] = []  # first, end, total before it, total after it
    total = 0.0
    for n, gain in enumerate(gain_N):
        before, total = total, total + float(gain)
        if gain <= 0:
            continue
        first, left = n, before
        while True:
            j = len(stack) - 1
            while j >= 0 and stack[j][2] >= left:
                j -= 1
            if j < 0 or stack[j][3] >= total:
                break
            first, left = stack[j][0], stack[j][2]
            del stack[j:]
        stack.append((first, n + 1, left, total))
    return [(first, end) for first, end, _, _ in stack]


def _join(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join stretches with a short gap between them."""
    joined: list[tuple[int, int]] = []
    for first, end in stretches:
        if joined and (first - joined[-1][1]) * _TILE_S < _JOIN_S:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined
