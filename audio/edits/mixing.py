"""Additive noise, rooms and echoes, and the denoiser that tries to undo them.

SNR is the mean power of the whole clip over the mean power of the noise, pauses included.
Dimension key: T samples at 24 kHz, mono; every output has the input's length and alignment.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.signal import fftconvolve, istft, stft

from audio.rates import SAMPLE_RATE_HZ

Wav = NDArray[np.float32]


def white_noise(wav_T: Wav, rng: np.random.Generator, *, snr_db: float) -> Wav:
    """Gaussian white noise."""
    return _add(wav_T, rng.standard_normal(len(wav_T)), snr_db)


def pink_noise(wav_T: Wav, rng: np.random.Generator, *, snr_db: float) -> Wav:
    """Noise whose power falls by 3 dB an octave."""
    hz = np.fft.rfftfreq(len(wav_T), 1 / SAMPLE_RATE_HZ)
    return _add(wav_T, _shaped(rng, len(wav_T), 1 / np.sqrt(np.maximum(hz, 20.0))), snr_db)


def babble(wav_T: Wav, rng: np.random.Generator, *, snr_db: float, talkers: int = 6) -> Wav:
    """Several artificial talkers: speech-shaped noise, each with its own rhythm of syllables.

    The long-term spectrum of speech is taken as flat to 500 Hz and falling by 9 dB an octave above; the
    rhythm is noise below 4 Hz. For recorded babble use `background`.
    """
    num_samples = len(wav_T)
    hz = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE_HZ)
    spectrum = np.where(hz < 80, 0.0, (1 + (hz / 500.0) ** 2) ** -0.75)
    rhythm = (hz < 4.0).astype(np.float64)
    voices = []
    for _ in range(talkers):
        swell_T = _shaped(rng, num_samples, rhythm)
        swell_T = np.exp((swell_T - swell_T.mean()) / max(float(swell_T.std()), 1e-9))
        voices.append(_shaped(rng, num_samples, spectrum) * swell_T)
    return _add(wav_T, np.sum(voices, axis=0), snr_db)


def background(wav_T: Wav, rng: np.random.Generator, *, noise_T: Wav, snr_db: float) -> Wav:
    """A recording of noise from a random place, repeated when it is shorter than the clip."""
    start = int(rng.integers(len(noise_T)))
    indices = (start + np.arange(len(wav_T))) % len(noise_T)
    return _add(wav_T, noise_T[indices].astype(np.float64), snr_db)


def reverb(wav_T: Wav, *, impulse_response_T: Wav) -> Wav:
    """Convolve with a room, aligned on the response's largest tap and scaled to keep the clip's power."""
    direct = int(np.abs(impulse_response_T).argmax())
    wet_T = fftconvolve(wav_T.astype(np.float64), impulse_response_T)[direct : direct + len(wav_T)]
    scale = math.sqrt(_power(wav_T) / max(_power(wet_T), 1e-20))
    return (wet_T * scale).astype(np.float32)


def simulated_reverb(wav_T: Wav, rng: np.random.Generator, *, rt60_s: float, drr_db: float) -> Wav:
    """A room as direct sound plus exponentially decaying noise: -60 dB after `rt60_s`, tail energy by DRR."""
    time_s = np.arange(1, int(rt60_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail_T = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / rt60_s)
    tail_T *= 10 ** (-drr_db / 20) / np.sqrt(np.sum(tail_T**2))
    return reverb(wav_T, impulse_response_T=np.concatenate([[1.0], tail_T]).astype(np.float32))


def echo(wav_T: Wav, *, volume: float, delay_ms: float) -> Wav:
    """One repetition at `volume` times the amplitude, `delay_ms` later."""
    delay_samples = round(delay_ms * SAMPLE_RATE_HZ / 1000)
    out_T = wav_T.copy()
    if delay_samples < len(wav_T):
        out_T[delay_samples:] += volume * wav_T[: len(wav_T) - delay_samples]
    return out_T


def denoise(wav_T: Wav, *, reduction_db: float) -> Wav:
    """Spectral gating: bins near their own noise floor are turned down by up to `reduction_db`.

    The floor of a band is the 15 % quantile of its magnitude; a bin is speech when it is 8 dB above it, and
    the mask is smoothed over 3 bands and 5 frames against musical noise.
    """
    window = 512
    if len(wav_T) < window:
        return wav_T.copy()
    _, _, spec_FT = stft(wav_T, nperseg=window, noverlap=window * 3 // 4)
    magnitude_FT = np.abs(spec_FT)
    floor_F1 = np.quantile(magnitude_FT, 0.15, axis=1, keepdims=True)
    is_speech_FT = (magnitude_FT > floor_F1 * 10 ** (8 / 20)).astype(np.float64)
    mask_FT = uniform_filter(is_speech_FT, size=(3, 5))
    gain_FT = 10 ** (-reduction_db / 20 * (1 - mask_FT))
    _, out_T = istft(spec_FT * gain_FT, nperseg=window, noverlap=window * 3 // 4)
    return np.asarray(out_T[: len(wav_T)], dtype=np.float32)


def _add(wav_T: Wav, noise_T: NDArray[np.float64], snr_db: float) -> Wav:
    wanted_power = _power(wav_T) / 10 ** (snr_db / 10)
    scale = math.sqrt(wanted_power / max(_power(noise_T), 1e-20))
    return (wav_T + scale * noise_T).astype(np.float32)


def _shaped(
    rng: np.random.Generator, num_samples: int, magnitude: NDArray[np.float64]
) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(rng.standard_normal(num_samples)) * magnitude
    return np.asarray(np.fft.irfft(spectrum, num_samples), dtype=np.float64)


def _power(wav_T: NDArray[np.floating]) -> float:
    return float(np.mean(np.square(wav_T, dtype=np.float64)))
