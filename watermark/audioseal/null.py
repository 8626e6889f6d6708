"""How often speech without the mark scores as high: the null distribution of a weights file.

    p(s) = the measured share, up to the score that a twentieth of the unmarked pieces pass (the border);
           above it exp(-(s - border) / spread) / 20, and never below 1e-6

Fitted on pieces of real speech of `PIECE_SAMPLES`, each of which is one score. `spread` is the mean excess
over the border, raised by two of its standard errors: a fit to 25 excesses may be a third off.
Source: exponential excesses over a high threshold, Pickands, 1975. Not covered: sounds other than speech.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIECE_SAMPLES = 120_000  # 5 s: a span of sound that is judged as one
MIN_NEGATIVES = 100
TAIL = 0.05
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
            return max(TAIL * float(np.exp(-(score - border) / self.spread)), _FLOOR)
        passed = sum(score < quantile for quantile in self.quantiles)
        return (passed + 1) / _LEVELS

    def threshold(self, probability: float) -> float:
        """The score at which the false-alarm probability has fallen to this, which is at most 0.05; infinite
        below the floor."""
        if probability < _FLOOR:
            return float("inf")
        return self.quantiles[0] + self.spread * float(np.log(TAIL / probability))


def fit(scores_N: NDArray[np.float64]) -> Null:
    """The null of these unmarked pieces' scores. Raises ValueError for fewer than 100."""
    if len(scores_N) < MIN_NEGATIVES:
        raise ValueError(
            f"{len(scores_N)} pieces of 5 s are too few to calibrate on: {MIN_NEGATIVES} are needed"
        )
    levels = 1.0 - np.arange(1, _LEVELS) / _LEVELS
    quantiles = tuple(float(score) for score in np.quantile(scores_N, levels))
    excess = scores_N[scores_N > quantiles[0]] - quantiles[0]
    spread = float(excess.mean()) * (1.0 + 2.0 / math.sqrt(len(excess)))
    return Null(len(scores_N), quantiles, spread)
