"""Which generations does this audio hold, where, and how likely is it that chance alone looks so good.

    (1) too short or silent -> inconclusive
    (2) embed the query every 0.12 s, or every 0.06 s when it is shorter than 2 s, from 0.48 s before its
        beginning to 0.48 s after its end; search the index with every second informative row
    (3) lines by votes, scored exactly from the codes in PostgreSQL (registry/candidates.py)
    (4) E = K N exp(-lambda S) with K and lambda of the query's length, p = 1 - exp(-E); accepted at p <= 1e-3
        what is left of the query is compared with the accepted generations again, for further spans
    (5) nothing accepted, or weakly: (2) to (4) again at two other pitches, at first with some of the rows.
        The plain search has nine parts in ten of the false alarms, the others share the tenth
    (6) nothing accepted, and a perfect copy of this length could not have been -> inconclusive
    (7) nothing accepted, and some of the registry was fingerprinted by another network -> inconclusive

S is the score of a line and N the registry's length in windows: the expected number of chance alignments
grows with N, so the threshold follows the registry's size. lambda and K are fitted for each of several
lengths of query (a second scores by two or three windows, and their sum has another tail than that of twenty)
on speech that is not what it is compared with; weights/calibration.json holds them, how many negatives stood
behind them, and what fraction of them fell under each p. A search with a share of the false alarms is one
among as many more windows.

(5) changes the bands that the network hears and no time, so rows, spans and offsets are of the audio as it
was sent. `compare` has no (5): who names a generation has read its mark, which tells the pitch as well.

Dimension key: T samples, J query rows, Q searched rows, D embedding width. Source: Karlin and Altschul 1990
(form of the null). Not covered: pitch shift of more than two semitones; several pitches in one file, of which
the plain or the best one is reported; audio that was registered and then time-stretched by more than 10 %.
"""

import math
import uuid
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from registry.alignment import Alignment
from registry.candidates import (
    Candidates,
    FetchCodes,
    IndexSearch,
    Looked,
    align,
    align_one,
    look_up,
    searched_rows,
)
from registry.changelog import GenerationCodes
from registry.errors import WeightsUnavailable
from registry.fingerprint.network import EMBEDDING_WIDTH
from registry.fingerprint.windows import HOP_SAMPLES, WINDOW_SAMPLES
from registry.index import Hits
from registry.null import Null
from registry.query import WINDOW_S, Embeds, Heard, Query, embed_query, probes

# False-alarm probability of one query. p is that of the hardest question, the same voice saying something
# else; a stranger, who is most of who asks, is accepted far more rarely (docs/benchmarks.md).
ACCEPT_BELOW = 1e-3
MAX_MATCHES = 10
MAX_SPANS = 4  # of one generation
# Who asks about one generation has its voice as a rule, and the same voice comes closer than a stranger: of a
# registry's windows about one in a hundred is of the voice that a query has.
SAME_VOICE = 100
# A smaller registry is judged as if it were this large: as many windows as the tails were fitted to. The best
# of six windows is in no tail, and a stranger's would be called one in a thousand.
LEAST_WINDOWS = 24_000
# A semitone and a quarter down and up. Windows of one recording keep a cosine of 0.94 half a semitone apart,
# 0.88 at three quarters and 0.81 at a whole one (docs/LOG.md, 2026-11-26): these two and the plain search
# reach two semitones to either side.
PITCHES = (2.0 ** (-1.25 / 12.0), 2.0 ** (1.25 / 12.0))
PLAIN_SHARE = 0.9  # of the false alarms: a tenth costs the plain search 0.05 of its score, the others 1.4
# Of the threshold, before all rows are embedded: of 327 negatives the probes of one come so far.
PROMISING = 0.3
PROBED_LINES = 8  # scored for each probe
STRONG_PER_S = 1.0  # of a match, by its length: with less it may be the right one at the wrong pitch
_MOST_AT_AN_END = 0.8  # of a window heard by three quarters: cosine 0.8 (measured, untouched copies)

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
    likeness: float = 0.0  # how alike they are, summed over the windows


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
    found = _at_another_pitch(prepared.heard, query, chance, search, fetch)
    changed = plain if found is None else _judged(*found, chance, looked)
    better = changed.matches and changed.false_alarm_probability < plain.false_alarm_probability
    return changed if better else plain


def _is_strong(match: Match) -> bool:
    return match.likeness >= STRONG_PER_S * (match.end_s - match.start_s)


