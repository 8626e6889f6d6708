"""Find marks: the one detector that callers see, over the schemes behind it.

    result = Detector.load(key=key).detect(wav_T, sample_rate)

A detector never says who issued the audio, only that a mark of this key stands there and what it carries;
a mark can be cut out and pasted elsewhere. Comparing it with the registry is the caller's next step.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audio import SAMPLE_RATE_HZ, resample
from watermark.errors import SignalError
from watermark.keyed.detect import KeyedDetector
from watermark.keys import Key
from watermark.result import Detection


class Detector:
    """Detects the keyed mark of one key. Safe to call from several threads."""

    name = "earmark-keyed"
    version = "2"
    weights_sha256: str | None = None  # the keyed scheme has no weights

    def __init__(self, key: Key) -> None:
        self._keyed = KeyedDetector(key)

    @classmethod
    def load(cls, *, key: Key) -> Detector:
        """Return the detector of this key."""
        return cls(key)

    def detect(self, wav_T: npt.NDArray[np.float32], sample_rate: int) -> Detection:
        """Return the evidence in `wav_T` (float32, mono, any rate; found or not, one type).

        Raises SignalError for samples that are not finite or not one-dimensional.
        """
        wav_T = np.asarray(wav_T, np.float32)
        if wav_T.ndim != 1 or not np.isfinite(wav_T).all():
            raise SignalError("audio to check is a one-dimensional array of finite samples")
        return self._keyed.detect(resample(wav_T, sample_rate, SAMPLE_RATE_HZ))
