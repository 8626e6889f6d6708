"""Every combination of findings has one verdict, and a verdict is never surer than its findings."""

import itertools
from dataclasses import dataclass

import pytest

from api.verdict import Agreement, Findings, Mark, Search, Verdict, judge

ANY = None


@dataclass(frozen=True)
class Row:
    """One line of the table as a person would write it; None stands for any value."""

    mark: Mark | None
    mark_throughout: bool | None
    registered: bool | None
    agreement: Agreement | None
    search: Search | None
    verdict: Verdict

    def fits(self, found: Findings) -> bool:
        fields = ("mark", "mark_throughout", "registered", "agreement", "search")
        return all(getattr(self, name) in (None, getattr(found, name)) for name in fields)


M, A, S, V = Mark, Agreement, Search, Verdict
TABLE = [
    # The mark names a generation that the registry holds.
    Row(M.NAMES, True, True, A.WHOLE, ANY, V.ISSUED_HERE),
    Row(M.NAMES, False, True, A.WHOLE, ANY, V.ISSUED_HERE_ALTERED),
    Row(M.NAMES, ANY, True, A.PART, ANY, V.ISSUED_HERE_ALTERED),
    Row(M.NAMES, ANY, True, A.NONE, S.SAME, V.ISSUED_HERE_ALTERED),
    Row(M.NAMES, ANY, True, A.NONE, S.OTHER, V.MARK_TRANSPLANTED),
    Row(M.NAMES, ANY, True, A.NONE, S.NONE, V.MARK_TRANSPLANTED),
    Row(M.NAMES, ANY, True, A.NONE, S.DENIED, V.MARK_TRANSPLANTED),
    Row(M.NAMES, ANY, True, A.NONE, S.UNJUDGED, V.MARK_TRANSPLANTED),
    Row(M.NAMES, ANY, True, A.UNKNOWN, S.SAME, V.ISSUED_HERE_ALTERED),
    Row(M.NAMES, ANY, True, A.UNKNOWN, S.OTHER, V.INCONCLUSIVE),
    Row(M.NAMES, ANY, True, A.UNKNOWN, S.NONE, V.INCONCLUSIVE),
    Row(M.NAMES, ANY, True, A.UNKNOWN, S.DENIED, V.INCONCLUSIVE),
    Row(M.NAMES, ANY, True, A.UNKNOWN, S.UNJUDGED, V.INCONCLUSIVE),
    # The mark verifies, and the registry does not hold it.
    Row(M.NAMES, ANY, False, ANY, S.SAME, V.ISSUED_HERE_ALTERED),
    Row(M.NAMES, ANY, False, ANY, S.OTHER, V.ISSUED_HERE_ALTERED),
    Row(M.NAMES, ANY, False, ANY, S.NONE, V.MARKED_UNKNOWN_ISSUER),
    Row(M.NAMES, ANY, False, ANY, S.DENIED, V.MARKED_UNKNOWN_ISSUER),
    Row(M.NAMES, ANY, False, ANY, S.UNJUDGED, V.MARKED_UNKNOWN_ISSUER),
    # A mark that names nothing.
    Row(M.UNNAMED, ANY, ANY, ANY, S.SAME, V.ISSUED_HERE_ALTERED),
    Row(M.UNNAMED, ANY, ANY, ANY, S.OTHER, V.ISSUED_HERE_ALTERED),
    Row(M.UNNAMED, ANY, ANY, ANY, S.DENIED, V.INCONCLUSIVE),
    Row(M.UNNAMED, ANY, ANY, ANY, S.NONE, V.MARKED_UNKNOWN_ISSUER),
    Row(M.UNNAMED, ANY, ANY, ANY, S.UNJUDGED, V.MARKED_UNKNOWN_ISSUER),
    # No mark.
    Row(M.ABSENT, ANY, ANY, ANY, S.SAME, V.ISSUED_HERE_ALTERED),
    Row(M.ABSENT, ANY, ANY, ANY, S.OTHER, V.ISSUED_HERE_ALTERED),
    Row(M.ABSENT, ANY, ANY, ANY, S.NONE, V.NOT_DETECTED),
    Row(M.ABSENT, ANY, ANY, ANY, S.DENIED, V.INCONCLUSIVE),
    Row(M.ABSENT, ANY, ANY, ANY, S.UNJUDGED, V.INCONCLUSIVE),
    # The mark could not be judged.
    Row(M.UNJUDGED, ANY, ANY, ANY, S.SAME, V.ISSUED_HERE_ALTERED),
    Row(M.UNJUDGED, ANY, ANY, ANY, S.OTHER, V.ISSUED_HERE_ALTERED),
    Row(M.UNJUDGED, ANY, ANY, ANY, S.NONE, V.INCONCLUSIVE),
    Row(M.UNJUDGED, ANY, ANY, ANY, S.DENIED, V.INCONCLUSIVE),
    Row(M.UNJUDGED, ANY, ANY, ANY, S.UNJUDGED, V.INCONCLUSIVE),
]
EVERYTHING = [Findings(*found) for found in itertools.product(M, (True, False), (True, False), A, S)]


