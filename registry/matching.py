"""Which generations does this audio hold, where, and how likely is it that chance alone looks so good.

    (1) too short or silent -> inconclusive
    (2) embed the query every 0.12 s, or every 0.06 s when it is shorter than 2 s, from 0.48 s before its
        beginning to 0.48 s after its end; search the index with the informative rows
    (3) lines by votes, aligned exactly from the codes in PostgreSQL, and whether the signs under them agree:
        the score (registry/candidates.py)
    (4) E = K N exp(-lambda S) with K and lambda of the query's length, p = 1 - exp(-E); accepted at p <= 1e-3
        what is left of the query is compared with the accepted generations again, for further spans
    (5) nothing accepted, or weakly: (2) to (4) again at two other pitches, with every third or fifth row. The
        plain search has nine parts in ten of the false alarms, the others share the tenth
    (6) accepted, and weaker than any copy is: more alike than chance explains, and no copy -> inconclusive;
        nothing accepted, and a perfect copy of this length could not have been -> inconclusive
    (7) nothing accepted, and some of the registry was fingerprinted by another network -> inconclusive

S is the score of a line and N the registry's length in windows: the expected number of chance alignments
grows with N, so the threshold follows the registry's size. lambda and K are fitted for each of several
lengths of query on speech that is not what it is compared with; weights/calibration.json holds them, how many
negatives stood behind them, and what fraction of them fell under each p. A search with a share of the false
alarms is one among as many more windows.

(5) changes the bands that the network hears and no time, so rows, spans and offsets are of the audio as it
was sent. `compare` has no (5): who names a generation has read its mark, which tells the pitch as well.

Dimension key: T samples, J query rows, Q searched rows, D embedding width. Source: Karlin and Altschul 1990
(form of the null). Not covered: pitch shift of more than three semitones; several pitches in one file, of
which the plain or the best one is reported; audio that was registered and then time-stretched by more than
10 %.
"""

import math
import uuid
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from registry.candidates import (
    Candidate,
    FetchCodes,
    IndexSearch,
    Looked,
    align,
    align_one,
    look_up,
    searched_rows,
    strength,
)
from registry.changelog import GenerationCodes
from registry.errors import WeightsUnavailable
from registry.fingerprint.network import EMBEDDING_WIDTH
from registry.fingerprint.windows import WINDOW_SAMPLES
from registry.index import Hits
from registry.null import Null
from registry.query import Embeds, Heard, Query, embed_query, probes

# False-alarm probability of one query. p is that of the hardest question, the same voice saying something
# else; a stranger, who is most of who asks, is accepted far more rarely (docs/benchmarks.md).
ACCEPT_BELOW = 1e-3
MAX_MATCHES = 10
MAX_SPANS = 4  # of one generation
# Who asks about one generation has its voice as a rule, and the same voice comes closer than a stranger: of a
# registry's windows about one in a hundred is of the voice that a query has.
SAME_VOICE = 100
# A smaller registry is judged as if it were this large, 133 hours: the best of six windows is in no tail, and
# our own voice, which says a phrase nearly alike in two sentences, comes closer than the people of the null.
# Among 26,000 windows 18 in a thousand of its pieces came under a thousandth, and 4 in a thousand so.
LEAST_WINDOWS = 1_000_000
# Two semitones and a quarter down and up: the plain search finds a semitone and a half, these from there to
# three and a half (docs/LOG.md, 2026-11-27).
PITCHES = (2.0 ** (-2.25 / 12.0), 2.0 ** (2.25 / 12.0))
PLAIN_SHARE = 0.9  # of the false alarms: a tenth costs the plain search 0.05 of its score, the others 1.4
PROBED_LINES = 10  # aligned for each of the other pitches
STRONG = 15.0  # by the root of the seconds of a match: with less it may be the right one at the wrong pitch
# By `strength`. A rare score says that likeness is no chance, and the same words in the same rhythm are alike
# as well, the surer the longer they go on: up to 7.8 in 10 s. Of 1,175 copies one has less, and of those
# in a room two of seven (docs/LOG.md, 2026-11-27).
LEAST_STRENGTH = 8.0
COPY_PER_WINDOW = 10.0  # score by the root of the windows of a query; nine in ten untouched copies have more

WEAK = "something registered is more alike than chance explains, and less than a copy is"
OLDER_WINDOWS = (
    "nothing is close enough among what can be compared; {} windows were registered with another version of "
    "the fingerprint and cannot be"
)
OLDER_GENERATION = "this generation was registered with another version of the fingerprint: not comparable"

