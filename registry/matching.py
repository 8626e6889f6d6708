"""Which generations does this audio hold, where, and how likely is it that chance alone looks so good.

    (1) too short or silent -> inconclusive
    (2) embed the query every 0.12 s; search the index with every second informative row
    (3) lines by votes, scored exactly from the codes in PostgreSQL (registry/alignment.py)
    (4) E = K m N exp(-lambda S), p = 1 - exp(-E); accepted at p <= 1e-6
    (5) nothing accepted, and a perfect copy of this length could not have been -> inconclusive

S is the score of a line, m the query's length and N the registry's in windows: the expected number of chance
alignments grows with the product of both lengths, so the threshold follows the registry's size. lambda and K
are fitted on human speech that is not what it is compared with (weights/calibration.json holds them, how
many negatives stood behind them, and what fraction of fresh ones fell under each p).

Dimension key: T samples, J query rows, Q searched rows, D embedding width. Source: Karlin and Altschul 1990
(form of the null). Not covered: pitch shift; audio that was registered and then time-stretched by more than
6 %.
"""

import json
import math
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from registry import alignment
from registry.alignment import Alignment, Hit
from registry.changelog import GenerationCodes
from registry.errors import WeightsUnavailable
from registry.fingerprint.windows import HOP_SAMPLES, WEIGHTS, WINDOW_SAMPLES, Fingerprinter, informative
from registry.index import Hits, WindowIndex
from registry.index.window_index import unit

QUERY_HOP_SAMPLES = HOP_SAMPLES // alignment.ROWS_PER_WINDOW  # 0.12 s
# False-alarm probability of one query. p is about strangers; the same voice saying nearly the same words
# comes closer than it allows: of 5,305 queries by registered test voices 12 fell under 1e-4, the limit
# before. Stricter still, 1e-7, lost two in five clean copies of 3 s (docs/LOG.md, 2026-11-24).
ACCEPT_BELOW = 1e-6
MIN_PROBABILITY = 1e-9  # beyond what was checked the tail is extrapolated; below this nothing is claimed
HITS_PER_ROW = 20
MAX_LINES = 16  # scored exactly for each query
MAX_MATCHES = 10
_LOUD_RMS = 0.1  # quiet queries are raised to -20 dBFS, by 40 dB at most, before silence is judged
_SAMPLE_RATE_HZ = 24_000

Outcome = Literal["found", "not_found", "inconclusive"]
IndexSearch = Callable[[Callable[[WindowIndex], tuple[Hits, int]]], tuple[Hits, int]]
FetchCodes = Callable[[Iterable[int]], Mapping[int, GenerationCodes]]


@dataclass(frozen=True)
class Match:
    """start_s to end_s of the query is generation_id from offset_s on."""

    generation_id: uuid.UUID
    offset_s: float  # place of start_s in the generation
    start_s: float
    end_s: float
    score: float
    false_alarm_probability: float


@dataclass(frozen=True)
class MatchResult:
    """`score` and `false_alarm_probability` are those of the best candidate, accepted or not (1.0 without
    any)."""

    outcome: Outcome
    reason: str | None
    score: float
    threshold: float
    false_alarm_probability: float
    matches: tuple[Match, ...]
    num_windows_indexed: int


@dataclass(frozen=True)
class Null:
    """How chance scores are distributed; of one network, since another spreads its embeddings otherwise."""

    decay: float  # lambda, per unit of score
    log_k: float
    num_negatives: int
    weights_sha256: str
    share_below_p: Mapping[str, float] = field(default_factory=dict)  # of real negatives, as measured

    @classmethod
    def load(cls, path: Path = WEIGHTS / "calibration.json") -> Self:
        """Raises WeightsUnavailable when the file is missing or damaged."""
        try:
            stored = json.loads(path.read_text())
            return cls(**{name: stored[name] for name in cls.__dataclass_fields__})
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise WeightsUnavailable(f"no calibration at {path} ({exc}); reinstall earmark") from exc

    def false_alarm_probability(self, score: float, query_windows: float, num_windows: int) -> float:
        """p of a best score at least this high, over all places of a query among `num_windows`."""
        log_e = self.log_k + math.log(max(query_windows, 1.0) * max(num_windows, 1)) - self.decay * score
        return max(MIN_PROBABILITY, -math.expm1(-math.exp(min(log_e, 700.0))))

    def threshold(self, probability: float, query_windows: float, num_windows: int) -> float:
        """The score at which `false_alarm_probability` is `probability`."""
        log_e = math.log(-math.log1p(-probability))
        return (self.log_k + math.log(max(query_windows, 1.0) * max(num_windows, 1)) - log_e) / self.decay


