"""How closely audio agrees with registered audio: step (6) of detection, pure.

    strength = signs / sqrt(s) + 3 likeness / s     of a span with s audible seconds (registry/candidates.py)

A false-alarm probability says that a likeness is no chance. It does not say that the audio is the
generation: a mark that was pasted onto another clip, made louder, is heard in that clip's pauses, and what
is heard there is shaped like the generation it came from. So a match counts as agreement only when it is
also strong.

Chosen 2026-11-27 on 20 validation speakers, version 2 of the fingerprint (`python -m benchmarks.agreement
--split validation`): copies of 10 s 15.9 and more (the least: noise of 10 dB), of 3 s through a telephone
band 14.3, in noise of 10 dB 8.1 and more; other speakers at most 2.9 in 10 s and 4.4 in 3 s; pasted marks
at most 6.2, 9.9, 13.4 and 16.6 at one, three, six and twelve times their level.

BUG: a mark pasted so loud that its source is plainly heard behind the victim (twelve times its level, 5 dB
below its source) passes in five of 40 such cases.
"""

from api.audible import Audible
from api.verdict import Agreement
from registry import Match, MatchResult, strength

CLEAR = 13.5
"""Strength from which on a match is agreement: between marks pasted at six times their level and copies of
10 s. Of copies of 3 s in noise of 10 dB it says nothing in one case of four."""

UNLIKE = 4.0
"""Strength below which audio is not the generation, whatever p says. To accuse is worse than to abstain: it
is half of what the weakest copy has."""

MIN_TO_DENY_S = 2.5
"""Audible seconds from which on a missing likeness is evidence: nothing shorter was measured."""

WHOLE = 0.8
"""Fraction of the audible part that must agree to be (nearly) all of it. A fingerprint window is 1 s, so an
edge is known to about half a second: of a 5 s clip 0.2 is both edges."""


def is_clear(match: Match, heard: Audible) -> bool:
    """Whether an accepted match is strong enough to say that its span is the generation's audio."""
    audible_s = heard.duration_s * heard.covered([(match.start_s, match.end_s)])
    return audible_s > 0 and strength(match.score, match.likeness, audible_s) >= CLEAR


def agreement(comparison: MatchResult, heard: Audible) -> Agreement:
    """How the audio compares with one generation, from `Registry.compare` and where the audio is audible."""
    if comparison.outcome == "inconclusive" or heard.duration_s == 0:
        return Agreement.UNKNOWN
    spans = [(match.start_s, match.end_s) for match in comparison.matches if is_clear(match, heard)]
    if spans:
        return Agreement.WHOLE if heard.covered(spans) >= WHOLE else Agreement.PART
    enough = heard.duration_s >= MIN_TO_DENY_S
    if enough and strength(comparison.score, comparison.likeness, heard.duration_s) < UNLIKE:
        return Agreement.NONE
    return Agreement.UNKNOWN
