"""Log-mel picture of one window, level-free: what the fingerprint network looks at.

    spectrogram: Hann frames of 1024 samples every 360 -> power -> 64 triangular mel bands, 60 to 7600 Hz
    picture:     log power relative to the window's mean, floored; and the same with each band's mean removed

The second plane does not change under a fixed equaliser, the first keeps the spectral shape.
360 divides the window hop (11520) and every query hop, so overlapping windows share their frames.

Dimension key: B windows, T samples, F frames. Mel bands are the axis before F.
Source: Davis and Mermelstein 1980 for the bands (`audio.mel`).
Not covered: anything above 7600 Hz; most recorded speech has little there, and a telephone has nothing.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from audio import mel

SAMPLE_RATE_HZ = 24_000
WINDOW_SAMPLES = 24_000
FRAME_SAMPLES = 1_024
FRAME_HOP_SAMPLES = 360
NUM_BANDS = 64
NUM_FRAMES = 64  # 1024 + 63 * 360 = 23704 <= 24000
CONFIG = mel.MelConfig(
    SAMPLE_RATE_HZ, FRAME_SAMPLES, FRAME_HOP_SAMPLES, NUM_BANDS, min_hz=60.0, max_hz=7_600.0
)

SILENCE_POWER = 1e-10  # far under the noise floor of 16-bit audio (a full-scale sine gives about 1e4 here)
_TYPICAL_NATS = -4.0  # of a speech window's bands, under the window's mean
FLOOR_NATS = -10.0  # 43 dB under the window's mean: what lies lower is room and codec, not speech


def mel_filters(pitch: float = 1.0) -> torch.Tensor:
    """Triangular filters [bands, bins], float32, peak 1.

    `pitch`: what they hear as the bands of CONFIG is speech that was made this many times as high, tempo left
    alone. 0.64 to 1.57: the highest band stays below half of the sampling rate.
    """
    # A bin's frequency as it was before the change: bins of a rate that is as much lower.
    config = replace(CONFIG, sample_rate_hz=round(SAMPLE_RATE_HZ / pitch))
    return mel.mel_filters(config).T.contiguous()


def power_spectrogram(wav_BT: torch.Tensor) -> torch.Tensor:
    """Power of each frame that lies wholly inside the signal: [B, bins, F], F = 1 + (T - 1024) // 360."""
    return mel.power_spectrogram(wav_BT, CONFIG).transpose(1, 2)


def picture(mel_power_BMF: torch.Tensor, missing_BF: torch.Tensor | None = None) -> torch.Tensor:
    """Mel power [B, 64, 64] -> two level-free planes [B, 2, 64, 64], roughly in -2 ... 2.

    `missing_BF`: frames that were not heard, since the recording begins or ends inside the window. They count
    for no mean, and both planes say nothing about them (0).
    """
    log_power = torch.log(mel_power_BMF + SILENCE_POWER)
    if missing_BF is None:
        level = torch.log(mel_power_BMF.mean(dim=(1, 2), keepdim=True) + SILENCE_POWER)
        shape = (log_power - level).clamp_min(FLOOR_NATS)
        moving = shape - shape.mean(dim=2, keepdim=True)
        return torch.stack([(shape - _TYPICAL_NATS) / 4.0, moving / 2.0], dim=1)
    heard_B1F = (~missing_BF)[:, None].to(mel_power_BMF)
    share_B11 = heard_B1F.mean(dim=2, keepdim=True).clamp_min(1.0 / NUM_FRAMES)
    level = torch.log((mel_power_BMF * heard_B1F).mean(dim=(1, 2), keepdim=True) / share_B11 + SILENCE_POWER)
    shape = (log_power - level).clamp_min(FLOOR_NATS)
    moving = shape - (shape * heard_B1F).mean(dim=2, keepdim=True) / share_B11
    planes = torch.stack([(shape - _TYPICAL_NATS) / 4.0, moving / 2.0], dim=1)
    return planes * heard_B1F[:, None]