@dataclass(frozen=True)
class Query:
    """Embedded audio: a row every 0.12 s, and which rows hold sound."""

    emb_JD: NDArray[np.float32]
    informative_J: NDArray[np.bool_]

    @property
    def num_windows(self) -> float:
        """Its length in registry windows, silence left out."""
        return float(self.informative_J.sum()) / alignment.ROWS_PER_WINDOW


@dataclass(frozen=True)
class Prepared:
    """Audio that was embedded once, for any number of questions to one network's registry."""

    query: Query | None  # None: too little to ask about, and `too_little` says of what
    too_little: str | None
    null: Null


def prepare(wav_T: NDArray[np.float32], fingerprinter: Fingerprinter) -> Prepared:
    """Audio (float32 at 24 kHz) for `match` and `compare`. Raises WeightsUnavailable when there is no
    calibration for these weights."""
    null = _null_of(fingerprinter)
    if len(wav_T) < WINDOW_SAMPLES:  # (1)
        length_s = len(wav_T) / _SAMPLE_RATE_HZ
        return Prepared(None, f"too short: {length_s:.2f} s, a fingerprint needs 1 s", null)
    query = embed_query(wav_T, fingerprinter)
    if not query.informative_J.any():
        return Prepared(None, "silent: there is no second with sound in it", null)
    return Prepared(query, None, null)


def embed_query(wav_T: NDArray[np.float32], fingerprinter: Fingerprinter) -> Query:
    """Audio at 24 kHz, at least one window, as a query. 5 s take about 40 ms on one core."""
    rms = math.sqrt(float(np.mean(np.square(wav_T, dtype=np.float64))) + 1e-20)
    gain = np.float32(min(max(1.0, _LOUD_RMS / rms), 100.0))
    emb_JD = fingerprinter.embed(wav_T, QUERY_HOP_SAMPLES)
    return Query(emb_JD, informative(wav_T * gain, QUERY_HOP_SAMPLES))


def match(prepared: Prepared, search: IndexSearch, fetch: FetchCodes) -> MatchResult:
    """The generations that this audio holds, best first, each once.

    `search` runs a function on the index while nobody changes it; `fetch` gives the codes of generations.
    Raises what they raise.
    """
    null, query = prepared.null, prepared.query
    if query is None:
        return MatchResult("inconclusive", prepared.too_little, 0.0, 0.0, 1.0, (), search(_only_size)[1])
    rows_Q = searched_rows(query)
    hits, num_windows = search(
        lambda index: (index.search(query.emb_JD[rows_Q], HITS_PER_ROW), index.num_windows)
    )
    found = align(query, rows_Q, hits, fetch)
    p_values = [null.false_alarm_probability(best.score, query.num_windows, num_windows) for best, _ in found]
    matches = tuple(
        to_match(best, generation_id, p)
        for (best, generation_id), p in zip(found, p_values, strict=True)
        if p <= ACCEPT_BELOW
    )
    best_score, best_p = (found[0][0].score, p_values[0]) if found else (0.0, 1.0)
    return _result(query, null, matches[:MAX_MATCHES], best_score, best_p, num_windows)


def compare(prepared: Prepared, codes: GenerationCodes) -> MatchResult:
    """Is this audio that one generation? N is the windows of that generation alone; at most one match."""
    null, query = prepared.null, prepared.query
    num_windows = int(codes.informative_N.sum())
    if query is None:
        return MatchResult("inconclusive", prepared.too_little, 0.0, 0.0, 1.0, (), num_windows)
    best = align_one(query, codes)
    score = best.score if best else 0.0
    p = null.false_alarm_probability(score, query.num_windows, num_windows) if best else 1.0
    matches = (to_match(best, codes.generation_id, p),) if best and p <= ACCEPT_BELOW else ()
    return _result(query, null, matches, score, p, num_windows)


