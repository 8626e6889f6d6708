"""What keys that marked nothing here find and read: the calibration of the keyed mark, on real speech."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from audio import SAMPLE_RATE_HZ, edits
from benchmarks.marked_clips import Marked
from benchmarks.report import Proportion, table
from watermark import Key
from watermark.keyed import features
from watermark.keyed.detect import MAX_FALSE_ALARM_PROBABILITY, KeyedDetector
from watermark.keyed.geometry import PERIOD_TILES, Layout
from watermark.keyed.resync import ResyncSearch, folds
from watermark.keyed.search import NUM_OFFSETS, PilotSearch, false_alarm_probability
from watermark.keyed.tracks import in_tracks

Floats = npt.NDArray[np.float32]

WINDOW_SAMPLES = 5 * SAMPLE_RATE_HZ
_FIRST_KEY = 1 << 20


def _keys(num_keys: int) -> list[Key]:
    return [Key(i.to_bytes(16, "big")) for i in range(_FIRST_KEY, _FIRST_KEY + num_keys)]


def wrong_keys(num_keys: int) -> list[Layout]:
    """The tables of keys that marked nothing here."""
    return [Layout.of(key) for key in _keys(num_keys)]


def calibration(marked: list[Marked], num_keys: int) -> dict[str, Any]:
    """How often audio without this mark gets a p-value below each level: random keys on real speech."""
    searches = [PilotSearch(layout) for layout in wrong_keys(num_keys)]

    def p_values(wav_T: Floats) -> list[float]:
        plane = features.tile_features(wav_T)
        best = (search.best(plane, 0, len(plane)).z for search in searches)
        return [false_alarm_probability(z, NUM_OFFSETS) for z in best]

    return _calibrated("audio without this mark, 5 s", marked, p_values)


def searched_calibration(marked: list[Marked], num_keys: int) -> dict[str, Any]:
    """The same for the search over speed, tempo and pitch. A key takes 3 MB there."""
    searches = [ResyncSearch(layout) for layout in wrong_keys(num_keys)]

    def p_values(wav_T: Floats) -> list[float]:
        _, folded = folds(wav_T)
        best = (search.best_fold(folded)[1] for search in searches)
        return [false_alarm_probability(z, len(folded) * PERIOD_TILES) for z in best]

    return _calibrated("the same, searched for speed and pitch", marked, p_values)


def _calibrated(title: str, marked: list[Marked], p_of: Callable[[Floats], list[float]]) -> dict[str, Any]:
    sets: dict[str, Callable[[Marked], Floats]] = {
        "unmarked": lambda clip: clip.host_T,
        "marked with another key": lambda clip: clip.marked_T,
        "unmarked, Opus 12 kbit/s": lambda clip: edits.apply(clip.host_T, "opus_12k"),
    }
    levels, rows, result = (1e-1, 1e-2, 1e-3, 1e-4), [], {}
    for name, audio_of in sets.items():
        p_values = np.array([p for clip in marked for p in p_of(audio_of(clip)[:WINDOW_SAMPLES])])
        counts = [Proportion(int((p_values <= level).sum()), len(p_values)) for level in levels]
        rows.append([name, len(marked), len(p_values), *(f"{c.rate:.1e} ({c.hits})" for c in counts)])
        result[name] = {f"{level:g}": c.as_json() for level, c in zip(levels, counts, strict=True)}
    header = [title, "speakers", "trials", *(f"p <= {level:g}" for level in levels)]
    print("\n" + table(header, rows), flush=True)
    return result


def wrong_payloads(marked: list[Marked], num_keys: int) -> dict[str, Any]:
    """How often a wrong key reads something in 10 s, had it found a mark there: in all that a track is tried.

    A payload counts only in a mark that was found, and the product of both is what is promised.
    """
    planes = [features.tile_features(clip.marked_T) for clip in marked]
    read = 0
    for key in _keys(num_keys):
        detector = KeyedDetector(key)
        for plane_FK in planes:
            (track,) = in_tracks([detector._search.best(plane_FK, 0, len(plane_FK))])
            read += detector._read_alone(plane_FK, track)[1] is not None
    count = Proportion(read, num_keys * len(marked))
    bound = count.interval[1] * MAX_FALSE_ALARM_PROBABILITY
    header = ["wrong keys on marked speech, 10 s", "read, had a mark been found", "with a mark found at 1e-3"]
    print("\n" + table(header, [["another key's mark", count, f"<= {bound:.1e}"]]), flush=True)
    return {"read": count.as_json(), "bound": bound}
