"""Line a query up with registered windows: votes for an offset, then an exact score along the diagonal.

    (1) a hit (query row j, window n) votes for the line R n = o + s j, for every speed s of a list: as many
        as differ by a row over the query's length
    (2) the lines with most votes are scored exactly from the stored codes: c_n = cos(window n, nearest row)
    (3) the likeness of a line is the best sum of gains g(c_n) over consecutive windows; its ends are the
        match
    (4) the offset is where a parabola through the cosines beside the rows has its top

(3) is the local alignment without gaps of Smith and Waterman, so a query that is only partly ours gives its
part. How little chance explains it, the signs under the line tell as well (registry/detail.py): a voice that
says a phrase again is as like itself as a damaged copy. Windows are 0.48 s apart; rows 0.12 s, four to a
window, or in short queries 0.06 s, eight to a window.

Dimension key: R rows to a window, N windows of one generation, J query rows, D embedding width, H hits.
Source: Chang et al. 2021 (arXiv 2010.11910), sec. 3, for the votes; Karlin and Altschul 1990 for the score;
differs: speeds, spans, silent windows. Not covered: speed outside 0.9 to 1.1; cuts inside one span (each
piece is a match).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

ROWS_PER_WINDOW = 4
# A window below speaks against the match. Chosen on validation speakers (docs/LOG.md, 2026-11-25); was 0.45.
NEUTRAL_COSINE = 0.5
_HIGHEST_COSINE = 0.97  # untouched copies on the grid come this close; beyond it the logarithm has no bound
_SLOPE_BELOW = 2.0
# A run ends where its sum has fallen by this: two windows of something else, a second. Without it a clean
# copy would reach over seconds of other speech to its next part.
_MAX_FALL = 2.0
MAX_SPEED_CHANGE = 0.1
_FINEST_SPEED_STEP = 0.02
_SHIFTS = (0.0, -0.5, 0.5, -1.0, 1.0)  # rows; finer than the votes
_SPEED_STEPS = (0.0, -0.01, 0.01)
# V variants of a line, scored side by side: each shift at each speed.
_SPEED_STEPS_V1 = np.repeat(_SPEED_STEPS, len(_SHIFTS))[:, None]
_SHIFTS_V1 = np.tile(_SHIFTS, len(_SPEED_STEPS))[:, None]
_OFFSET_BIAS = 1 << 31  # makes every offset a positive number below 2**32


@dataclass(frozen=True)
class Hit:
    """Parallel arrays [H]: which registered window each query row found, and how close."""

    rows_H: NDArray[np.int64]
    ordinals_H: NDArray[np.int64]
    windows_H: NDArray[np.int64]
    cosines_H: NDArray[np.float32]


@dataclass(frozen=True)
class Line:
    """Window n of a generation lies at query row (rows_per_window n - offset_rows) / speed."""

    ordinal: int
    offset_rows: float
    speed: float
    rows_per_window: int = ROWS_PER_WINDOW

    def row_of(self, window: float) -> float:
        return (self.rows_per_window * window - self.offset_rows) / self.speed


@dataclass(frozen=True)
class Alignment:
    """The best stretch on a line: windows first to last, and their summed gains."""

    line: Line
    likeness: float
    first_window: int
    last_window: int

    @property
    def rows(self) -> tuple[float, float]:
        """The query rows at which the first and the last window begin."""
        return self.line.row_of(self.first_window), self.line.row_of(self.last_window)


def vote(
    hits: Hit, limit: int, limit_per_generation: int = 3, rows_per_window: int = ROWS_PER_WINDOW
) -> list[Line]:
    """The lines with the most votes, best first (1).

    A hit votes with its cosine above neutral, and with half of that for the offsets beside.
    """
    strong = np.flatnonzero((hits.ordinals_H >= 0) & (hits.cosines_H > NEUTRAL_COSINE))
    if not len(strong):
        return []
    weight_H = gain(hits.cosines_H[strong])
    rows_H, windows_H, first_key_H = (
        hits.rows_H[strong],
        hits.windows_H[strong],
        hits.ordinals_H[strong] << 32,
    )
    tried = speeds(int(np.ptp(rows_H)))
    votes, keys = [], []
    for speed in tried:
        place_H = rows_per_window * windows_H - speed * rows_H
        key_H = first_key_H + (np.rint(place_H).astype(np.int64) + _OFFSET_BIAS)
        lines, inverse = np.unique(np.concatenate([key_H - 1, key_H, key_H + 1]), return_inverse=True)
        of_speed = np.bincount(inverse, weights=np.concatenate([0.5 * weight_H, weight_H, 0.5 * weight_H]))
        best = np.argsort(-of_speed)[: 3 * limit]
        votes.append(of_speed[best])
        keys.append(lines[best])
    speed_C = np.repeat(tried, [len(one) for one in keys])
    key_C = np.concatenate(keys)
    chosen: list[Line] = []
    for c in np.argsort(-np.concatenate(votes), kind="stable"):
        ordinal, offset = int(key_C[c]) >> 32, float(int(key_C[c]) % (1 << 32) - _OFFSET_BIAS)
        speed = float(speed_C[c])
        same = [other for other in chosen if other.ordinal == ordinal]
        # Neighbouring offsets and speeds are the same line; (2) looks around it anyway.
        near = any(abs(o.offset_rows - offset) <= 2 and abs(o.speed - speed) < 0.03 for o in same)
        if not near and len(same) < limit_per_generation:
            chosen.append(Line(ordinal, offset, speed, rows_per_window))
        if len(chosen) == limit:
            break
    return chosen


def gain(cosines: NDArray[np.floating]) -> NDArray[np.float64]:
    """What windows of these cosines say for a match.

        g(c) = log((1 - 0.5^2) / (1 - c^2)) from 0.5 on, 2 (c - 0.5) below

    On a sphere of d dimensions a stranger is closer than c with a probability that falls as (1 - c^2)^(d/2):
    this is the logarithm of how rare a cosine is, up to a factor. A straight line calls two windows of 0.7 as
    rare as one of 0.9.
    """
    above = np.clip(cosines, NEUTRAL_COSINE, _HIGHEST_COSINE).astype(np.float64)
    rarity = np.log((1.0 - NEUTRAL_COSINE**2) / (1.0 - above**2))
    return np.asarray(rarity + _SLOPE_BELOW * np.minimum(cosines - NEUTRAL_COSINE, 0.0))


def speeds(num_rows: int) -> list[float]:
    """From 0.9 to 1.1 around 1, so far apart that lines of this many rows differ by a row at their ends."""
    step = max(_FINEST_SPEED_STEP, 1.0 / max(num_rows, 1))
    count = int(MAX_SPEED_CHANGE / step + 1e-9)
    return [1.0 + step * k for k in range(-count, count + 1)]


def score(
    line: Line,
    emb_JD: NDArray[np.float32],
    informative_J: NDArray[np.bool_],
    unit_ND: NDArray[np.float32],
    informative_N: NDArray[np.bool_],
) -> Alignment | None:
    """The best stretch on the line or just beside it (2) (3); None when no window speaks for it."""
    J, _ = emb_JD.shape
    N, _ = unit_ND.shape
    grid = line.rows_per_window
    reach = np.array([line.offset_rows, line.offset_rows + line.speed * (J - 1)]) / grid
    first, last = max(0, int(reach[0]) - 1), min(N, int(reach[1]) + 3)
    if first >= last:
        return None
    speed_V1, offset_V1 = line.speed + _SPEED_STEPS_V1, line.offset_rows + _SHIFTS_V1
    windows_N = np.arange(first, last)
    rows_VN = np.rint((grid * windows_N - offset_V1) / speed_V1).astype(np.int64)
    inside_VN = (rows_VN >= 0) & (rows_VN < J)
    rows_VN = np.where(inside_VN, rows_VN, 0)
    cosines_NJ = unit_ND[first:last] @ emb_JD.T
    cosines_VN = cosines_NJ[windows_N - first, rows_VN]
    counted_VN = inside_VN & informative_N[first:last] & informative_J[rows_VN]
    gains_VN = np.where(counted_VN, gain(cosines_VN), 0.0)
    v = int(np.argmax(best_sums(gains_VN)))
    begin, end, total = _unbroken(gains_VN[v].tolist())
    if total <= 0.0:
        return None
    # A stretch begins and ends with a gain, so its ends are counted windows.
    counted = begin + np.flatnonzero(counted_VN[v, begin:end])
    chosen = Line(line.ordinal, float(offset_V1[v, 0]), float(speed_V1[v, 0]), grid)
    moved = _refined(chosen, cosines_NJ[counted], counted + first, rows_VN[v, counted])
    return Alignment(moved, total, first + begin, first + end - 1)


def _unbroken(gains: list[float]) -> tuple[int, int, float]:
    """(begin, end, sum) of the best run that rises without ever falling by more than `_MAX_FALL`."""
    winner = (0, 0, 0.0)
    n = 0
    while n < len(gains):
        begin, end, total, best = n, n, 0.0, 0.0
        while n < len(gains) and total >= 0.0 and best - total <= _MAX_FALL:
            total += gains[n]
            n += 1
            if total > best:
                end, best = n, total
        if best > winner[2]:
            while gains[begin] == 0.0:  # silence that leads a run is not of it
                begin += 1
            winner = (begin, end, best)
        n = max(end, begin + 1)  # what fell may rise again
    return winner


def _refined(
    line: Line, cosines_KJ: NDArray[np.float32], windows_K: NDArray[np.int64], rows_K: NDArray[np.int64]
) -> Line:
    """The line with the offset at which the cosines of its K windows would be highest (4)."""
    J = cosines_KJ.shape[1]
    inner = np.flatnonzero((rows_K > 0) & (rows_K < J - 1))
    if not len(inner):
        return line
    before, at, after = (float(cosines_KJ[inner, rows_K[inner] + step].mean()) for step in (-1, 0, 1))
    bend = before - 2.0 * at + after
    if bend >= 0.0:  # no top in sight
        return line
    top = min(0.75, max(-0.75, 0.5 * (before - after) / bend))
    exact_K = (line.rows_per_window * windows_K[inner] - line.offset_rows) / line.speed
    later = float((rows_K[inner] - exact_K).mean()) + top
    return replace(line, offset_rows=line.offset_rows - later * line.speed)


def best_sums(gains_VN: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the largest sum of a run of consecutive gains [V]; of one at least, so N is 1 or more."""
    V, _ = gains_VN.shape
    sums_VN = np.zeros((V, gains_VN.shape[1] + 1))
    np.cumsum(gains_VN, axis=1, out=sums_VN[:, 1:])
    rise_VN = sums_VN[:, 1:] - np.minimum.accumulate(sums_VN[:, :-1], axis=1)
    return np.asarray(rise_VN.max(axis=1))
