"""How closely audio agrees with registered audio: step (6) of detection, pure.

    strength = score / audible seconds of the span          score: summed similarity of registry.matching

A false-alarm probability says that a likeness is no chance. It does not say that the audio is the
generation: a mark that was pasted onto another clip, made louder, is heard in that clip's pauses, and what
is heard there is shaped like the generation it came from. Over 12 s that likeness reaches p = 6e-6, and its
strength is a quarter of what real copies have. So a match counts as agreement only when it is also strong.

Measured 2026-11 on tests/assets (`python -m benchmarks.agreement`) with fingerprint weights of the first
training run: copies of 3 to 12 s have 0.81 to 1.73 (MP3 32k, Opus 12k, telephone band, noise 20 and 10 dB,
speed 1.05); other recordings at most 0.20, of 3 s 0.37; pasted marks at most 0.42 at three times their level,
0.66 at six.

BUG: a mark pasted so loud that it is hardly hidden any more (9 dB below the other clip and above) passes the
limit, as the audio then is in good part the generation's. Strengths depend on the network: measure again with
new weights.
"""

from api.audible import Audible
from api.verdict import Agreement
from registry import Match, MatchResult

CLEAR_PER_S = 0.7
"""Strength from which on a match is agreement: between 0.65 and 0.81 of the measurement above."""

UNLIKE_PER_S = 0.3
"""Strength below which audio is not the generation, whatever p says."""

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
