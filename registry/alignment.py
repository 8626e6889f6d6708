"""Line a query up with registered windows: votes for an offset, then an exact score along the diagonal.

    (1) a hit (query row j, window n) votes for the line 4 n = o + s j, for every speed s of a short list
    (2) the lines with most votes are scored exactly from the stored codes: c_n = cos(window n, nearest row)
    (3) the score of a line is the best sum of (c_n - 0.45) over consecutive windows; its ends are the match

(3) is the local alignment without gaps of Smith and Waterman, so a query that is only partly ours gives its
part, and its null distribution is that of Karlin and Altschul (registry/matching.py). Rows are 0.12 s apart
and windows 0.48 s, hence the 4.

Dimension key: N windows of one generation, J query rows, D embedding width, H hits.
Source: Chang et al. 2021 (arXiv 2010.11910), sec. 3, for the votes; Karlin and Altschul 1990 for the score;
differs: speeds, spans, silent windows. Not covered: speed outside 0.94 to 1.06; cuts inside one span (each
piece is a match).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROWS_PER_WINDOW = 4
# A window below speaks against the match. Measured on validation speakers (docs/model-fingerprint.md): at
# 0.25 two utterances of one voice gain with every window, and the best negatives of 10 s score 3.0; at 0.45
# they score 1.0, as those of 3 s do.
NEUTRAL_COSINE = 0.45
SPEEDS = tuple(1.0 + percent / 100.0 for percent in (0, -2, 2, -4, 4, -6, 6))
_SHIFTS = (0.0, -0.5, 0.5, -1.0, 1.0)  # rows; finer than the votes
_SPEED_STEPS = (0.0, -0.01, 0.01)
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
    """Window n of a generation lies at query row (4 n - offset_rows) / speed."""

    ordinal: int
    offset_rows: float
    speed: float

    def row_of(self, window: float) -> float:
        return (ROWS_PER_WINDOW * window - self.offset_rows) / self.speed


@dataclass(frozen=True)
class Alignment:
    """The best stretch on a line: windows first to last, their summed score and mean cosine."""

    line: Line
    score: float
    first_window: int
    last_window: int
    mean_cosine: float


def vote(hits: Hit, limit: int, limit_per_generation: int = 3) -> list[Line]:
    """The lines with the most votes, best first (1).

    A hit votes with its cosine above neutral, and with half of that for the offsets beside.
    """
    strong = np.flatnonzero((hits.ordinals_H >= 0) & (hits.cosines_H > NEUTRAL_COSINE))
    if not len(strong):
        return []
    weight_H = hits.cosines_H[strong] - NEUTRAL_COSINE
    ranked: list[tuple[float, Line]] = []
    for speed in SPEEDS:
        place_H = ROWS_PER_WINDOW * hits.windows_H[strong] - speed * hits.rows_H[strong]
        offset_H = np.rint(place_H).astype(np.int64) + _OFFSET_BIAS
        keys = np.concatenate([(hits.ordinals_H[strong] << 32) + offset_H + step for step in (-1, 0, 1)])
        lines, inverse = np.unique(keys, return_inverse=True)
        votes = np.bincount(inverse, weights=np.concatenate([0.5 * weight_H, weight_H, 0.5 * weight_H]))
        for best in np.argsort(-votes)[: 3 * limit]:
            ordinal, offset = int(lines[best]) >> 32, int(lines[best]) % (1 << 32) - _OFFSET_BIAS
            ranked.append((float(votes[best]), Line(ordinal, float(offset), speed)))
    ranked.sort(key=lambda item: -item[0])
    chosen: list[Line] = []
    for _, line in ranked:
        same = [other for other in chosen if other.ordinal == line.ordinal]
        # Neighbouring offsets and speeds are the same line; (2) looks around it anyway.
        near = any(
            abs(o.offset_rows - line.offset_rows) <= 2 and abs(o.speed - line.speed) < 0.03 for o in same
        )
        if not near and len(same) < limit_per_generation:
            chosen.append(line)
        if len(chosen) == limit:
            break
    return chosen


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
    reach = np.array([line.offset_rows, line.offset_rows + line.speed * (J - 1)]) / ROWS_PER_WINDOW
    first, last = max(0, int(reach[0]) - 1), min(N, int(reach[1]) + 3)
    if first >= last:
        return None
    # V variants of the line, scored side by side.
    speed_V1 = np.repeat(line.speed + np.array(_SPEED_STEPS), len(_SHIFTS))[:, None]
    offset_V1 = np.tile(line.offset_rows + np.array(_SHIFTS), len(_SPEED_STEPS))[:, None]
    windows_N = np.arange(first, last)
    rows_VN = np.rint((ROWS_PER_WINDOW * windows_N - offset_V1) / speed_V1).astype(np.int64)
    inside_VN = (rows_VN >= 0) & (rows_VN < J)
    rows_VN = np.where(inside_VN, rows_VN, 0)
    cosines_VN = (unit_ND[first:last] @ emb_JD.T)[windows_N - first, rows_VN]
    counted_VN = inside_VN & informative_N[first:last] & informative_J[rows_VN]
    gains_VN = np.where(counted_VN, cosines_VN - NEUTRAL_COSINE, 0.0)
    begins, ends, sums = best_stretches(gains_VN)
    v = int(np.argmax(sums))
    if sums[v] <= 0.0:
        return None
    stretch = slice(int(begins[v]), int(ends[v]))
    moved = Line(line.ordinal, float(offset_V1[v, 0]), float(speed_V1[v, 0]))
    # The stretch begins and ends with a gain, so its ends are counted windows.
    mean = float(cosines_VN[v, stretch][counted_VN[v, stretch]].mean())
    return Alignment(moved, float(sums[v]), first + stretch.start, first + stretch.stop - 1, mean)


def best_stretches(
    gains_VN: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """For each row the run of consecutive gains with the largest sum: begins [V], ends [V] (exclusive), sums
    [V].

    Of equal sums the shortest run that ends first is taken. N must be at least 1.
    """
    V, _ = gains_VN.shape
    sums_VN = np.concatenate([np.zeros((V, 1)), np.cumsum(gains_VN, axis=1)], axis=1)
    lowest_VN = np.minimum.accumulate(sums_VN[:, :-1], axis=1)
    rise_VN = sums_VN[:, 1:] - lowest_VN
    last_V = np.argmax(rise_VN, axis=1)
    chosen = np.arange(V)
    # The latest place where the running minimum was reached, so that no zero gain leads the run.
    reached_VN = (sums_VN[:, :-1] <= lowest_VN[chosen, last_V][:, None]) & (
        np.arange(gains_VN.shape[1]) <= last_V[:, None]
    )
    begins_V = gains_VN.shape[1] - 1 - np.argmax(reached_VN[:, ::-1], axis=1)
    return begins_V, last_V + 1, rise_VN[chosen, last_V]
