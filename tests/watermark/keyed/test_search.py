"""The pilot search: folds as written, finds what was hidden, and its p-value keeps its word."""

import numpy as np
import numpy.typing as npt
import pytest

from watermark import Key
from watermark.keyed import features
from watermark.keyed.geometry import PERIOD_TILES, Layout
from watermark.keyed.search import (
    MIN_PROBABILITY,
    NUM_OFFSETS,
    PilotSearch,
    false_alarm_probability,
    fold,
    tail,
    threshold,
    windows,
)

Floats = npt.NDArray[np.float32]


def test_the_tail_is_the_normal_tail() -> None:
    assert tail(0.0) == 0.5
    assert tail(3.0902) == pytest.approx(1e-3, rel=1e-3)


def test_threshold_inverts_the_probability() -> None:
    z = threshold(1e-3, 512)
    assert false_alarm_probability(z, 512) == pytest.approx(1e-3, rel=1e-6)
    assert z == pytest.approx(4.616, abs=0.001)


def test_no_probability_is_claimed_beyond_what_was_checked() -> None:
    assert false_alarm_probability(40.0, 512) == MIN_PROBABILITY
    assert false_alarm_probability(0.0, 512) == 1.0


def test_short_audio_is_one_window_and_long_audio_overlapping_ones() -> None:
    assert windows(1000) == [(0, 1000)]
    short = [(first, 500) for first in (0, 250, 500, 750, 1000)]
    assert windows(1500) == [(0, 1000), (500, 1000), *short, (0, 1500)]
    assert windows(1520)[:3] == [(0, 1000), (500, 1000), (520, 1000)]
    assert windows(1520)[-2:] == [(1020, 500), (0, 1520)]


def test_fold_adds_rows_one_period_apart() -> None:
    plane = np.zeros((4 * PERIOD_TILES * 2, 50), np.float32)
    plane[4 * 3 + 1], plane[4 * (3 + PERIOD_TILES) + 1] = 1.0, 2.0
    folded = fold(plane, phase=1)
    assert folded.shape == (PERIOD_TILES, 50)
    assert (folded[3] == 3.0).all()
    assert folded.sum() == 150.0


def test_folds_of_different_windows_align() -> None:
    plane = np.random.default_rng(0).standard_normal((2048, 50)).astype(np.float32)
    whole = fold(plane, 2)
    parts = fold(plane[:1001], 2) + fold(plane[1001:], 2, first_frame=1001)
    assert np.abs(whole - parts).max() < 1e-4


@pytest.mark.parametrize("shift", [0, 1, 5, 511])
def test_a_bare_pilot_is_found_at_its_offset(shift: int) -> None:
    layout = Layout.of(Key(bytes(16)))
    plane = np.roll(np.repeat(layout.pilot, 4, axis=0), -shift, axis=0)
    plane = features.tile_mean(np.concatenate([plane, plane, plane]))
    sync = PilotSearch(layout).best(plane, 0, len(plane))
    assert sync.offset_frames == shift
    assert sync.z > 20


def test_wrong_keys_on_real_speech_keep_the_p_value(voices: dict[str, Floats]) -> None:
    """1600 trials, 200 wrong keys on 5 s of each of 8 voices.

    Were p exactly uniform, more than 205 below 0.1 has probability 1e-4, and more than 34 below 0.01 too;
    the bound for the search makes fewer. The full table to 1e-4 is in docs/benchmarks.md.
    """
    searches = [PilotSearch(Layout.of(Key(i.to_bytes(16, "big")))) for i in range(200)]
    p_values = []
    for wav_T in voices.values():
        plane = features.tile_features(wav_T[: 5 * 24_000])
        best = (search.best(plane, 0, len(plane)).z for search in searches)
        p_values += [false_alarm_probability(z, NUM_OFFSETS) for z in best]
    p = np.array(p_values)
    assert len(p) == 1600
    assert (p <= 0.1).sum() <= 205
    assert (p <= 0.01).sum() <= 34
    assert (p <= 0.1).sum() >= 30  # a p-value that never rises is no p-value either
