"""ViSQOL in audio mode at 48 kHz, by the package visqol-python with the model it brings.

Untouched audio scores 4.73. Two seconds of work for a clip of 10 s. Source: Chinen et al., 2020, "ViSQOL v3".
"""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, resample

_RATE_HZ = 48_000


class Visqol:
    """A judge, loaded once. Raises ModuleNotFoundError where `pip install 'earmark[bench]'` is missing."""

    def __init__(self) -> None:
        self._judge: Any = importlib.import_module("visqol").VisqolApi()
        self._judge.create(mode="audio")

    def score(self, before_T: NDArray[np.float32], after_T: NDArray[np.float32]) -> float:
        """How good the second is beside the first (both at 24 kHz): 1 to 4.73."""
        wide = [resample(wav, SAMPLE_RATE_HZ, _RATE_HZ).astype(np.float64) for wav in (before_T, after_T)]
        return float(self._judge.measure_from_arrays(*wide, _RATE_HZ).moslqo)
