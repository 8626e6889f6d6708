"""The vocoder's parts against what they are by definition, and the whole at the size that is shipped."""

import math

import numpy as np
import pytest
import torch

from generation.mimi import Mimi
from generation.mimi.vocoder import Controls, Vocoder, minimum_phase, overlap_add
from generation.train.codec.config import MINI

HOP = 240


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    decoder = Mimi(MINI).prepare().decoder
    assert isinstance(decoder, Vocoder)
    return decoder


def _controls(hops: int, pitch_hz: float, voiced: float = 0.0, noise: float = -30.0) -> Controls:
    flat = torch.zeros(1, hops, MINI.filter_bins)
    return Controls(flat + voiced, flat + noise, torch.full((1, hops), math.log(pitch_hz)))


def test_a_filter_has_the_magnitude_it_was_asked_for_and_begins_at_once() -> None:
    asked_K = 0.8 * torch.sin(torch.linspace(0, 9, MINI.filter_bins))
    response_L = minimum_phase(asked_K)
    found_K = torch.fft.rfft(response_L).abs().log()
    torch.testing.assert_close(found_K, asked_K, atol=2e-3, rtol=0)
    energy_L = response_L.square().cumsum(0) / response_L.square().sum()
    reversed_L = response_L.flip(0).square().cumsum(0) / response_L.square().sum()
    assert bool((energy_L >= reversed_L - 1e-6).all())  # no filter of this magnitude has its energy earlier
    assert float(energy_L[32]) > 0.99


def test_overlapping_pieces_add_up() -> None:
    pieces = torch.randn(2, 5, 7)
    expected = torch.zeros(2, 4 * 3 + 7)
    for n in range(5):
        expected[:, 3 * n : 3 * n + 7] += pieces[:, n]
    torch.testing.assert_close(overlap_add(pieces, 3), expected)


@pytest.mark.parametrize("pitch_hz", [75.0, 200.0, 437.5])
def test_pulses_are_harmonics_of_the_pitch_at_unit_power(vocoder: Vocoder, pitch_hz: float) -> None:
    """And of nothing else: a sum in closed form that slips at a peak would click."""
    hops = 100
    wav_T = vocoder.render(vocoder.open(1), _controls(hops, pitch_hz))[0, :, 0]
    assert float(wav_T.square().mean()) == pytest.approx(1.0, rel=0.1)
    power_K = torch.fft.rfft(wav_T[-19_200:] * torch.hann_window(19_200)).abs().square().numpy()
    hz_K = np.fft.rfftfreq(19_200, 1 / 24_000)
    off_K = np.abs(hz_K / pitch_hz - np.rint(hz_K / pitch_hz)) * pitch_hz
    harmonic_K = (off_K <= 4.0) & (hz_K > 20)
    assert power_K[~harmonic_K].sum() < 1e-3 * power_K.sum()


def test_a_gliding_pitch_has_no_jumps(vocoder: Vocoder) -> None:
    controls = _controls(50, 200.0)
    controls.log_pitch_BN[0] += torch.linspace(0, 0.3, 50)
    state = vocoder.open(1)
    pieces = [
        vocoder.render(state, Controls(*(part[:, n : n + 1] for part in vars(controls).values())))
        for n in range(50)
    ]
    whole = vocoder.render(vocoder.open(1), controls)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-3, rtol=0)


def test_noise_does_not_repeat_and_is_the_same_for_the_same_place(vocoder: Vocoder) -> None:
    controls = _controls(100, 200.0, voiced=-30.0, noise=0.0)
    first, again = (vocoder.render(vocoder.open(1), controls)[0, :, 0] for _ in range(2))
    assert torch.equal(first, again)
    assert float(first.square().mean()) == pytest.approx(1.0, rel=0.1)
    state = vocoder.open(1)
    one, other = (vocoder.render(state, controls)[0, 600:, 0] for _ in range(2))
    assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 0.05


def test_the_pitch_stays_in_its_range_whatever_the_latents_say(vocoder: Vocoder) -> None:
    state = vocoder.open(1)
    for scale in (-1e4, 0.0, 1e4):
        log_pitch = vocoder.controls(state, torch.full((1, 2, MINI.latent_dim), scale)).log_pitch_BN
        assert bool(((log_pitch.exp() > 59.9) & (log_pitch.exp() < 600.1)).all())


def test_silence_is_heard_as_numbers(vocoder: Vocoder) -> None:
    """The logarithm of nothing is bounded."""
    codec = Mimi(MINI).prepare()
    codes_BKF, made_BT = codec.run(torch.zeros(1, 1920 * 3))
    assert codes_BKF.shape == (1, 8, 3)
    assert bool(made_BT.isfinite().all())
