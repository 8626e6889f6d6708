"""The picture the network sees."""

import numpy as np
import torch

from registry.fingerprint import features


def tone(frequency_hz: float, amplitude: float = 0.5) -> torch.Tensor:
    time_s = torch.arange(features.WINDOW_SAMPLES, dtype=torch.float64) / features.SAMPLE_RATE_HZ
    return (amplitude * torch.sin(2 * torch.pi * frequency_hz * time_s)).float()[None]


def mel_power(wav_BT: torch.Tensor) -> torch.Tensor:
    return features.mel_filters() @ features.power_spectrogram(wav_BT)[:, :, : features.NUM_FRAMES]


def test_a_window_becomes_two_planes_of_64_bands_and_64_frames() -> None:
    """The network's grid is sized for exactly this."""
    assert features.picture(mel_power(tone(440.0))).shape == (1, 2, 64, 64)


def test_a_tone_lights_the_band_that_its_mel_frequency_says() -> None:
    """Catches a wrong scale. 2595 log10(1 + 1000/700) = 1000.0 mel; bands lie 2748.0 - 92.7 over 65 steps
    apart from 60 Hz (92.7 mel) on, so 1 kHz is step 22.2: index 21."""
    assert int(mel_power(tone(1000.0)).mean(dim=2).argmax()) == 21


def test_bands_of_another_pitch_hear_a_tone_where_it_was() -> None:
    """1 kHz that was raised by a fifth is 1.5 kHz, and lights the band of 1 kHz again."""
    power = features.power_spectrogram(tone(1_500.0))[:, :, : features.NUM_FRAMES]
    assert int((features.mel_filters(1.5) @ power).mean(dim=2).argmax()) == 21


def test_no_band_is_empty() -> None:
    """The lowest triangles are narrower than a bin of 23 Hz and could miss every one."""
    assert float(features.mel_filters().sum(dim=1).min()) >= 0.5


def test_the_picture_does_not_know_the_level() -> None:
    """A copy at a tenth of the level must give the same code."""
    wav = tone(300.0) + 0.1 * tone(2000.0)
    quiet, loud = features.picture(mel_power(0.05 * wav)), features.picture(mel_power(wav))
    assert float((quiet - loud).abs().max()) < 1e-3


def test_silence_gives_a_finite_picture() -> None:
    """log 0 must not reach the network."""
    picture = features.picture(mel_power(torch.zeros(1, features.WINDOW_SAMPLES)))
    assert np.isfinite(picture.numpy()).all()


def test_missing_frames_say_nothing_and_change_no_other() -> None:
    """What was not heard is neither silence nor part of a mean: the heard frames look as if alone."""
    power = mel_power(tone(300.0) + torch.randn(1, features.WINDOW_SAMPLES, generator=torch.manual_seed(0)))
    missing = torch.zeros(1, features.NUM_FRAMES, dtype=torch.bool)
    missing[:, 40:] = True
    louder = power.clone()
    louder[:, :, 40:] *= 1e4
    first, second = features.picture(power, missing), features.picture(louder, missing)
    assert torch.equal(first, second)
    assert not first[:, :, :, 40:].any()
    assert torch.allclose(
        features.picture(power, torch.zeros_like(missing)), features.picture(power), atol=1e-5
    )
