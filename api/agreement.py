"""How closely audio agrees with registered audio: step (6) of detection, pure.

    strength = likeness / audible seconds of the span          likeness: summed over windows

A false-alarm probability says that a likeness is no chance. It does not say that the audio is the
generation: a mark that was pasted onto another clip, made louder, is heard in that clip's pauses, and what
is heard there is shaped like the generation it came from. So a match counts as agreement only when it is
also strong.

Chosen 2026-11-25 on 16 validation speakers, fingerprint weights 044477e1 (`python -m benchmarks.agreement
--split validation`): copies of 10 s 1.03 to 12.7 (the least: telephone band), of 3 s 0.5 to 7.8; other
speakers at most 0.09; pasted marks at most 0.41 at three times their level, 0.89 at six times. Strengths
depend on the network and on the gain of registry/alignment.py: measure again when either changes.

BUG: a mark pasted so loud that its source is plainly heard behind the victim (twelve times its level, 5 dB
below its source) reaches 1.5 in the worst of 32 cases, and passes; of 20 validation speakers, with today's
mark (2026-11-27), five of 40 such, and one of 40 at six times its level, with 1.14.
"""

from api.audible import Audible
from api.verdict import Agreement
from registry import Match, MatchResult

CLEAR_PER_S = 0.95
"""Strength from which on a match is agreement: between pasted marks at 0.89 and copies of 10 s at 1.03."""

UNLIKE_PER_S = 0.2
"""Strength below which audio is not the generation, whatever p says. To accuse is worse than to abstain:
strangers have up to 0.09, copies of 3 s through a telephone band at least 0.5."""

MIN_TO_DENY_S = 2.5
"""Audible seconds from which on a missing likeness is evidence. In 2 s chance reaches a strength of 0.7,
and a degraded copy may have less."""

WHOLE = 0.8
"""Fraction of the audible part that must agree to be (nearly) all of it. A fingerprint window is 1 s, so an
edge is known to about half a second: of a 5 s clip 0.2 is both edges."""


def is_clear(match: Match, heard: Audible) -> bool:
    """Whether an accepted match is strong enough to say that its span is the generation's audio."""
    audible_s = heard.duration_s * heard.covered([(match.start_s, match.end_s)])
    return audible_s > 0 and match.likeness / audible_s >= CLEAR_PER_S


def agreement(comparison: MatchResult, heard: Audible) -> Agreement:
    """How the audio compares with one generation, from `Registry.compare` and where the audio is audible."""
    if comparison.outcome == "inconclusive" or heard.duration_s == 0:
        return Agreement.UNKNOWN
    spans = [(match.start_s, match.end_s) for match in comparison.matches if is_clear(match, heard)]
    if spans:
        return Agreement.WHOLE if heard.covered(spans) >= WHOLE else Agreement.PART
    enough = heard.duration_s >= MIN_TO_DENY_S
    if enough and comparison.likeness / heard.duration_s < UNLIKE_PER_S:
        return Agreement.NONE
    return Agreement.UNKNOWN
