import math

import pytest
import torch

from audio.mel import MelConfig, log_mel, mel_filters

SMALL = MelConfig(sample_rate_hz=8, window_samples=4, hop_samples=2, num_bands=1, min_hz=0.0, max_hz=4.0)


def test_a_constant_gives_the_value_computed_by_hand() -> None:
    """Hann window of 4 is 0, 0.5, 1, 0.5: its spectrum on ones is 2, -1, 0, so the power is 4, 1, 0.

    One triangle from 0 to 4 Hz with bins at 0, 2 and 4 Hz: 0, w, 0, hence log(w * 1), where w is near 1
    because on so few hertz the mel scale is nearly straight (its middle lies at 1.997 Hz).
    """
    middle_hz = 700 * (math.sqrt(1 + 4 / 700) - 1)
    weight = (4 - 2) / (4 - middle_hz)
    out_FM = log_mel(torch.ones(4), SMALL)
    assert out_FM.shape == (1, 1)
    assert out_FM.item() == pytest.approx(math.log(weight), abs=1e-5)


def test_silence_is_the_floor() -> None:
    assert log_mel(torch.zeros(4), SMALL).item() == pytest.approx(math.log(1e-6))


@pytest.mark.parametrize(("num_samples", "num_frames"), [(0, 0), (1023, 0), (1024, 1), (1263, 1), (1264, 2)])
def test_a_frame_needs_a_whole_window(num_samples: int, num_frames: int) -> None:
    assert log_mel(torch.zeros(2, num_samples), MelConfig()).shape == (2, num_frames, 64)


def test_a_tone_is_loudest_in_the_band_around_it() -> None:
    config = MelConfig()
    tone_T = torch.sin(2 * math.pi * 1000 * torch.arange(24_000) / 24_000)
    band = int(log_mel(tone_T, config).mean(0).argmax())
    bins_hz = torch.arange(513) * 24_000 / 1024
    weights_K = mel_filters(config)[:, band]
    assert bins_hz[weights_K > 0].min() < 1000 < bins_hz[weights_K > 0].max()


def test_frames_do_not_look_ahead() -> None:
    """What comes after a frame's window must not change it: a stream computes the same frames."""
    wav_T = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    changed_T = wav_T.clone()
    changed_T[1024:] = 7.0
    assert torch.equal(log_mel(wav_T, MelConfig())[0], log_mel(changed_T, MelConfig())[0])


def test_bands_above_half_the_rate_are_refused() -> None:
    with pytest.raises(ValueError, match="half of 8000 Hz"):
        MelConfig(sample_rate_hz=8000, max_hz=5000.0)