@pytest.mark.parametrize("found", EVERYTHING, ids=str)
def test_every_combination_has_exactly_the_verdict_of_its_row(found: Findings) -> None:
    rows = [row for row in TABLE if row.fits(found)]
    assert len(rows) == 1, "the table has gaps or overlaps"
    assert judge(found).verdict is rows[0].verdict


def test_the_combinations_are_all_of_them() -> None:
    assert len(EVERYTHING) == 4 * 2 * 2 * 4 * 5


def test_issued_here_needs_mark_registry_and_comparison_throughout() -> None:
    """The failure that matters most: saying "issued here" of audio that is not."""
    issued = [found for found in EVERYTHING if judge(found).verdict is Verdict.ISSUED_HERE]
    assert issued
    for found in issued:
        assert found.mark is Mark.NAMES
        assert found.mark_throughout
        assert found.registered
        assert found.agreement is Agreement.WHOLE


def test_a_mark_whose_audio_could_not_be_compared_attributes_nothing_by_itself() -> None:
    for found in EVERYTHING:
        if found.agreement is Agreement.UNKNOWN and found.search not in (Search.SAME, Search.OTHER):
            assert not judge(found).attributes


def test_a_mark_that_denies_the_only_match_leaves_nobody_to_attribute_to() -> None:
    """Two recordings that sound alike, and the fingerprint takes the wrong one."""
    for found in EVERYTHING:
        if found.search is Search.DENIED and found.agreement in (Agreement.NONE, Agreement.UNKNOWN):
            assert not judge(found).attributes


def test_not_detected_is_said_only_when_both_techniques_looked() -> None:
    clean = [found for found in EVERYTHING if judge(found).verdict is Verdict.NOT_DETECTED]
    assert {(found.mark, found.search) for found in clean} == {(Mark.ABSENT, Search.NONE)}


def test_not_detected_says_that_it_does_not_mean_a_human() -> None:
    found = Findings(Mark.ABSENT, False, False, Agreement.UNKNOWN, Search.NONE)
    assert "does not mean that a human spoke" in judge(found).reason


def test_a_transplant_is_claimed_only_with_a_comparison_that_says_no() -> None:
    for found in EVERYTHING:
        if judge(found).verdict is Verdict.MARK_TRANSPLANTED:
            assert found.agreement is Agreement.NONE
            assert found.search is not Search.SAME


@pytest.mark.parametrize("found", EVERYTHING, ids=str)
def test_every_verdict_has_a_reason_that_is_a_sentence(found: Findings) -> None:
    reason = judge(found).reason
    assert reason[0].isupper()
    assert reason.endswith(".")
    assert len(reason) < 250
