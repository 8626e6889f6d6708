"""A few bits that two nearly equal recordings share: what the budget for near-duplicates counts by.

    bits[f, t] = sign of (E[f, t] - E[f+1, t]) - (E[f, t-1] - E[f+1, t-1])

E is the log energy in BANDS octave-like bands and SLICES equal slices of the audio. Noise, codecs and small
edits flip a few of the bits; another recording flips half of them. Source: Haitsma & Kalker, "A Highly Robust
Audio Fingerprinting System", 2002, sec. 4.2; differs: slices relative to the length, so that it costs 1 ms
and 32 bytes. Not covered: shifted, cropped or retimed copies; an attacker who pays with a new crop for
every query learns from other audio every time. T samples at 24 kHz."""

import numpy as np
from numpy.typing import NDArray

BANDS, SLICES = 9, 33
NUM_BITS = (BANDS - 1) * (SLICES - 1)
NEAR_BITS = 64
"""Of 256. Two random sketches are this near with p = 1e-16 (binomial); see tests/api/access/test_budget.py
for copies."""

_LOWEST_HZ, _HIGHEST_HZ, _RATE_HZ = 150.0, 8_000.0, 24_000
_FRAME = 1024


def sketch(wav_T: NDArray[np.float32]) -> int:
    """NUM_BITS bits as one number; 0 for audio shorter than SLICES frames of 43 ms."""
    num_frames = len(wav_T) // _FRAME
    if num_frames < SLICES:
        return 0
    frames = wav_T[: num_frames * _FRAME].reshape(num_frames, _FRAME) * np.hanning(_FRAME)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    edges_hz = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, BANDS + 1)
    edges = np.round(edges_hz * _FRAME / _RATE_HZ).astype(int)
    bands = np.add.reduceat(power, edges, axis=1)[:, :BANDS]
    starts = np.linspace(0, num_frames, SLICES, endpoint=False).astype(int)
    energy = np.log(np.add.reduceat(bands, starts, axis=0) + 1e-9)
    slope = energy[:, :-1] - energy[:, 1:]
    bits = (slope[1:] > slope[:-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def is_near(first: int, second: int) -> bool:
    """Two recordings that an ear would call the same."""
    return (first ^ second).bit_count() <= NEAR_BITS