Outcome = Literal["found", "not_found", "inconclusive"]


@dataclass(frozen=True)
class Match:
    """start_s to end_s of the query is generation_id from offset_s on."""

    generation_id: uuid.UUID
    offset_s: float  # place of start_s in the generation
    start_s: float
    end_s: float
    score: float  # how little chance explains it
    false_alarm_probability: float
    pitch: float = 1.0  # how many times as high as registered it was taken to be
    likeness: float = 0.0  # the part of the score that is the windows'; the rest is the signs'


@dataclass(frozen=True)
class MatchResult:
    """`score`, `likeness` and `false_alarm_probability` are those of the best candidate, accepted or not (1.0
    without any)."""

    outcome: Outcome
    reason: str | None
    score: float
    threshold: float
    false_alarm_probability: float
    matches: tuple[Match, ...]
    num_windows_indexed: int
    likeness: float = 0.0


@dataclass(frozen=True)
class Prepared:
    """Audio that was embedded once, for any number of questions to one network's registry."""

    query: Query | None  # None: too little to ask about, and `too_little` says of what
    too_little: str | None
    null: Null
    heard: Heard | None = None  # None: it is asked as it is, and at no other pitch


def prepare(wav_T: NDArray[np.float32], fingerprinter: Embeds) -> Prepared:
    """Audio (float32 at 24 kHz) for `match` and `compare`. Raises WeightsUnavailable when there is no
    calibration for these weights."""
    null = _null_of(fingerprinter)
    if len(wav_T) < WINDOW_SAMPLES:  # (1)
        length_s = len(wav_T) / SAMPLE_RATE_HZ
        return Prepared(None, f"too short: {length_s:.2f} s, a fingerprint needs 1 s", null)
    query = embed_query(wav_T, fingerprinter)
    if not query.informative_J.any():
        return Prepared(None, "silent: there is no second with sound in it", null)
    return Prepared(query, None, null, Heard(wav_T, fingerprinter))


def match(prepared: Prepared, search: IndexSearch, fetch: FetchCodes) -> MatchResult:
    """The generations that this audio holds, best first; one that it holds in several places, several times.

    `search` runs a function on the index while nobody changes it; `fetch` gives the codes of generations.
    Raises what they raise.
    """
    null, query = prepared.null, prepared.query
    if query is None:
        no_rows = np.zeros((0, EMBEDDING_WIDTH), np.float32)
        num_windows = look_up(no_rows, search).num_windows
        return MatchResult("inconclusive", prepared.too_little, 0.0, 0.0, 1.0, (), num_windows)
    rows_Q = searched_rows(query)
    looked = look_up(query.emb_JD[rows_Q], search)
    size = max(looked.num_windows, LEAST_WINDOWS)
    chance = _Chance(null, query.num_windows, size / PLAIN_SHARE)
    plain = _judged(query, align(query, rows_Q, looked.hits, fetch), chance, looked)
    if prepared.heard is None or any(map(_is_strong, plain.matches)):
        return plain
    chance = _Chance(null, query.num_windows, len(PITCHES) * size / (1.0 - PLAIN_SHARE))  # (5)
    if _score_of_a_copy(query) < chance.threshold:
        return plain
    tried = _at_other_pitches(prepared.heard, query, search, fetch)
    changed = [result for one, found in tried if (result := _judged(one, found, chance, looked)).matches]
    return max([plain, *changed], key=lambda result: result.score if result.matches else 0.0)


def _is_strong(match: Match) -> bool:
    return match.score >= STRONG * math.sqrt(match.end_s - match.start_s)


def _at_other_pitches(
    heard: Heard, query: Query, search: IndexSearch, fetch: FetchCodes
) -> list[tuple[Query, list[Candidate]]]:
    """(5) The query at each pitch, and what it is aligned with."""
    probed = probes(heard, query, PITCHES)
    rows_Q = np.flatnonzero(probed[0].informative_J)
    hits = look_up(np.concatenate([one.emb_JD[rows_Q] for one in probed]), search).hits
    tried = []
    for number, one in enumerate(probed):
        part = slice(number * len(rows_Q), (number + 1) * len(rows_Q))
        of_one = Hits(hits.scores_QK[part], hits.ordinals_QK[part], hits.windows_QK[part])
        tried.append((one, align(one, rows_Q, of_one, fetch, PROBED_LINES)))
    return tried


