"""A match counts as agreement when it is strong for its length, and a missing one as "no" when there was
enough."""

from uuid import UUID

import numpy as np
import pytest

from api.agreement import agreement, is_clear
from api.audible import Audible
from api.verdict import Agreement
from registry import Match, MatchResult

GENERATION = UUID(int=1)


def heard(seconds: float) -> Audible:
    return Audible(np.ones(round(seconds * 50), dtype=np.bool_))


def match(start_s: float, end_s: float, score: float) -> Match:
    return Match(GENERATION, 0.0, start_s, end_s, score, 1e-9, likeness=score)


def found(*matches: Match) -> MatchResult:
    return MatchResult("found", None, matches[0].score, 1.0, 1e-9, matches, 25, matches[0].likeness)


def not_found(score: float) -> MatchResult:
    return MatchResult("not_found", "no", score, 1.0, 0.5, (), 25, score)


def test_a_strong_match_over_everything_is_the_whole() -> None:
    assert agreement(found(match(0.1, 9.8, 12.0)), heard(10)) is Agreement.WHOLE


def test_a_strong_match_over_less_is_a_part() -> None:
    assert agreement(found(match(0.0, 5.0, 6.0)), heard(10)) is Agreement.PART


def test_two_pieces_that_together_cover_everything_are_the_whole() -> None:
    pieces = found(match(0.0, 5.0, 6.0), match(5.0, 10.0, 6.0))
    assert agreement(pieces, heard(10)) is Agreement.WHOLE


def test_an_accepted_match_as_weak_as_a_loud_pasted_mark_is_no_agreement() -> None:
    """Measured: 0.89 in the worst of 32 marks pasted at six times their level, accepted by its p alone."""
    pasted = match(0.0, 10.0, 0.89 * 10)
    assert not is_clear(pasted, heard(10))
    assert agreement(found(pasted), heard(10)) is Agreement.UNKNOWN
    nearly_all_are = match(0.0, 10.0, 0.15 * 10)
    assert agreement(found(nearly_all_are), heard(10)) is Agreement.NONE


def test_the_weakest_copy_that_was_measured_is_agreement() -> None:
    """Measured: 1.03, ten seconds through a telephone band."""
    assert agreement(found(match(0.0, 9.9, 1.03 * 9.9)), heard(10)) is Agreement.WHOLE


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_no_match_in_enough_audio_is_a_no(score: float) -> None:
    assert agreement(not_found(score), heard(10)) is Agreement.NONE


def test_no_match_in_little_audio_says_nothing() -> None:
    assert agreement(not_found(0.0), heard(2.0)) is Agreement.UNKNOWN


def test_a_likeness_between_the_two_limits_says_nothing() -> None:
    assert agreement(not_found(3.5), heard(10)) is Agreement.UNKNOWN
    assert agreement(found(match(0.0, 10.0, 4.0)), heard(10)) is Agreement.UNKNOWN


def test_an_inconclusive_comparison_says_nothing() -> None:
    too_short = MatchResult("inconclusive", "too short", 0.0, 0.0, 1.0, (), 25)
    assert agreement(too_short, heard(10)) is Agreement.UNKNOWN
