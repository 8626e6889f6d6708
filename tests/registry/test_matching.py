"""Matching real speech through the real network and index: found or not, which span, how probable."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audio import edits, trusted
from registry import matching
from registry.candidates import Looked, strength
from registry.errors import WeightsUnavailable
from registry.fingerprint.train.gallery import Gallery
from registry.fingerprint.windows import Fingerprinter
from registry.index import WindowIndex
from registry.matching import MatchResult, Prepared
from registry.null import MIN_PROBABILITY, Null

ASSETS = Path(__file__).parents[1] / "assets"
Wav = NDArray[np.float32]
REGISTERED = ("kathleen_1", "kerstin_1", "amelia", "krisgesling", "eltocino")
ABSENT = ("kathleen_2", "kerstin_2", "adocampo")


def speech(name: str) -> Wav:
    return trusted.read(ASSETS / f"{name}.flac", "flac")


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    gallery = Gallery(Fingerprinter.load())
    for name in REGISTERED:
        gallery.add(speech(name))
    return gallery


def match(gallery: Gallery, wav_T: Wav) -> MatchResult:
    return matching.match(prepared(gallery, wav_T), lambda look: look(gallery.index), gallery.fetch)


def prepared(gallery: Gallery, wav_T: Wav) -> Prepared:
    return matching.prepare(wav_T, gallery.fingerprinter)


@pytest.mark.parametrize("edit", ["identity", "mp3_32k", "opus_24k", "gain_-14db", "polarity", "noise_20db"])
def test_four_seconds_of_a_registered_clip_are_found_at_their_place(gallery: Gallery, edit: str) -> None:
    """The service's main question, under what every file goes through. A speaker that training never saw."""
    start = 3.3
    result = match(gallery, edits.apply(speech("kerstin_1")[int(start * 24_000) :][:96_000], edit, seed=1))
    assert result.outcome == "found"
    best = result.matches[0]
    assert best.generation_id.int == REGISTERED.index("kerstin_1")
    assert best.offset_s - best.start_s == pytest.approx(start, abs=0.25)
    assert best.false_alarm_probability <= matching.ACCEPT_BELOW
    assert best.score >= result.threshold


def test_a_registry_of_one_generation_accuses_nobody() -> None:
    """A fresh installation holds few windows, of which chance has to be judged like that of many."""
    few = Gallery(Fingerprinter.load())
    few.add(speech("eltocino"))
    for name in ("krisgesling", "adocampo", "amelia", "kerstin_2", "kathleen_2"):
        result = match(few, speech(name))
        assert result.outcome == "not_found", (name, result.score, result.threshold)
    assert match(few, speech("eltocino")).outcome == "found"


@pytest.mark.parametrize("name", ABSENT)
def test_speech_that_was_never_registered_is_not_found(gallery: Gallery, name: str) -> None:
    """Two of the three are other sentences of a registered voice."""
    result = match(gallery, speech(name))
    assert result.outcome == "not_found"
    assert (result.matches, result.reason) == ((), "nothing registered is close enough")
    assert result.score < result.threshold


