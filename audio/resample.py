"""Change the sample rate of a waveform: polyphase FIR, linear phase, zero delay.

Output sample m sits at time m / to_hz on the same clock as input sample n at n / from_hz.
Length: ceil(T * to_hz / from_hz). Dimension key: C channels, T samples.

Source: F. J. Harris, "Multirate Signal Processing", 2004, ch. 7 (polyphase); Kaiser window design.
Not covered: streaming; the filter looks `HALF_LENGTH` periods of the slower rate ahead.
"""

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

HALF_LENGTH = 16
"""Taps on each side of the centre, in samples of the slower rate: transition about 8 % of its Nyquist."""

KAISER_BETA = 8.0
"""Stop band below -80 dB (Kaiser's formula gives 82 dB)."""


def resample(wav: NDArray[np.floating], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Resample the last axis.

    Args: wav float [..., T], any scale; from_hz, to_hz positive integers.
    Returns float32 [..., ceil(T * to_hz / from_hz)], aligned in time with the input; a copy even when the
    rates are equal. Raises ValueError for rates that are not positive. Peaks may grow a little (ringing).
    """
    if from_hz <= 0 or to_hz <= 0:
        raise ValueError(f"sample rates must be positive, got {from_hz} and {to_hz}")
    wav_f32 = np.array(wav, dtype=np.float32)
    if from_hz == to_hz or wav_f32.shape[-1] == 0:
        return wav_f32
    from scipy.signal import resample_poly  # 0.9 s to import, which only who resamples should wait for

    divisor = gcd(from_hz, to_hz)
    up, down = to_hz // divisor, from_hz // divisor
    taps = _low_pass(max(up, down))
    out = resample_poly(wav_f32, up, down, axis=-1, window=taps)  # type: ignore[call-overload]  # takes taps
    return np.asarray(out, dtype=np.float32)


@lru_cache(maxsize=16)
def _low_pass(ratio: int) -> NDArray[np.float32]:
    """Taps at the common rate: unity gain (resample_poly scales by `up`), -6 dB at the lower Nyquist."""
    from scipy.signal import firwin

    taps = firwin(2 * HALF_LENGTH * ratio + 1, 1.0 / ratio, window=("kaiser", KAISER_BETA))
    return np.asarray(taps, dtype=np.float32)