def align(
    query: Query, rows_Q: NDArray[np.int64], hits: Hits, fetch: FetchCodes
) -> list[tuple[Alignment, uuid.UUID]]:
    """The best alignment of each candidate generation, best first (3)."""
    _, K = hits.scores_QK.shape
    flat = Hit(
        np.repeat(rows_Q, K), hits.ordinals_QK.ravel(), hits.windows_QK.ravel(), hits.scores_QK.ravel()
    )
    lines = alignment.vote(flat, MAX_LINES)
    generations = fetch({line.ordinal for line in lines})
    best: dict[int, Alignment] = {}
    for line in lines:
        codes = generations.get(line.ordinal)
        if codes is None:
            continue  # the index never runs ahead of the database, so only a damaged one comes here
        scored = alignment.score(
            line, query.emb_JD, query.informative_J, unit(codes.codes_ND), codes.informative_N
        )
        if scored and (line.ordinal not in best or scored.score > best[line.ordinal].score):
            best[line.ordinal] = scored
    ranked = sorted(best.values(), key=lambda found: -found.score)
    return [(found, generations[found.line.ordinal].generation_id) for found in ranked]


def align_one(query: Query, codes: GenerationCodes) -> Alignment | None:
    """The best alignment with one generation, from all of its windows."""
    unit_ND = unit(codes.codes_ND)
    rows = np.flatnonzero(query.informative_J)
    windows = np.flatnonzero(codes.informative_N)
    cosines = unit_ND[windows] @ query.emb_JD[rows].T
    strongest = np.argsort(-cosines, axis=None)[: HITS_PER_ROW * len(rows)]
    n, j = np.unravel_index(strongest, cosines.shape)
    ordinals = np.full(len(strongest), codes.generation_ordinal, np.int64)
    hits = Hit(rows[j], ordinals, windows[n], cosines[n, j])
    scored = [
        alignment.score(line, query.emb_JD, query.informative_J, unit_ND, codes.informative_N)
        for line in alignment.vote(hits, MAX_LINES, limit_per_generation=MAX_LINES)
    ]
    return max((found for found in scored if found), key=lambda found: found.score, default=None)


def to_match(found: Alignment, generation_id: uuid.UUID, p: float) -> Match:
    """An alignment in seconds; spans begin at the first window's start and end at the last one's end."""
    row_s, window_s = QUERY_HOP_SAMPLES / _SAMPLE_RATE_HZ, HOP_SAMPLES / _SAMPLE_RATE_HZ
    begins_s = found.line.row_of(found.first_window) * row_s
    start_s = max(0.0, begins_s)
    offset_s = found.first_window * window_s + (start_s - begins_s) * found.line.speed
    end_s = found.line.row_of(found.last_window) * row_s + WINDOW_SAMPLES / _SAMPLE_RATE_HZ
    return Match(generation_id, max(0.0, offset_s), start_s, end_s, found.score, p)


def searched_rows(query: Query) -> NDArray[np.int64]:
    """Every second informative row, or every one of a query under 2 s (2)."""
    rows = np.flatnonzero(query.informative_J)
    return rows if len(rows) <= 2 * alignment.ROWS_PER_WINDOW else rows[::2]


def _only_size(index: WindowIndex) -> tuple[Hits, int]:
    nothing = np.zeros((0, 1), np.int64)
    return Hits(nothing.astype(np.float32), nothing, nothing), index.num_windows


def _result(
    query: Query, null: Null, matches: tuple[Match, ...], score: float, p: float, num_windows: int
) -> MatchResult:
    threshold = null.threshold(ACCEPT_BELOW, query.num_windows, num_windows)
    perfect = math.ceil(query.num_windows) * (1.0 - alignment.NEUTRAL_COSINE)
    outcome: Outcome = "found" if matches else "not_found"
    reason = None if matches else "nothing registered is close enough"
    if not matches and num_windows == 0:
        reason = "nothing is registered yet"
    elif not matches and perfect < threshold:  # (5)
        outcome = "inconclusive"
        reason = f"too little sound to tell it among {num_windows} windows; give a second or two more"
    return MatchResult(outcome, reason, score, threshold, p, matches, num_windows)


def _null_of(fingerprinter: Fingerprinter) -> Null:
    null = Null.load()
    if null.weights_sha256 != fingerprinter.weights_sha256:
        raise WeightsUnavailable(
            "the calibration belongs to other fingerprint weights; run `earmark train fingerprint` to the end"
        )
    return null
