"""Find marks: the one detector that callers see, over the schemes behind it.

    detector = Detector.load(key=key, public_weights=None)    # a path: the public mark, too
    result = detector.detect(wav_T, sample_rate)              # the keyed mark
    shown = detector.public.detect(wav_T, sample_rate)        # the public one; None without weights

A detector never says who issued the audio, only that a mark of this key stands there and what it carries;
a mark can be cut out and pasted elsewhere. Comparing it with the registry is the caller's next step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audio import SAMPLE_RATE_HZ, resample
from watermark.errors import SignalError
from watermark.keyed.detect import KeyedDetector
from watermark.keyed.reader import shipped
from watermark.keys import Key
from watermark.result import Detection

if TYPE_CHECKING:
    from watermark.audioseal.detect import PublicDetector
    from watermark.audioseal.weights import PublicWeights


class Detector:
    """Detects the keyed mark of one key. Safe to call from several threads."""

    name = "earmark-keyed"
    version = "3"

    def __init__(self, key: Key, public: PublicWeights | None = None) -> None:
        self._keyed = KeyedDetector(key)
        self.weights_sha256 = shipped().sha256  # of the reader
        self.issuer = key.issuer  # what a public mark of this operator says
        self.public: PublicDetector | None = None
        if public is not None:
            from watermark.audioseal.detect import PublicDetector

            self.public = PublicDetector(public)

    @classmethod
    def load(cls, *, key: Key, public_weights: Path | None = None) -> Detector:
        """Return the detector of this key, and of the public mark in this file. Raises WeightsError."""
        return cls(key, load_public(public_weights))

    def detect(self, wav_T: npt.NDArray[np.float32], sample_rate: int) -> Detection:
        """Return the evidence in `wav_T` (float32, mono, any rate; found or not, one type).

        Raises SignalError for samples that are not finite or not one-dimensional.
        """
        return self._keyed.detect(_checked(wav_T, sample_rate))

    def marked_off(
        self,
        wav_T: npt.NDArray[np.float32],
        sample_rate: int,
        found: Detection,
        content_ids: Mapping[int, int],
    ) -> Detection:
        """Return what `detect` found in this audio, with the spans of unread marks as their codewords show
        them: a pilot is less than half of what is known of a mark once it is recognised.

        `content_ids`: of marks that were recognised (watermark.issued), by their place in `found.unread`.
        Raises SignalError as `detect` does.
        """
        return self._keyed.marked_off(_checked(wav_T, sample_rate), found, content_ids)


def _checked(wav_T: npt.NDArray[np.float32], sample_rate: int) -> npt.NDArray[np.float32]:
    """Return the audio at 24 kHz."""
    wav_T = np.asarray(wav_T, np.float32)
    if wav_T.ndim != 1 or not np.isfinite(wav_T).all():
        raise SignalError("audio to check is a one-dimensional array of finite samples")
    return resample(wav_T, sample_rate, SAMPLE_RATE_HZ)


def load_public(path: Path | None) -> PublicWeights | None:
    """The weights of a public mark, for `Embedder` and `Detector` alike; None for none. Raises WeightsError.

    Imports torch and the `audioseal` package, which `import watermark` alone does not.
    """
    if path is None:
        return None
    from watermark.audioseal.weights import PublicWeights

    return PublicWeights.load(path)
