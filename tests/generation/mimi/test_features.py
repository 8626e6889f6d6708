"""What the vocoder's encoder hears, of sounds that are known."""

import math

import pytest
import torch
from torch import Tensor

from generation.mimi.features import PITCH_HZ, PITCH_SCALE, VOICING_SCALE, features

WINDOW, BANDS = 1024, 62


def heard(wav_T: Tensor) -> Tensor:
    return features(wav_T[None].unfold(1, WINDOW, 240), BANDS + 2)[0]


def harmonics(pitch_hz: float, num: int = 20) -> Tensor:
    phase_T = 2 * math.pi * pitch_hz * torch.arange(12_000) / 24_000
    return 0.02 * torch.stack([torch.cos(m * phase_T + m * m) for m in range(1, num + 1)]).sum(0)


@pytest.mark.parametrize("pitch_hz", [75.0, 110.0, 163.0, 250.0, 410.0, 580.0])
@pytest.mark.parametrize("gain", [0.05, 1.0])
def test_the_pitch_of_harmonics_is_heard_within_half_a_percent(pitch_hz: float, gain: float) -> None:
    found_NM = heard(gain * harmonics(pitch_hz))
    torch.testing.assert_close(found_NM[:, -1] / VOICING_SCALE, torch.ones(len(found_NM)), atol=0.02, rtol=0)
    expected = math.log(pitch_hz / PITCH_HZ)
    assert float((found_NM[:, -2] / PITCH_SCALE - expected).abs().max()) < 0.005 + 0.02 * abs(expected)


def test_noise_and_silence_have_no_pitch() -> None:
    noise_T = 0.1 * torch.randn(24_000, generator=torch.Generator().manual_seed(1))
    assert float((heard(noise_T)[:, -1] / VOICING_SCALE).mean()) < 0.3  # harmonics: 1
    nothing = heard(torch.zeros(4_000))
    assert bool(nothing.isfinite().all())
    assert float(nothing[:, -2:].abs().max()) < 0.01


def test_bands_are_logarithms_of_power() -> None:
    """Twice as loud is log 4 more, in every band that hears something."""
    noise_T = 0.1 * torch.randn(24_000, generator=torch.Generator().manual_seed(2))
    louder = heard(2 * noise_T)[:, :BANDS] - heard(noise_T)[:, :BANDS]
    torch.testing.assert_close(louder, torch.full_like(louder, math.log(4)), atol=1e-2, rtol=0)
