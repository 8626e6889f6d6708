"""Do the signs under an alignment agree: is it this very sound, and where exactly.

    patch p begins f_p = 32 n + 14 + 4 k frames into the generation, in the query at (f_p - begin) / speed
    score = sum over patches of <signs, values> / |values|, the best of begins within 0.12 s of the
    alignment's, in steps of 7.5 ms, and of five speeds; then once more around it with finer speeds

Under chance the score has mean 0 and a spread of about 2 (neighbouring patches overlap). How rare a score is
says the null (registry/null.py), figures are in docs/LOG.md, 2026-11-27.

Dimension key: P patches of the span, Q half frames of the query, K signs, N windows, B bytes of a window's
signs, S speeds, V begins. Source: registry/fingerprint/subprints.py. Not covered: cuts inside a span.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.fingerprint.features import FRAME_HOP_SAMPLES, SAMPLE_RATE_HZ
from registry.fingerprint.subprints import (
    FIRST_FRAME,
    HOP_FRAMES,
    NUM_PATCHES,
    PHASES,
    STEP_FRAMES,
)

FRAME_S = FRAME_HOP_SAMPLES / SAMPLE_RATE_HZ
MIN_PATCHES = 6  # 0.36 s; fewer say nothing
_REACH_FRAMES = 8  # 0.12 s: what an alignment's offset may be off
_DRIFT_FRAMES = 3.0  # over the span, from one speed to the next
_SPEEDS = np.array([0.0, -1.0, 1.0, -2.0, 2.0])
_FINER = 5.0
_PATCH_FRAMES = FIRST_FRAME + STEP_FRAMES * np.arange(NUM_PATCHES)


class Place(NamedTuple):
    """The query's beginning lies at the generation's second `begin_s`, which plays `speed` times as fast."""

    begin_s: float
    speed: float

    def second_of(self, query_s: float) -> float:
        """The generation's second at which one of the query lies."""
        return self.begin_s + self.speed * query_s


class Agreement(NamedTuple):
    """How well the signs agree at the best place."""

    score: float
    place: Place


def agreement(
    around: Place,
    span_s: tuple[float, float],
    values_QK: NDArray[np.float32],
    signs_NB: NDArray[np.uint8],
    informative_N: NDArray[np.bool_],
) -> Agreement | None:
    """Of the query's seconds `span_s`, around that place; None when there are too few patches to tell.

    About 0.3 ms for a span of 5 s.
    """
    first, last = (int((around.second_of(s) / FRAME_S - FIRST_FRAME) // HOP_FRAMES) for s in span_s)
    windows = np.arange(max(0, first), min(len(signs_NB), last + 1))
    windows = windows[informative_N[windows]]
    if len(windows) * NUM_PATCHES < MIN_PATCHES or not len(values_QK):
        return None
    frame_P = (HOP_FRAMES * windows[:, None] + _PATCH_FRAMES).ravel()
    bit_PK = np.unpackbits(signs_NB[windows], axis=1).reshape(-1, values_QK.shape[1])
    sign_PK = 2.0 * bit_PK.astype(np.float32) - 1.0
    heard = _Heard(sign_PK @ values_QK.T, np.square(values_QK).sum(axis=1), frame_P, span_s)
    begins_V = np.arange(-_REACH_FRAMES, _REACH_FRAMES + 0.25, 1.0 / PHASES)
    coarse = heard.best(around, begins_V, _SPEEDS)
    if coarse is None:
        return None
    return heard.best(coarse.place, begins_V[np.abs(begins_V) <= 1.0], _SPEEDS / _FINER)


class _Heard(NamedTuple):
    product_PQ: NDArray[np.floating]  # signs times values
    power_Q: NDArray[np.floating]
    frame_P: NDArray[np.int64]  # of the generation, where the patches begin
    span_s: tuple[float, float]

    def best(
        self, around: Place, begins_V: NDArray[np.float64], drifts_S: NDArray[np.float64]
    ) -> Agreement | None:
        P, Q = self.product_PQ.shape
        start, end = (second / FRAME_S for second in self.span_s)
        speed_S1 = around.speed * (1.0 + drifts_S[:, None] * _DRIFT_FRAMES / max(end - start, 1.0))
        # Another speed turns the line around the middle of the span.
        middle = (start + end) / 2.0
        begin_SV = around.begin_s / FRAME_S + begins_V + (around.speed - speed_S1) * middle
        row_SVP = np.rint(PHASES * (self.frame_P - begin_SV[..., None]) / speed_S1[..., None]).astype(
            np.int64
        )
        inside_SVP = (row_SVP >= max(0.0, PHASES * (start - 1))) & (row_SVP < min(Q, PHASES * end))
        row_SVP = np.where(inside_SVP, row_SVP, 0)
        power_SVP = np.where(inside_SVP, self.power_Q[row_SVP], 0.0)
        sum_SV = np.where(inside_SVP, self.product_PQ[np.arange(P), row_SVP], 0.0).sum(axis=2)
        num_SV = (power_SVP > 0.0).sum(axis=2)
        norm_SV = np.sqrt(np.maximum(power_SVP.sum(axis=2), 1e-12))
        score_SV = np.where(num_SV >= MIN_PATCHES, sum_SV / norm_SV, -np.inf)
        s, v = np.unravel_index(int(np.argmax(score_SV)), score_SV.shape)
        if not np.isfinite(score_SV[s, v]):
            return None
        place = Place(float(begin_SV[s, v]) * FRAME_S, float(speed_S1[s, 0]))
        return Agreement(float(score_SV[s, v]), place)
