"""Log-mel picture of one window, level-free: what the fingerprint network looks at.

    spectrogram: Hann frames of 1024 samples every 360 -> power -> 64 triangular mel bands, 60 to 7600 Hz
    picture:     log power relative to the window's mean, floored; and the same with each band's mean removed

The second plane does not change under a fixed equaliser, the first keeps the spectral shape.
360 divides the window hop (11520) and every query hop, so overlapping windows share their frames.

Dimension key: B windows, T samples, F frames. Mel bands are the axis before F.
Source: triangular mel filters after Davis and Mermelstein 1980, scale of O'Shaughnessy 1987 (2595 log10(1 +
f/700)).
Not covered: anything above 7600 Hz; most recorded speech has little there, and a telephone has nothing.
"""

from __future__ import annotations

import math

import torch

SAMPLE_RATE_HZ = 24_000
WINDOW_SAMPLES = 24_000
FRAME_SAMPLES = 1_024
FRAME_HOP_SAMPLES = 360
NUM_BANDS = 64
NUM_FRAMES = 64  # 1024 + 63 * 360 = 23704 <= 24000
LOW_HZ, HIGH_HZ = 60.0, 7_600.0

_SILENCE_POWER = 1e-10  # far under the noise floor of 16-bit audio (a full-scale sine gives about 1e4 here)
_FLOOR_NATS = -10.0  # 43 dB under the window's mean: what lies lower is room and codec, not speech


def mel_filters() -> torch.Tensor:
    """Triangular filters [bands, bins], float32, peak 1."""
    edges_mel = torch.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), NUM_BANDS + 2, dtype=torch.float64)
    edges_hz = 700.0 * (torch.pow(10.0, edges_mel / 2595.0) - 1.0)
    bins_hz = torch.arange(FRAME_SAMPLES // 2 + 1, dtype=torch.float64) * SAMPLE_RATE_HZ / FRAME_SAMPLES
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - low) / (centre - low)
    falling = (high - bins_hz) / (high - centre)
    filters = torch.minimum(rising, falling).clamp_min(0.0)
    # The lowest bands are narrower than one bin: give each at least its nearest bin.
    nearest = (bins_hz[None] - centre).abs().argmin(dim=1)
    empty = filters.sum(dim=1) < 0.5
    filters[empty, nearest[empty]] = 1.0
    return filters.float()


def power_spectrogram(wav_BT: torch.Tensor) -> torch.Tensor:
    """Power of each frame that lies wholly inside the signal: [B, bins, F], F = 1 + (T - 1024) // 360."""
    B, T = wav_BT.shape
    num_frames = 1 + (T - FRAME_SAMPLES) // FRAME_HOP_SAMPLES
    frames_BFT = wav_BT.unfold(1, FRAME_SAMPLES, FRAME_HOP_SAMPLES)
    taper_T = torch.hann_window(FRAME_SAMPLES, dtype=wav_BT.dtype, device=wav_BT.device)
    spectrum = torch.fft.rfft(frames_BFT * taper_T)
    power = spectrum.real.square() + spectrum.imag.square()
    bins_last: torch.Tensor = power.reshape(B, num_frames, -1)
    return bins_last.transpose(1, 2)


def picture(mel_power_BMF: torch.Tensor) -> torch.Tensor:
    """Mel power [B, 64, 64] -> two level-free planes [B, 2, 64, 64], roughly in -2 ... 2."""
    log_power = torch.log(mel_power_BMF + _SILENCE_POWER)
    level = torch.log(mel_power_BMF.mean(dim=(1, 2), keepdim=True) + _SILENCE_POWER)
    shape = (log_power - level).clamp_min(_FLOOR_NATS)
    moving = shape - shape.mean(dim=2, keepdim=True)
    return torch.stack([(shape + 4.0) / 4.0, moving / 2.0], dim=1)


def _mel(frequency_hz: float) -> float:
    return 2595.0 * math.log10(1.0 + frequency_hz / 700.0)
