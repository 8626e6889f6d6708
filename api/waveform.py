"""The outline of a waveform: as many numbers as a page has pixels, so that nobody sends audio back to draw
it.

    outline[i] = max |wav_T| over the i-th of `num_peaks` equal spans, rounded to 1/1000

Works on what was judged (mono, 24 kHz), so spans of evidence and outline have one time axis. Not here:
drawing (`api/web/static/waveform.js`)."""

import numpy as np
from numpy.typing import NDArray

MAX_PEAKS = 2000
_DIGITS = 3


def outline(wav_T: NDArray[np.float32], num_peaks: int) -> list[float]:
    """At most `num_peaks` (1 to MAX_PEAKS) numbers in [0, 1]; fewer only when there are fewer samples. What
    is louder than full scale counts as 1."""
    (T,) = wav_T.shape
    num_peaks = min(num_peaks, T)
    starts = np.arange(num_peaks) * T // max(num_peaks, 1)
    if not num_peaks:
        return []
    peaks = np.maximum.reduceat(np.abs(wav_T), starts)
    return [round(float(peak), _DIGITS) for peak in np.minimum(peaks, 1.0)]
