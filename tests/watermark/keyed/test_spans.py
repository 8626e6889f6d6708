"""Where a known pattern stands, over time."""

import numpy as np
import pytest

from watermark import Key
from watermark.keyed import spans
from watermark.keyed.geometry import NUM_BANDS, PERIOD_TILES, TILE_FRAMES, Layout

SIGNS_MK = Layout.of(Key(bytes(16))).pilot
NUM_TILES = 500  # 10 s
OFFSET = 37


def _features(marked_from: int, marked_to: int) -> np.ndarray:
    """Noise of variance 1, with the pattern in some of its tiles at OFFSET."""
    phase = -OFFSET % TILE_FRAMES
    plane = np.random.default_rng(3).standard_normal((TILE_FRAMES * NUM_TILES + phase, NUM_BANDS))
    rows = ((OFFSET + phase) // TILE_FRAMES + np.arange(NUM_TILES)) % PERIOD_TILES
    tiles = plane[phase::TILE_FRAMES]
    tiles[marked_from:marked_to] += SIGNS_MK[rows][marked_from:marked_to]
    return plane.astype(np.float32)


def test_the_score_is_high_where_the_mark_stands_and_a_z_where_it_does_not() -> None:
    scores = spans.scores(_features(200, 400), SIGNS_MK, OFFSET)
    inside = [one.score for one in scores if 4.6 < one.at_s < 7.4]
    outside = [one.score for one in scores if one.at_s < 3.4 or one.at_s > 8.6]
    assert min(inside) > 15
    assert max(map(abs, outside)) < 4
    assert [one.at_s for one in scores[:3]] == pytest.approx([0.5, 1.0, 1.5], abs=0.03)


def test_what_is_shorter_than_a_second_has_no_score_over_time() -> None:
    assert spans.scores(_features(0, 0)[: 40 * TILE_FRAMES], SIGNS_MK, OFFSET) == []


def test_a_span_begins_and_ends_with_the_mark() -> None:
    (span,) = spans.find(_features(200, 400), SIGNS_MK, OFFSET, payload=5)
    assert (span.start_s, span.end_s) == pytest.approx((4.0, 8.0), abs=0.1)
    assert span.payload == 5


def test_where_the_audio_says_little_the_mark_is_not_thought_to_end() -> None:
    """A drowned second inside marked audio has tiles of little weight; a second without the mark has not."""
    drowned = _features(0, NUM_TILES)
    drowned[200 * TILE_FRAMES : 260 * TILE_FRAMES] *= 0.05
    assert len(spans.find(drowned, SIGNS_MK, OFFSET, None)) == 1
    replaced = _features(0, NUM_TILES)
    replaced[200 * TILE_FRAMES : 260 * TILE_FRAMES] = _features(0, 0)[200 * TILE_FRAMES : 260 * TILE_FRAMES]
    assert len(spans.find(replaced, SIGNS_MK, OFFSET, None)) == 2


def test_silence_around_a_mark_is_not_called_marked() -> None:
    """Three marked seconds in a minute of silence were reported as the first fifty seconds."""
    quiet = _features(200, 350)
    quiet[: 200 * TILE_FRAMES], quiet[350 * TILE_FRAMES :] = 0, 0
    (span,) = spans.find(quiet, SIGNS_MK, OFFSET, None)
    assert (span.start_s, span.end_s) == pytest.approx((4.0, 7.0), abs=0.05)


@pytest.mark.parametrize(("silent_tiles", "num_spans"), [(15, 1), (100, 2)])
def test_a_span_passes_over_a_pause_and_not_over_a_long_silence(silent_tiles: int, num_spans: int) -> None:
    paused = _features(0, NUM_TILES)
    paused[200 * TILE_FRAMES : (200 + silent_tiles) * TILE_FRAMES] = 0
    found = spans.find(paused, SIGNS_MK, OFFSET, None)
    assert len(found) == num_spans
    assert found[0].start_s == pytest.approx(0, abs=0.05)
    assert found[-1].end_s == pytest.approx(10, abs=0.05)
