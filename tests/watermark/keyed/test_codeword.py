"""A mark whose pilot was taken out is found by its codeword, and wrong keys find none."""

import numpy as np
import numpy.typing as npt
import pytest

from audio import edits
from benchmarks.mark_attackers import subtracted
from watermark import Detector, Embedder, Key, Outcome
from watermark.keyed import features
from watermark.keyed.codeword import CodewordSearch, windows
from watermark.keyed.geometry import Layout
from watermark.keyed.search import NUM_OFFSETS, PilotSearch, false_alarm_probability
from watermark.payload import CODED_BITS

Floats = npt.NDArray[np.float32]
CONTENT_ID = 0x00C0FFEE0042


def plane_of(layout: Layout, codeword: Floats, shift: int) -> Floats:
    """The tiles of a mark that holds nothing but a codeword, its period begun at `shift`."""
    signs_MK = layout.with_payload(codeword) - layout.pilot
    return features.tile_mean(np.tile(np.roll(np.repeat(signs_MK, 4, axis=0), -shift, axis=0), (3, 1)))


@pytest.mark.parametrize("shift", [0, 1, 5, 511])
def test_a_bare_codeword_is_found_at_its_offset_whatever_it_is(shift: int) -> None:
    layout = Layout.of(Key(bytes(16)))
    for seed in range(2):
        codeword = np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), CODED_BITS)
        plane = plane_of(layout, codeword, shift)
        sync = CodewordSearch(layout).best(plane, 0, len(plane))
        assert sync.offset_frames == shift
        assert sync.z > 20


def test_windows_are_ten_seconds_and_the_last_ends_with_the_audio() -> None:
    assert windows(500) == [(0, 500)]
    assert windows(2000) == [(0, 2000)]
    assert windows(4500) == [(0, 2000), (1000, 2000), (2000, 2000), (2500, 2000)]


def test_nothing_says_nothing() -> None:
    search = CodewordSearch(Layout.of(Key(bytes(16))))
    assert not search.scores(np.zeros((1000, 50), np.float32)).any()


def test_wrong_keys_on_real_speech_keep_the_p_value(voices: dict[str, Floats]) -> None:
    """1600 trials, 200 wrong keys on 5 s of each of 8 voices; bounds as in test_search.py."""
    searches = [CodewordSearch(Layout.of(Key(i.to_bytes(16, "big")))) for i in range(200)]
    p_values = []
    for wav_T in voices.values():
        plane = features.tile_features(wav_T[: 5 * 24_000])
        best = (search.best(plane, 0, len(plane)).z for search in searches)
        p_values += [false_alarm_probability(z, NUM_OFFSETS) for z in best]
    p = np.array(p_values)
    assert len(p) == 1600
    assert (p <= 0.1).sum() <= 205
    assert (p <= 0.01).sum() <= 34
    assert (p <= 0.1).sum() >= 30


@pytest.mark.parametrize("edit", ["identity", "mp3_32k", "opus_16k"])
def test_a_mark_without_its_pilot_is_read(
    voices: dict[str, Floats], key: Key, embedder: Embedder, detector: Detector, edit: str
) -> None:
    """Whoever averages enough files knows the pilot exactly: here it is taken out by its true signs."""
    layout = Layout.of(key)
    for name in ("kathleen_1", "eltocino"):
        marked_T = embedder.mark(voices[name][: 10 * 24_000], 24_000, payload=CONTENT_ID)
        robbed_T = edits.apply(subtracted(marked_T, layout.pilot), edit)
        seen = features.tile_features(robbed_T)
        pilot_z = PilotSearch(layout).best(seen, 0, len(seen)).z
        answer = detector.detect(robbed_T, 24_000)
        assert pilot_z < 10 < PilotSearch(layout).best(features.tile_features(marked_T), 0, len(seen)).z
        assert answer.outcome is Outcome.FOUND
        assert answer.payload == CONTENT_ID
        assert answer.segments[0].end_s - answer.segments[0].start_s > 0.9 * len(robbed_T) / 24_000
