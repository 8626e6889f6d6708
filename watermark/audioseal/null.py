"""How often speech without the mark scores as high: the null distribution of a weights file.

    p(s) = 1 for scores as most unmarked pieces have them; the measured share between; above the score that
           a twentieth of them pass, 2 * exp(-(s - border) / spread) / 20, and never below 1e-6

Fitted on pieces of real speech of `PIECE_SAMPLES`, each of which is one score. The factor of 2 keeps the
claim on the safe side of a fit to few pieces.
Source: exponential excesses over a high threshold, Pickands, 1975. Not covered: sounds other than speech.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIECE_SAMPLES = 120_000  # 5 s: a span of sound that is judged as one
MIN_NEGATIVES = 100
TAIL = 0.05
_MARGIN = 2.0
_FLOOR = 1e-6
_LEVELS = 20


@dataclass(frozen=True)
class Null:
    """`quantiles[i]` is passed by (i + 1) / 20 of the unmarked pieces; they fall. `spread` is of the tail."""

    num_negatives: int
    quantiles: tuple[float, ...]
    spread: float

    def false_alarm_probability(self, score: float) -> float:
        """The share of unmarked pieces that score at least so high, in [1e-6, 1]."""
        border = self.quantiles[0]
        if score >= border:
            tail = _MARGIN * TAIL * float(np.exp(-(score - border) / self.spread))
            return min(max(tail, _FLOOR), _MARGIN * TAIL)
        passed = sum(score < quantile for quantile in self.quantiles)
        return min(1.0, max(_MARGIN * TAIL, (passed + 1) / _LEVELS))

    def threshold(self, probability: float) -> float:
        """The score at which the false-alarm probability has fallen to this; infinite below the floor."""
        if probability < _FLOOR:
            return float("inf")
        return self.quantiles[0] + self.spread * float(np.log(_MARGIN * TAIL / min(probability, _MARGIN * TAIL)))


def fit(scores_N: NDArray[np.float64]) -> Null:
    """The null of these unmarked pieces' scores. Raises ValueError for fewer than 100."""
    if len(scores_N) < MIN_NEGATIVES:
        raise ValueError(f"{len(scores_N)} pieces of 5 s are too few to calibrate on: {MIN_NEGATIVES} are needed")
    levels = 1.0 - np.arange(1, _LEVELS) / _LEVELS
    quantiles = tuple(float(score) for score in np.quantile(scores_N, levels))
    excess = scores_N[scores_N > quantiles[0]] - quantiles[0]
    return Null(len(scores_N), quantiles, float(excess.mean()))