def _at_another_pitch(
    heard: Heard, query: Query, chance: "_Chance", search: IndexSearch, fetch: FetchCodes
) -> tuple[Query, Candidates] | None:
    """(5) The query at the pitch whose probe is the most promising, and what it is aligned with."""
    if _score_of_a_copy(query) < chance.threshold:
        return None
    probed = probes(heard, query, PITCHES)
    rows_Q = np.flatnonzero(probed[0].informative_J)
    hits = look_up(np.concatenate([one.emb_JD[rows_Q] for one in probed]), search).hits
    best, promising = PROMISING * chance.threshold, None
    for number, one in enumerate(probed):
        part = slice(number * len(rows_Q), (number + 1) * len(rows_Q))
        of_one = Hits(hits.scores_QK[part], hits.ordinals_QK[part], hits.windows_QK[part])
        found = align(one, rows_Q, of_one, fetch, PROBED_LINES)
        if found and found[0][0].score >= best:
            best, promising = found[0][0].score, (one.pitch, of_one)
    if promising is None:
        return None
    pitch, of_one = promising
    whole = embed_query(heard.wav_T, heard.fingerprinter, pitch)
    return whole, align(whole, rows_Q, of_one, fetch)


def _judged(query: Query, found: Candidates, chance: "_Chance", looked: Looked) -> MatchResult:
    """What is accepted of the candidates, with all of its spans."""
    accepted = [one for one in found[:MAX_MATCHES] if chance.p(one[0].score) <= ACCEPT_BELOW]
    matches = [match for best, codes in accepted for match in _spans(query, codes, chance, best)]
    result = _result(query, matches, found[0][0] if found else None, chance, looked.num_windows)
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
    matches = _spans(query, codes, chance, best) if best is not None and accepted else []
    return _result(query, matches, best, chance, num_windows)


def _spans(query: Query, codes: GenerationCodes, chance: "_Chance", first: Alignment) -> list[Match]:
    """The accepted spans of a generation, best first: after each, what it explains is taken away."""
    spans: list[Match] = []
    rest, found = query, first
    while len(spans) < MAX_SPANS:
        p = chance.p(found.score)
        if p > ACCEPT_BELOW:
            break
        spans.append(to_match(found, codes.generation_id, p, query))
        rest = rest.without(found)
        further = align_one(rest, codes)
        if further is None:
            break
        found = further
    return spans


def to_match(found: Alignment, generation_id: uuid.UUID, p: float, query: Query) -> Match:
    """An alignment in seconds; spans begin at the first window's start and end at the last one's end."""
    begins_s, last_s = (query.second_of(row) for row in found.rows)
    start_s = min(max(0.0, begins_s), query.duration_s)
    offset_s = found.first_window * HOP_SAMPLES / SAMPLE_RATE_HZ + (start_s - begins_s) * found.line.speed
    end_s = min(last_s + WINDOW_S, query.duration_s)
    return Match(
        generation_id, max(0.0, offset_s), start_s, end_s, found.score, p, query.pitch, found.likeness
    )


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
    query: Query, matches: list[Match], best: Alignment | None, chance: _Chance, num_windows: int
) -> MatchResult:
    score, p = (best.score, chance.p(best.score)) if best else (0.0, 1.0)
    outcome: Outcome = "found" if matches else "not_found"
    reason = _changed(query.pitch) if matches else "nothing registered is close enough"
    if not matches and num_windows == 0:
        reason = "nothing is registered yet"
    elif not matches and _score_of_a_copy(query) < chance.threshold:  # (6)
        outcome = "inconclusive"
        reason = f"too little sound to tell it among {num_windows} windows; give a second or two more"
    ranked = sorted(matches, key=lambda match: (-match.score, -match.likeness))[:MAX_MATCHES]
    likeness = best.likeness if best else 0.0
    return MatchResult(outcome, reason, score, chance.threshold, p, tuple(ranked), num_windows, likeness)


def _changed(pitch: float) -> str | None:
    """What a match at this pitch says of the audio, and no more: each reaches over a semitone."""
    if pitch == 1.0:
        return None
    return f"it is about one or two semitones {'higher' if pitch > 1 else 'lower'} than what was registered"


def _score_of_a_copy(query: Query) -> float:
    """What an untouched copy of this length scores at most: whole windows, and one at each end."""
    num_whole = max(0.0, math.ceil(query.num_windows - 2))
    return query.highest_gain * num_whole + 2 * _MOST_AT_AN_END


def _null_of(fingerprinter: Embeds) -> Null:
    null = Null.load()
    if null.weights_sha256 != fingerprinter.weights_sha256:
        raise WeightsUnavailable(
            "the calibration belongs to other fingerprint weights; run `earmark train fingerprint` to the end"
        )
    return null