def test_what_is_alike_and_weaker_than_any_copy_is_is_no_match(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same words in the same rhythm are no chance: the longer they go on, the rarer is their score."""
    copy_T = speech("kerstin_1")
    strong = match(gallery, copy_T)
    [best] = strong.matches
    found_strength = strength(best.score, best.likeness, best.end_s - best.start_s)
    assert found_strength > 2 * matching.LEAST_STRENGTH
    monkeypatch.setattr(matching, "LEAST_STRENGTH", found_strength + 0.1)
    weak = match(gallery, copy_T)
    assert (weak.outcome, weak.matches, weak.reason) == ("inconclusive", (), matching.WEAK)
    assert weak.score == strong.score >= weak.threshold
    compared = matching.compare(prepared(gallery, copy_T), gallery.codes[REGISTERED.index("kerstin_1")])
    assert (compared.outcome, compared.matches) == ("not_found", ())


def test_only_the_part_that_is_ours_is_returned(gallery: Gallery) -> None:
    """4 s of a registered clip between 4 s and 4 s of somebody else."""
    stranger_T, ours_T = speech("kerstin_2"), speech("kathleen_1")
    result = match(
        gallery, np.concatenate([stranger_T[:96_000], ours_T[48_000:144_000], stranger_T[96_000:192_000]])
    )
    assert [m.generation_id.int for m in result.matches] == [REGISTERED.index("kathleen_1")]
    best = result.matches[0]
    assert 3.4 <= best.start_s <= 5.0
    assert 7.0 <= best.end_s <= 8.5
    assert best.offset_s == pytest.approx(2.0 + best.start_s - 4.0, abs=0.25)


def test_two_generations_in_one_query_are_both_returned(gallery: Gallery) -> None:
    """A montage names everything it was made of."""
    result = match(gallery, np.concatenate([speech("amelia")[:96_000], speech("krisgesling")[:96_000]]))
    assert {m.generation_id.int for m in result.matches} == {2, 3}


def test_a_copy_played_five_percent_faster_is_found(gallery: Gallery) -> None:
    """Lines of several speeds are voted for."""
    result = match(gallery, edits.apply(speech("kerstin_1"), "speed_1.05"))
    assert [m.generation_id.int for m in result.matches] == [REGISTERED.index("kerstin_1")]


def test_a_quiet_copy_is_found(gallery: Gallery) -> None:
    """At a peak near -50 dBFS every window would be silent by the registry's gate."""
    assert match(gallery, 0.01 * speech("kerstin_1")).outcome == "found"


def test_silence_and_short_audio_are_inconclusive_with_a_reason(gallery: Gallery) -> None:
    """Not the same as not found: nothing was looked for."""
    silent, short = match(gallery, np.zeros(120_000, np.float32)), match(gallery, speech("amelia")[:23_999])
    assert (silent.outcome, short.outcome) == ("inconclusive", "inconclusive")
    assert silent.reason is not None and "silent" in silent.reason
    assert short.reason is not None and "too short: 1.00 s" in short.reason
    assert short.num_windows_indexed == gallery.index.num_windows


def test_one_second_is_found_at_its_place(gallery: Gallery) -> None:
    """The shortest query: its windows in the registry begin before it and end after it."""
    for start in (26_000, 55_000, 101_000):
        result = match(gallery, edits.apply(speech("kerstin_1")[start : start + 24_000], "mp3_64k"))
        assert result.outcome == "found", result
        assert result.matches[0].generation_id.int == REGISTERED.index("kerstin_1")
        found_s = result.matches[0].offset_s - result.matches[0].start_s
        assert found_s == pytest.approx(start / 24_000, abs=0.1)


def test_a_query_that_could_not_be_accepted_even_if_perfect_is_inconclusive(gallery: Gallery) -> None:
    """Its score has a ceiling, and in a huge registry the threshold lies above it: "not found" would be
    false."""
    query = prepared(gallery, speech("amelia")[24_000:48_000])
    result = matching.match(
        query, lambda look: look(gallery.index)._replace(num_windows=10**30), gallery.fetch
    )
    assert result.outcome == "inconclusive"
    assert result.reason is not None and "too little sound" in result.reason


def test_one_generation_in_two_places_is_two_matches(gallery: Gallery) -> None:
    """3 s of a clip, somebody else, and 3 s of the same clip from elsewhere: each with its own offset."""
    ours_T, stranger_T = speech("kerstin_1"), speech("kathleen_2")
    wav_T = np.concatenate([ours_T[24_000:96_000], stranger_T[:72_000], ours_T[144_000:216_000]])
    result = match(gallery, wav_T)
    assert [m.generation_id.int for m in result.matches] == [REGISTERED.index("kerstin_1")] * 2
    first, second = sorted(result.matches, key=lambda found: found.start_s)
    assert first.offset_s - first.start_s == pytest.approx(1.0, abs=0.1)
    assert second.offset_s - second.start_s == pytest.approx(0.0, abs=0.1)
    assert first.end_s <= 4.0 and second.start_s >= 5.0


def test_the_offset_is_finer_than_the_rows(gallery: Gallery) -> None:
    """Rows are 120 ms apart; what lies between is read off the cosines beside."""
    errors_s = []
    for start in range(30_000, 90_000, 7_001):
        best = match(gallery, speech("kerstin_1")[start : start + 96_000]).matches[0]
        errors_s.append(best.offset_s - best.start_s - start / 24_000)
    assert np.median(np.abs(errors_s)) <= 0.02
    assert np.max(np.abs(errors_s)) <= 0.06


def test_an_empty_registry_finds_nothing(gallery: Gallery) -> None:
    """The first verify of a new installation."""
    empty = Gallery(gallery.fingerprinter)
    result = match(empty, speech("amelia"))
    assert (result.outcome, result.reason) == ("not_found", "nothing is registered yet")


def test_compare_accepts_the_generation_itself_and_no_other_of_its_voice(gallery: Gallery) -> None:
    """A mark lifted from one clip and laid over another of the same voice is a transplant."""
    kathleen = gallery.codes[REGISTERED.index("kathleen_1")]
    same = matching.compare(prepared(gallery, edits.apply(speech("kathleen_1"), "mp3_32k")), kathleen)
    other = matching.compare(prepared(gallery, speech("kathleen_2")), kathleen)
    assert (same.outcome, other.outcome) == ("found", "not_found")
    assert same.matches[0].offset_s == pytest.approx(same.matches[0].start_s, abs=0.1)
    assert other.false_alarm_probability > matching.ACCEPT_BELOW


def test_an_index_ahead_of_its_codes_does_not_break_a_query(gallery: Gallery) -> None:
    """Only a damaged database gives no codes for an indexed generation."""
    query = prepared(gallery, speech("amelia"))
    result = matching.match(query, lambda look: look(gallery.index), lambda _ordinals: {})
    assert result.outcome == "not_found"


def test_the_index_is_searched_once(gallery: Gallery) -> None:
    """`search` catches up with the database and holds a lock."""
    calls: list[int] = []

    def search(look: Callable[[WindowIndex], Looked]) -> Looked:
        calls.append(1)
        return look(gallery.index)

    matching.match(prepared(gallery, speech("amelia")), search, gallery.fetch)
    assert calls == [1]


NULL = Null((4.0,), (10.0,), (-2.0,), num_negatives=1, weights_sha256="")


def test_the_probability_is_the_formula() -> None:
    """By hand: E = exp(-2) * 4000 * exp(-10 * 1.2) = 0.003326, p = 1 - exp(-E) = 0.003320."""
    assert NULL.false_alarm_probability(1.2, 4, 4000) == pytest.approx(0.003320, rel=1e-3)


def test_between_two_lengths_the_tail_lies_between_theirs() -> None:
    """4 is halfway from 2 to 8 by their logarithms; beyond both ends the nearest counts."""
    null = Null((2.0, 8.0), (10.0, 20.0), (-2.0, -4.0), 1, "")
    middle = Null((1.0,), (15.0,), (-3.0,), 1, "")
    assert null.threshold(1e-4, 4.0, 1000) == pytest.approx(middle.threshold(1e-4, 99.0, 1000))
    assert null.threshold(1e-4, 0.0, 1000) == null.threshold(1e-4, 2.0, 1000)
    assert null.threshold(1e-4, 80.0, 1000) == null.threshold(1e-4, 8.0, 1000)


def test_the_threshold_is_where_the_probability_is_reached() -> None:
    """The two are inverses, at any size."""
    for size in (10, 10_000, 10**8):
        threshold = NULL.threshold(1e-4, 9.0, size)
        assert NULL.false_alarm_probability(threshold, 9.0, size) == pytest.approx(1e-4, rel=1e-6)


def test_the_threshold_rises_with_the_logarithm_of_the_registry() -> None:
    """So the false-alarm rate of a query stays as the registry grows."""
    step = NULL.threshold(1e-4, 9.0, 10**7) - NULL.threshold(1e-4, 9.0, 10**6)
    assert step == pytest.approx(math.log(10.0) / 10.0)


def test_extreme_scores_give_probabilities_and_not_errors() -> None:
    """exp() must not overflow, and no probability is claimed beyond what was checked."""
    assert NULL.false_alarm_probability(-1e6, 1, 10**9) == 1.0
    assert NULL.false_alarm_probability(1e6, 1, 10**9) == MIN_PROBABILITY


def test_a_calibration_of_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch, gallery: Gallery) -> None:
    """Its probabilities would be wrong without anyone seeing it."""
    monkeypatch.setattr(Null, "load", classmethod(lambda _cls: NULL))
    with pytest.raises(WeightsUnavailable, match="other fingerprint weights"):
        match(gallery, speech("amelia"))


UNEVEN = json.dumps(
    {
        "windows": [1.0, 2.0], "decays": [1.0], "log_ks": [1.0], "num_negatives": 1, "weights_sha256": "",
        "share_below_p": {},
    }
)  # fmt: skip


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"decays": [1.0]}), UNEVEN])
def test_a_malformed_calibration_is_one_error(tmp_path: Path, content: str) -> None:
    """Whatever is wrong with it."""
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(WeightsUnavailable, match="no calibration"):
        Null.load(tmp_path / "calibration.json")
