import numpy as np
import pytest

from audio import resample


@pytest.mark.parametrize(
    ("from_hz", "to_hz", "num_in", "num_out"),
    [(48_000, 24_000, 7, 4), (44_100, 24_000, 441, 240), (44_100, 24_000, 442, 241), (8_000, 24_000, 5, 15)],
)
def test_the_length_is_the_ceiling_of_the_ratio(from_hz: int, to_hz: int, num_in: int, num_out: int) -> None:
    assert resample(np.zeros(num_in), from_hz, to_hz).shape == (num_out,)


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(48_000, 24_000), (44_100, 24_000), (16_000, 24_000), (24_000, 8_000)]
)
def test_a_sine_comes_out_as_the_same_sine_with_no_delay(from_hz: int, to_hz: int) -> None:
    """A filter whose delay is left in shifts every offset the product reports."""
    wav_T = np.sin(2 * np.pi * 1000 * np.arange(from_hz) / from_hz)
    expected_T = np.sin(2 * np.pi * 1000 * np.arange(to_hz) / to_hz)
    out_T = resample(wav_T, from_hz, to_hz)
    assert out_T.dtype == np.float32
    middle = slice(200, -200)
    assert np.abs(out_T[middle] - expected_T[middle]).max() < 2e-3


def test_what_the_lower_rate_cannot_hold_is_gone() -> None:
    """Aliasing: 15 kHz must not come back as 9 kHz."""
    wav_T = np.sin(2 * np.pi * 15_000 * np.arange(48_000) / 48_000)
    assert np.abs(resample(wav_T, 48_000, 24_000)[200:-200]).max() < 1e-3


def test_a_constant_stays_that_constant() -> None:
    """Hand-written: unity gain at 0 Hz, up and down."""
    assert resample(np.full(4000, 0.5), 24_000, 16_000)[1000] == pytest.approx(0.5, abs=1e-4)
    assert resample(np.full(4000, 0.5), 16_000, 24_000)[3000] == pytest.approx(0.5, abs=1e-4)


def test_channels_are_resampled_each_for_itself() -> None:
    wav_CT = np.stack([np.zeros(480), np.ones(480)])
    out_CT = resample(wav_CT, 48_000, 24_000)
    assert out_CT.shape == (2, 240)
    assert not out_CT[0].any()


def test_equal_rates_give_a_copy() -> None:
    wav_T = np.ones(3, np.float32)
    out_T = resample(wav_T, 24_000, 24_000)
    out_T[0] = 9
    assert wav_T[0] == 1


@pytest.mark.parametrize("rates", [(0, 24_000), (24_000, 0), (-1, 1)])
def test_a_rate_that_is_not_positive_is_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        resample(np.zeros(4), *rates)
