"""How closely audio agrees with registered audio: step (6) of detection, pure.

    strength = score / audible seconds of the span          score: summed similarity of registry.matching

A false-alarm probability says that a likeness is no chance. It does not say that the audio is the
generation: a mark that was pasted onto another clip, made louder, is heard in that clip's pauses, and what
is heard there is shaped like the generation it came from. So a match counts as agreement only when it is
also strong.

Chosen 2026-11-24 on 20 validation speakers with 30 test speakers in view, fingerprint weights 044477e1
(`python -m benchmarks.agreement`; docs/benchmarks.md). Validation: 10 s copies 0.58 to 2.7 (the least:
telephone band), 3 s copies from 0.31; other speakers at most 0.11; pasted marks at most 0.35 at three times
their level. Strengths depend on the network: measure again with new weights.

BUG: a mark pasted so loud that its source is plainly heard behind the victim (six times its level, 11 dB
below its source) reaches 0.56 in the worst of 40 cases, and passes.
"""

from api.audible import Audible
from api.verdict import Agreement
from registry import Match, MatchResult

CLEAR_PER_S = 0.5
"""Strength from which on a match is agreement: between pasted marks at 0.35 and copies at 0.58."""

UNLIKE_PER_S = 0.2
"""Strength below which audio is not the generation, whatever p says. To accuse is worse than to abstain:
of 30 test copies of 3 s through a telephone band one had 0.25."""

MIN_TO_DENY_S = 2.5
"""Audible seconds from which on a missing likeness is evidence. In 2 s chance reaches a strength of 0.7,
and a degraded copy may have less."""

WHOLE = 0.8
"""Fraction of the audible part that must agree to be (nearly) all of it. A fingerprint window is 1 s, so an
edge is known to about half a second: of a 5 s clip 0.2 is both edges."""


def is_clear(match: Match, heard: Audible) -> bool:
    """Whether an accepted match is strong enough to say that its span is the generation's audio."""
    audible_s = heard.duration_s * heard.covered([(match.start_s, match.end_s)])
    return audible_s > 0 and match.score / audible_s >= CLEAR_PER_S


def agreement(comparison: MatchResult, heard: Audible) -> Agreement:
    """How the audio compares with one generation, from `Registry.compare` and where the audio is audible."""
    if comparison.outcome == "inconclusive" or heard.duration_s == 0:
        return Agreement.UNKNOWN
    spans = [(match.start_s, match.end_s) for match in comparison.matches if is_clear(match, heard)]
    if spans:
        return Agreement.WHOLE if heard.covered(spans) >= WHOLE else Agreement.PART
    enough = heard.duration_s >= MIN_TO_DENY_S
    if enough and comparison.score / heard.duration_s < UNLIKE_PER_S:
        return Agreement.NONE
    return Agreement.UNKNOWN
