"""How chance scores of fingerprints are distributed: the p-value of a score, and the score of a p-value.

    E = K N exp(-lambda S),  p = 1 - exp(-E)     lambda, K: of the query's length; N: windows to compare with

Source: Karlin and Altschul 1990. Fitted by fingerprint/train/calibrate.py on speech that is not what it
is compared with. Not here: what a score is (alignment.py), what is accepted (matching.py).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from registry.errors import WeightsUnavailable
from registry.fingerprint.windows import WEIGHTS

MIN_PROBABILITY = 1e-9  # beyond what was checked the tail is extrapolated; below this nothing is claimed


@dataclass(frozen=True)
class Null:
    """How chance scores are distributed; of one network, since another spreads its embeddings otherwise.

    Parallel tuples: queries of `windows` registry windows have tails of `decays` and `log_ks`, and lengths
    between them what lies between.
    """

    windows: tuple[float, ...]  # ascending
    decays: tuple[float, ...]  # lambda, per unit of score
    log_ks: tuple[float, ...]
    num_negatives: int
    weights_sha256: str
    share_below_p: Mapping[str, float] = field(default_factory=dict)  # of real negatives, as measured

    @classmethod
    def load(cls, path: Path = WEIGHTS / "calibration.json") -> Self:
        """Raises WeightsUnavailable when the file is missing or damaged."""
        try:
            stored = json.loads(path.read_text())
            null = cls(**{name: stored[name] for name in cls.__dataclass_fields__})
            if not 0 < len(null.windows) == len(null.decays) == len(null.log_ks):
                raise ValueError("windows, decays and log_ks are not equally long")
            return null
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise WeightsUnavailable(f"no calibration at {path} ({exc}); reinstall earmark") from exc

    def false_alarm_probability(self, score: float, query_windows: float, num_windows: float) -> float:
        """p of a best score at least this high, over all places of a query among `num_windows`."""
        decay, log_k = self.tail(query_windows)
        log_e = log_k + math.log(max(num_windows, 1)) - decay * score
        return max(MIN_PROBABILITY, -math.expm1(-math.exp(min(log_e, 700.0))))

    def threshold(self, probability: float, query_windows: float, num_windows: float) -> float:
        """The score at which `false_alarm_probability` is `probability`."""
        decay, log_k = self.tail(query_windows)
        log_e = math.log(-math.log1p(-probability))
        return (log_k + math.log(max(num_windows, 1)) - log_e) / decay

    def tail(self, query_windows: float) -> tuple[float, float]:
        """lambda and log K of queries of this length."""
        at, known = math.log(max(query_windows, 0.25)), np.log(self.windows)
        return float(np.interp(at, known, self.decays)), float(np.interp(at, known, self.log_ks))
