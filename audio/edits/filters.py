"""Linear filters as attacks. Dimension key: T samples at 24 kHz, mono; every output has the input's length.

All are linear phase with their delay taken out, so no frequency moves in time (`smooth` of an even width:
half a sample).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve, firwin, firwin2

from audio.rates import SAMPLE_RATE_HZ
from audio.resample import resample

Wav = NDArray[np.float32]

NUM_TAPS = 1023
WINDOW = ("kaiser", 6.0)
"""About 90 Hz from pass to stop band at 24 kHz, -60 dB."""

BARK_EDGES_HZ = (
    20, 100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150, 3700, 4400,
    5300, 6400, 7700, 9500, 12000,
)  # fmt: skip
"""Critical bands up to 12 kHz. Source: E. Zwicker, "Subdivision of the audible frequency range", 1961."""


def resampled(wav_T: Wav, *, rate_hz: int) -> Wav:
    """Down (or up) to `rate_hz` and back: everything above half of it is gone."""
    there_T = resample(wav_T, SAMPLE_RATE_HZ, rate_hz)
    return resample(there_T, rate_hz, SAMPLE_RATE_HZ)[: len(wav_T)]


def low_pass(wav_T: Wav, *, cutoff_hz: float) -> Wav:
    """Keep what lies below `cutoff_hz` (-6 dB there)."""
    return _filtered(wav_T, firwin(NUM_TAPS, cutoff_hz, window=WINDOW, fs=SAMPLE_RATE_HZ))


def high_pass(wav_T: Wav, *, cutoff_hz: float) -> Wav:
    """Keep what lies above `cutoff_hz` (-6 dB there)."""
    return _filtered(wav_T, firwin(NUM_TAPS, cutoff_hz, pass_zero=False, window=WINDOW, fs=SAMPLE_RATE_HZ))


def band_pass(wav_T: Wav, *, low_hz: float, high_hz: float) -> Wav:
    """Keep what lies between the two (-6 dB at both); 300 to 3400 Hz is the telephone's band."""
    band = [low_hz, high_hz]
    return _filtered(wav_T, firwin(NUM_TAPS, band, pass_zero=False, window=WINDOW, fs=SAMPLE_RATE_HZ))


def equalise(wav_T: Wav, rng: np.random.Generator, *, log_gain: float) -> Wav:
    """Each critical band times exp(uniform(-log_gain, log_gain)), in linear phase."""
    gains = np.exp(rng.uniform(-log_gain, log_gain, len(BARK_EDGES_HZ)))
    return _filtered(wav_T, firwin2(NUM_TAPS, [0, *BARK_EDGES_HZ], [gains[0], *gains], fs=SAMPLE_RATE_HZ))


def smooth(wav_T: Wav, *, width_samples: int) -> Wav:
    """Moving average of `width_samples`, centred."""
    taps = np.full(width_samples, 1.0 / width_samples)
    return np.convolve(wav_T, taps, mode="full")[width_samples // 2 :][: len(wav_T)].astype(np.float32)


def _filtered(wav_T: Wav, taps: NDArray[np.floating]) -> Wav:
    delay_samples = NUM_TAPS // 2
    out_T = fftconvolve(wav_T, taps)[delay_samples : delay_samples + len(wav_T)]
    return np.asarray(out_T, dtype=np.float32)
