"""Signal processing that turns a neutral recording into one of a style: rate, pitch, whisper, level.

`stretch` is WSOLA: W. Verhelst and M. Roelands, 1993, "An overlap-add technique based on waveform
similarity"; `whisper` drives the all-pole filter of linear prediction (J. Makhoul, 1975) with noise.
Dimension key: T samples at 24 kHz, S frames, O order. Not covered: pitch without the formants, which
`transpose` moves with it, as resampling does.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, resample
from audio.store import Wav

_FRAME = 1024  # 43 ms: two periods of the lowest voice here
_HOP = _FRAME // 2
_SEARCH = 360  # 15 ms each way: one period of a voice at 67 Hz
_ORDER = 26  # 24 kHz: one pole pair for each kHz, and one more
_RATE_STEPS = 100  # pitch factors are rounded to 1 %, for small resampling ratios
_ACTIVE_DB = -35.0  # frames within this of the loudest are speech
_CEILING = 0.98


def stretch(wav_T: Wav, rate: float) -> Wav:
    """Speak `rate` times as fast, 0.4 to 2.5, at the same pitch. Time t goes to t / rate within 15 ms."""
    if rate == 1.0 or len(wav_T) < 2 * _FRAME:
        return wav_T
    length = round(len(wav_T) / rate)
    num_frames = length // _HOP + 1
    padded_T = np.pad(wav_T, (_FRAME, 2 * _FRAME + _SEARCH + _HOP))
    window = np.hanning(_FRAME + 1)[:-1].astype(np.float32)
    out_T = np.zeros(num_frames * _HOP + _FRAME, np.float32)
    wanted = padded_T[_FRAME - _HOP : 2 * _FRAME - _HOP]
    for frame in range(num_frames):
        centre = min(round(frame * _HOP * rate), len(wav_T)) + _FRAME - _HOP
        first = max(0, centre - _SEARCH)
        region = padded_T[first : centre + _SEARCH + _FRAME]
        at = first + (_most_alike(region, wanted) if frame else centre - first)
        out_T[frame * _HOP : frame * _HOP + _FRAME] += window * padded_T[at : at + _FRAME]
        wanted = padded_T[at + _HOP : at + _HOP + _FRAME]
    return out_T[_HOP : _HOP + length]


def _most_alike(region: Wav, wanted: Wav) -> int:
    """Where the region resembles the wanted frame most, by normalised correlation."""
    size = 1 << (len(region) + len(wanted) - 1).bit_length()
    spectrum = np.fft.rfft(region, size) * np.conj(np.fft.rfft(wanted, size))
    correlation = np.fft.irfft(spectrum, size)[: len(region) - len(wanted) + 1]
    energy = np.cumsum(np.concatenate([[0.0], region.astype(np.float64) ** 2]))
    energy = energy[len(wanted) :] - energy[: -len(wanted)]
    return int(np.argmax(correlation / np.sqrt(energy + 1e-6)))


def transpose(wav_T: Wav, factor: float) -> Wav:
    """Multiply every frequency by `factor`, 0.5 to 2, and keep the time."""
    steps = round(factor * _RATE_STEPS)
    if steps == _RATE_STEPS:
        return wav_T
    slower = stretch(wav_T, _RATE_STEPS / steps)
    shifted = resample(slower, steps, _RATE_STEPS)
    return np.pad(shifted, (0, max(0, len(wav_T) - len(shifted))))[: len(wav_T)]


def whisper(wav_T: Wav, seed: int) -> Wav:
    """Keep the formants and loudness of each frame, lose the voice. Same length; same seed, same noise."""
    from scipy.signal import lfilter

    window = np.hanning(_FRAME + 1)[:-1]
    padded_T = np.pad(wav_T.astype(np.float64), (_HOP, 2 * _FRAME))
    noise_T = np.random.default_rng(seed).standard_normal(len(padded_T))
    out_T = np.zeros(len(padded_T))
    for at in range(0, len(padded_T) - _FRAME, _HOP):
        frame = padded_T[at : at + _FRAME] * window
        power = float(np.sum(frame**2))
        if power < 1e-7:
            continue
        shaped = lfilter([1.0], _prediction(frame), noise_T[at : at + _FRAME]) * window
        out_T[at : at + _FRAME] += shaped * np.sqrt(power / max(float(np.sum(shaped**2)), 1e-12))
    # A whisper has little below the first formant; this zero takes what the voice bar would leave there.
    return lfilter([1.0, -0.7], [1.0], out_T)[_HOP : _HOP + len(wav_T)].astype(np.float32)


def _prediction(frame: NDArray[np.float64]) -> NDArray[np.float64]:
    """The denominator of the all-pole filter, autocorrelation method."""
    from scipy.linalg import solve_toeplitz

    spectrum = np.abs(np.fft.rfft(frame, 2 * len(frame))) ** 2
    lags = np.fft.irfft(spectrum)[: _ORDER + 1]
    lags[0] *= 1.0001  # -40 dB of white noise keeps the equations solvable
    return np.concatenate([[1.0], -solve_toeplitz(lags[:-1], lags[1:])])


def tilt(wav_T: Wav, db_per_octave: float) -> Wav:
    """Tilt the spectrum around 1 kHz, within 100 Hz to 8 kHz; linear phase, same length."""
    frequencies = np.fft.rfftfreq(len(wav_T), 1 / SAMPLE_RATE_HZ)
    octaves = np.log2(np.clip(frequencies, 100.0, 8000.0) / 1000.0)
    gain = 10.0 ** (db_per_octave * octaves / 20.0)
    return np.fft.irfft(np.fft.rfft(wav_T) * gain, len(wav_T)).astype(np.float32)


def level_db(wav_T: Wav) -> float:
    """Loudness of the speech: RMS in dBFS over the frames within 35 dB of the loudest. -120 for silence."""
    frames_SK = sliding_window_view(np.pad(wav_T, (0, _FRAME)), _FRAME)[::_HOP]
    power_S = np.mean(frames_SK.astype(np.float64) ** 2, axis=1)
    if power_S.max() < 1e-12:
        return -120.0
    return float(10 * np.log10(np.mean(power_S[power_S > power_S.max() * 10 ** (_ACTIVE_DB / 10)])))


def at_level(wav_T: Wav, wanted_db: float) -> Wav:
    """Scaled to a level, or as near to it as peaks below full scale allow."""
    gain = 10 ** ((wanted_db - level_db(wav_T)) / 20)
    return (wav_T * min(gain, _CEILING / max(float(np.abs(wav_T).max()), 1e-9))).astype(np.float32)
