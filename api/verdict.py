"""From findings to a verdict: one pure function, a table with a reason on every row.

Three techniques speak: the mark, the registry (its row for the content id the mark carries, and how the
audio compares with that one generation), and the search over all fingerprints. A verdict is never surer
than they are:

- a mark alone proves nothing, because it can be cut out and pasted elsewhere, so a mark counts as issued here
  only where the audio is that of the generation it names;
- a comparison that had too little audio is no comparison;
- audio that sounds like a generation is not attributed to it when its mark is clearly another's;
- `not_detected` needs both techniques to have looked.

Not here: how the findings come about (`api.detection`).
"""

from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """What the keyed mark says."""

    NAMES = "names"  # found, with a payload whose tag verifies, or recognised among those issued here
    UNNAMED = "unnamed"  # found, no payload verifies, and none that was issued fits it surely
    ABSENT = "absent"  # looked for and not found
    UNJUDGED = "unjudged"  # the audio could not speak


class Agreement(StrEnum):
    """How the audio compares with the generation that the mark names."""

    WHOLE = "whole"  # (nearly) all audible audio is that generation's
    PART = "part"  # some of it is
    NONE = "none"  # there was enough to compare, and it is not
    UNKNOWN = "unknown"  # not enough to compare, or no generation to compare with


class Search(StrEnum):
    """What the search over all fingerprints says."""

    SAME = "same"  # accepts the generation that the mark names
    OTHER = "other"  # accepts a generation, but not that one (or the mark names none)
    DENIED = "denied"  # accepts generations, and the mark, which names none, is clearly not theirs
    NONE = "none"  # looked and accepted nothing
    UNJUDGED = (
        "unjudged"  # settles nothing: too little audio, only a weak likeness, or the index does not answer
    )


class Verdict(StrEnum):
    """The answer in one word; always read it with its reason and its evidence."""

    ISSUED_HERE = "issued_here"
    ISSUED_HERE_ALTERED = "issued_here_altered"  # only parts agree
    MARK_TRANSPLANTED = "mark_transplanted"  # the mark names a generation, the audio is not it
    MARKED_UNKNOWN_ISSUER = "marked_unknown_issuer"
    NOT_DETECTED = "not_detected"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Findings:
    """What the techniques found. `registered` and `agreement` are about the generation that the mark
    names."""

    mark: Mark
    mark_throughout: bool  # the mark with that payload covers (nearly) all audible audio
    registered: bool  # the registry holds a generation for that payload
    agreement: Agreement
    search: Search


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason in plain words."""

    verdict: Verdict
    reason: str

    @property
    def attributes(self) -> bool:
        """Whether the audio, or a part of it, is attributed to a generation of ours."""
        return self.verdict in (Verdict.ISSUED_HERE, Verdict.ISSUED_HERE_ALTERED)


NOT_HUMAN = "This does not mean that a human spoke: unmarked synthetic speech looks the same to this service."


def judge(found: Findings) -> Judgement:
    """The verdict on any combination of findings; every combination has one."""
    if found.mark is Mark.NAMES and found.registered:
        return _named_and_registered(found)
    if found.mark is Mark.NAMES:
        return _named_but_unregistered(found.search)
    return _without_name(found.mark, found.search)


def _named_and_registered(found: Findings) -> Judgement:
    """The mark names a generation that the registry holds: is this its audio?"""
    altered, transplanted = Verdict.ISSUED_HERE_ALTERED, Verdict.MARK_TRANSPLANTED
    match found.agreement, found.search:
        case Agreement.WHOLE, _ if found.mark_throughout:
            return Judgement(
                Verdict.ISSUED_HERE,
                "The mark, the registry and the fingerprint agree: this audio was issued here.",
            )
        case Agreement.WHOLE, _:
            return Judgement(
                altered,
                "This is audio that was issued here, but its mark is missing or unreadable in parts of it.",
            )
        case Agreement.PART, _:
            return Judgement(
                altered,
                "Parts of this audio were issued here; the rest does not agree with the generation that the "
                "mark names.",
            )
        case _, Search.SAME:
            return Judgement(
                altered,
                "The mark and the fingerprint search name the same generation, but the audio does not agree "
                "with it closely: it was probably altered.",
            )
        case Agreement.NONE, Search.OTHER:
            return Judgement(
                transplanted,
                "The mark names one generation, but this audio is not it; the fingerprint is another's. "
                "The mark was probably copied onto this audio.",
            )
        case Agreement.NONE, _:
            return Judgement(
                transplanted,
                "The mark names a generation that was issued here, but this audio is not it. The mark was "
                "probably copied onto this audio.",
            )
        case Agreement.UNKNOWN, Search.OTHER:
            return Judgement(
                Verdict.INCONCLUSIVE,
                "The mark names one generation and the fingerprint belongs to another, and there is too "
                "little to tell which of them this audio is.",
            )
        case _:
            return Judgement(
                Verdict.INCONCLUSIVE,
                "The mark names a generation that was issued here, but there is too little to tell whether "
                "this is its audio; a mark alone can be copied from elsewhere.",
            )


def _named_but_unregistered(search: Search) -> Judgement:
    """The payload verifies under this service's key, and its registry never issued it, or lost it."""
    if search in (Search.SAME, Search.OTHER):
        return Judgement(
            Verdict.ISSUED_HERE_ALTERED,
            "The fingerprint is that of a generation issued here, but the mark carries a content id that "
            "this registry does not hold.",
        )
    looked = "no fingerprint matches" if search is Search.NONE else "the fingerprint settles nothing"
    return Judgement(
        Verdict.MARKED_UNKNOWN_ISSUER,
        f"The audio carries a mark made with this service's key, but the registry does not hold its content "
        f"id and {looked}.",
    )


def _without_name(mark: Mark, search: Search) -> Judgement:
    """No payload verifies, so only the fingerprint can name a generation."""
    if search in (Search.SAME, Search.OTHER):
        missing = {
            Mark.UNNAMED: "its mark can no longer be read",
            Mark.ABSENT: "its mark is gone",
        }.get(mark, "there is too little to judge its mark")
        return Judgement(
            Verdict.ISSUED_HERE_ALTERED,
            f"The fingerprint is that of audio issued here, but {missing}.",
        )
    match mark, search:
        case Mark.UNNAMED, Search.DENIED:
            return Judgement(
                Verdict.INCONCLUSIVE,
                "The fingerprint is like that of audio issued here, but the mark is not that generation's, "
                "and whose it is cannot be read from it.",
            )
        case Mark.UNNAMED, _:
            return Judgement(
                Verdict.MARKED_UNKNOWN_ISSUER,
                "There is a mark, but no content id can be read from it, so it names no generation.",
            )
        case Mark.ABSENT, Search.NONE:
            return Judgement(
                Verdict.NOT_DETECTED, f"No mark and no fingerprint of this service was found. {NOT_HUMAN}"
            )
        case Mark.ABSENT, _:
            return Judgement(
                Verdict.INCONCLUSIVE,
                "No mark was found, but the fingerprint does not settle whether this is audio issued here "
                "whose mark was removed.",
            )
        case _:
            return Judgement(Verdict.INCONCLUSIVE, "There is too little audible audio to judge.")