def _judged(query: Query, found: list[Candidate], chance: "_Chance", looked: Looked) -> MatchResult:
    """What is accepted of the candidates, with all of its spans."""
    accepted = [one for one in found[:MAX_MATCHES] if chance.p(one.score) <= ACCEPT_BELOW]
    matches = [match for best in accepted for match in _spans(query, chance, best)]
    result = _result(query, matches, found[0] if found else None, chance, looked.num_windows)
    if accepted and not matches:  # (6)
        return replace(result, outcome="inconclusive", reason=WEAK)
    if matches or not looked.num_foreign:
        return result
    # (7)
    return replace(result, outcome="inconclusive", reason=OLDER_WINDOWS.format(looked.num_foreign))


def compare(prepared: Prepared, codes: GenerationCodes) -> MatchResult:
    """Is this audio that one generation? N is the windows of that generation, times SAME_VOICE."""
    null, query = prepared.null, prepared.query
    num_windows = int(codes.informative_N.sum())
    if query is None:
        return MatchResult("inconclusive", prepared.too_little, 0.0, 0.0, 1.0, (), num_windows)
    if codes.weights_sha256 not in (None, null.weights_sha256):  # (7)
        return MatchResult("inconclusive", OLDER_GENERATION, 0.0, 0.0, 1.0, (), num_windows)
    chance = _Chance(null, query.num_windows, SAME_VOICE * num_windows)
    best = align_one(query, codes)
    accepted = best is not None and chance.p(best.score) <= ACCEPT_BELOW
    matches = _spans(query, chance, best) if best is not None and accepted else []
    return _result(query, matches, best, chance, num_windows)


def _spans(query: Query, chance: "_Chance", first: Candidate) -> list[Match]:
    """The accepted spans of a generation, best first: after each, what it explains is taken away."""
    spans: list[Match] = []
    rest, found = query, first
    while len(spans) < MAX_SPANS:
        p = chance.p(found.score)
        if p > ACCEPT_BELOW:
            break
        match = to_match(found, p, query)
        if strength(match.score, match.likeness, match.end_s - match.start_s) < LEAST_STRENGTH:
            break
        spans.append(match)
        rest = rest.without(found.alignment)
        further = align_one(rest, first.codes)
        if further is None:
            break
        found = further
    return spans


def to_match(found: Candidate, p: float, query: Query) -> Match:
    """A candidate in seconds; spans begin at the first window's start and end at the last one's end."""
    start_s, end_s = query.span_of(found.alignment)
    offset_s = max(0.0, found.agreement.place.second_of(start_s))
    likeness = found.alignment.likeness
    return Match(found.codes.generation_id, offset_s, start_s, end_s, found.score, p, query.pitch, likeness)


@dataclass(frozen=True)
class _Chance:
    """The null for one query: its length, and how many windows it is compared with."""

    null: Null
    query_windows: float
    num_windows: float  # times the searches that share the false alarms

    def p(self, score: float) -> float:
        return self.null.false_alarm_probability(score, self.query_windows, self.num_windows)

    @property
    def threshold(self) -> float:
        return self.null.threshold(ACCEPT_BELOW, self.query_windows, self.num_windows)


def _result(
    query: Query, matches: list[Match], best: Candidate | None, chance: _Chance, num_windows: int
) -> MatchResult:
    score, p = (best.score, chance.p(best.score)) if best else (0.0, 1.0)
    outcome: Outcome = "found" if matches else "not_found"
    reason = _changed(query.pitch) if matches else "nothing registered is close enough"
    if not matches and num_windows == 0:
        reason = "nothing is registered yet"
    elif not matches and _score_of_a_copy(query) < chance.threshold:  # (6)
        outcome = "inconclusive"
        reason = f"too little sound to tell it among {num_windows} windows; give a second or two more"
    ranked = sorted(matches, key=lambda match: -match.score)[:MAX_MATCHES]
    likeness = best.alignment.likeness if best else 0.0
    return MatchResult(outcome, reason, score, chance.threshold, p, tuple(ranked), num_windows, likeness)


def _changed(pitch: float) -> str | None:
    """What a match at this pitch says of the audio, and no more: each reaches over a semitone."""
    if pitch == 1.0:
        return None
    return f"it is about two or three semitones {'higher' if pitch > 1 else 'lower'} than what was registered"


def _score_of_a_copy(query: Query) -> float:
    return COPY_PER_WINDOW * math.sqrt(query.num_windows)


def _null_of(fingerprinter: Embeds) -> Null:
    null = Null.load()
    if null.weights_sha256 != fingerprinter.weights_sha256:
        raise WeightsUnavailable(
            "the calibration belongs to other fingerprint weights; run `earmark train fingerprint` to the end"
        )
    return null
