"""What the detector hears: blind to gain and polarity, deaf in silence, white on speech."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from watermark import Key, Warp
from watermark.keyed import features, reader
from watermark.keyed.geometry import NUM_BANDS, PERIOD_TILES, Layout
from watermark.keyed.search import PilotSearch

Floats = npt.NDArray[np.float32]


def test_frames_are_counted_from_whole_windows() -> None:
    assert [len(features.frame_starts(n)) for n in (0, 479, 480, 599, 600, 24_000)] == [0, 0, 1, 1, 2, 197]


def test_band_power_puts_a_tone_where_it_belongs() -> None:
    """1000 Hz is bin 20 of 50 Hz; band 6 holds bins 20 to 22."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(4800) / 24_000).astype(np.float32)
    power_FK = features.band_power(tone)
    assert power_FK.shape == (37, 50)
    assert (power_FK.argmax(axis=1) == 6).all()
    # A Hann window of 480 samples sums to 240: the peak bin has (240 / 2)**2, its upper neighbour a quarter.
    assert power_FK[:, 6] == pytest.approx(120**2 * 1.25, rel=1e-3)


def test_tile_mean_is_the_mean_of_four_frames() -> None:
    plane = np.arange(10, dtype=np.float32).reshape(5, 2)
    assert features.tile_mean(plane).tolist() == [[3.0, 4.0], [5.0, 6.0]]


def test_a_flat_plane_is_predicted_by_its_neighbours() -> None:
    flat = np.ones((60, 50), np.float32)
    assert np.abs(features.whiten(flat)).max() == pytest.approx(abs(1 - features.KERNEL.sum()), abs=1e-5)


@pytest.mark.parametrize("factor", [-1.0, 0.2, 3.0])
def test_gain_and_polarity_change_nothing(voices: dict[str, Floats], factor: float) -> None:
    wav_T = voices["kathleen_1"][:48_000]
    before, after = features.tile_features(wav_T), features.tile_features(np.float32(factor) * wav_T)
    assert np.abs(before - after).max() < 0.05
    assert np.abs(before - after).mean() < 1e-3


def test_digital_silence_is_zero_and_divides_by_nothing() -> None:
    assert not features.tile_features(np.zeros(24_000, np.float32)).any()
    assert features.tile_features(np.zeros(10, np.float32)).shape == (0, 50)


def test_whitening_takes_out_most_of_the_speech(voices: dict[str, Floats]) -> None:
    tiles = features.tile_mean(features.log_power(features.band_power(voices["kerstin_1"])))
    assert features.whiten(tiles).var() < 0.1 * tiles.var()


def test_a_warp_sets_where_frames_start_and_how_long_they_are() -> None:
    """Twice as fast: frames every 60 samples. A fifth lower in the bins: 600 samples, 40 Hz apart."""
    assert features.frame_starts(720, Warp(2.0, 1.0)).tolist() == [0, 60, 120, 180, 240]
    assert features.frame_samples(Warp(1.0, 0.8)) == 600
    assert features.frame_starts(719, Warp(1.0, 0.8)).tolist() == [0]


def test_a_tone_moved_with_the_pitch_stays_in_its_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * 1.25 * np.arange(4800) / 24_000).astype(np.float32)
    power_FK = features.band_power(tone, Warp(1.0, 1.25))
    assert (power_FK.argmax(axis=1) == 6).all()


@pytest.mark.parametrize("name", ["kathleen_1", "kerstin_1"])
def test_no_key_has_speech_on_its_side(voices: dict[str, Floats], name: str) -> None:
    """The tiles of some bands lean to one side in all speech; a key whose signs lean with them would find its
    mark in everybody's. Here every sign does."""
    wav_T = voices[name][:120_000]
    power, residual, peak_F, audible = features.tiles(wav_T)
    leaning_K = reader.shipped().evidence(power, residual, peak_F)[audible].mean(axis=0)
    features_FK = features.tile_features(wav_T)
    assert np.abs(features_FK[audible].mean(axis=0)).max() < 1e-3 < np.abs(leaning_K).max()
    signs = np.broadcast_to(np.where(leaning_K > 0, 1.0, -1.0).astype(np.float32), (PERIOD_TILES, NUM_BANDS))
    worst = PilotSearch(replace(Layout.of(Key(bytes(16))), sign=signs)).best(features_FK, 0, len(features_FK))
    assert worst.z < 4.0
