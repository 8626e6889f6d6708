"""A match counts as agreement when it is strong for its length, and a missing one as "no" when there was
enough."""

import math
from uuid import UUID

import numpy as np
import pytest

from api.agreement import agreement, is_clear
from api.audible import Audible
from api.verdict import Agreement
from registry import Match, MatchResult, strength
from registry.candidates import LIKENESS

GENERATION = UUID(int=1)


def heard(seconds: float) -> Audible:
    return Audible(np.ones(round(seconds * 50), dtype=np.bool_))


def match(start_s: float, end_s: float, strength: float) -> Match:
    """Of that strength, half of it by the signs and half by the windows."""
    likeness = strength / 2 * (end_s - start_s) / LIKENESS
    score = likeness + strength / 2 * math.sqrt(end_s - start_s)
    return Match(GENERATION, 0.0, start_s, end_s, score, 1e-9, likeness=likeness)


def found(*matches: Match) -> MatchResult:
    best = matches[0]
    return MatchResult("found", None, best.score, 1.0, 1e-9, matches, 25, best.likeness)


def not_found(strength: float) -> MatchResult:
    """Over 10 s."""
    best = match(0.0, 10.0, strength)
    return MatchResult("not_found", "no", best.score, 1.0, 0.5, (), 25, best.likeness)


@pytest.mark.parametrize("seconds", [1.0, 3.0, 10.0, 60.0])
def test_a_strength_is_one_of_any_length(seconds: float) -> None:
    """Signs grow with the root of the length and likeness with the length."""
    found = match(0.0, seconds, 20.0)
    assert strength(found.score, found.likeness, seconds) == pytest.approx(20.0)


def test_a_strong_match_over_everything_is_the_whole() -> None:
    assert agreement(found(match(0.1, 9.8, 25.0)), heard(10)) is Agreement.WHOLE


def test_a_strong_match_over_less_is_a_part() -> None:
    assert agreement(found(match(0.0, 5.0, 25.0)), heard(10)) is Agreement.PART


def test_two_pieces_that_together_cover_everything_are_the_whole() -> None:
    pieces = found(match(0.0, 5.0, 25.0), match(5.0, 10.0, 25.0))
    assert agreement(pieces, heard(10)) is Agreement.WHOLE


def test_an_accepted_match_as_weak_as_a_loud_pasted_mark_is_no_agreement() -> None:
    """Measured: 13.4 in the worst of 40 marks pasted at six times their level, accepted by its p alone."""
    pasted = match(0.0, 10.0, 13.39)
    assert not is_clear(pasted, heard(10))
    assert agreement(found(pasted), heard(10)) is Agreement.UNKNOWN
    many_are = match(0.0, 10.0, 3.7)
    assert agreement(found(many_are), heard(10)) is Agreement.NONE


def test_the_weakest_copy_of_ten_seconds_that_was_measured_is_agreement() -> None:
    """Measured: 15.9, noise of 10 dB."""
    assert agreement(found(match(0.0, 9.9, 15.9)), heard(10)) is Agreement.WHOLE


@pytest.mark.parametrize("strength", [0.0, 2.9])
def test_no_match_in_enough_audio_is_a_no(strength: float) -> None:
    assert agreement(not_found(strength), heard(10)) is Agreement.NONE


def test_no_match_in_little_audio_says_nothing() -> None:
    assert agreement(not_found(0.0), heard(2.0)) is Agreement.UNKNOWN


def test_a_likeness_between_the_two_limits_says_nothing() -> None:
    assert agreement(not_found(6.0), heard(10)) is Agreement.UNKNOWN
    assert agreement(found(match(0.0, 10.0, 7.0)), heard(10)) is Agreement.UNKNOWN


def test_an_inconclusive_comparison_says_nothing() -> None:
    too_short = MatchResult("inconclusive", "too short", 0.0, 0.0, 1.0, (), 25)
    assert agreement(too_short, heard(10)) is Agreement.UNKNOWN
