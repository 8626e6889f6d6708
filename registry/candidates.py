"""From hits of the index to the best place in each generation that they name.

    hits ── votes ──► lines ── codes from PostgreSQL ──► aligned exactly (registry/alignment.py)
         ── of the most alike, signs ──► do they agree (registry/detail.py) ──► ranked

The signs of a line cost three times what its alignment does, and of the accepted lines none was beyond the
third by likeness (docs/LOG.md, 2026-11-27).
Dimension key: Q searched rows, K hits of a row, N windows of a generation. Not here: what is asked
(query.py), what is accepted (matching.py).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry import alignment
from registry.alignment import Alignment, Hit, Line
from registry.changelog import GenerationCodes
from registry.detail import Agreement
from registry.index import Hits, WindowIndex
from registry.index.window_index import unit
from registry.query import SHORT_ROWS, Query

HITS_PER_ROW = 20
MAX_LINES = 20  # aligned for each query
LINES_OF_ONE = 12  # the same, for one generation
MAX_DETAILED = 6  # of them, the most alike, whose signs are compared
LIKENESS = 3.0  # counts beside the signs in a strength: in 10 s as much as in the score
MAX_DETAILED_LONG = 16  # beyond 5.3 s, which may hold several generations

IndexSearch = Callable[[Callable[[WindowIndex], "Looked"]], "Looked"]
FetchCodes = Callable[[Iterable[int]], Mapping[int, GenerationCodes]]


class Candidate(NamedTuple):
    """A generation, what of the query is alike, and how well the signs agree there."""

    codes: GenerationCodes
    alignment: Alignment
    agreement: Agreement

    @property
    def score(self) -> float:
        """How little chance explains it: by the signs, and by the windows. What a codec or a room leaves of
        the signs is little and of the windows much; of a phrase said again it is the other way round."""
        return self.agreement.score + self.alignment.likeness


def strength(score: float, likeness: float, seconds: float) -> float:
    """How alike audio of that length is, whatever the length: signs / sqrt(s) + 3 likeness / s, the two parts
    of a score. The signs of a copy grow with the root of its length and the likeness with the length."""
    return (score - likeness) / math.sqrt(seconds) + LIKENESS * likeness / seconds


class Looked(NamedTuple):
    """The hits of rows, how many windows they were looked for among, and how many could not be looked at,
    since another network made them."""

    hits: Hits
    num_windows: int
    num_foreign: int


def look_up(emb_QD: NDArray[np.float32], search: IndexSearch) -> Looked:
    """The hits of rows [Q, D], of which there may be none."""
    return search(
        lambda index: Looked(index.search(emb_QD, HITS_PER_ROW), index.num_windows, index.num_foreign)
    )


def searched_rows(query: Query) -> NDArray[np.int64]:
    """All informative rows of up to 5.3 s, every third one of longer audio, which has rows to spare. Not
    every second one: windows are four rows apart, and all could miss them by 0.12 s."""
    step = 1 if len(query.informative_J) <= SHORT_ROWS else 3
    return np.flatnonzero(query.informative_J)[::step]


def align(
    query: Query, rows_Q: NDArray[np.int64], hits: Hits, fetch: FetchCodes, max_lines: int = MAX_LINES
) -> list[Candidate]:
    """The best place in each generation that the hits name, best first."""
    _, K = hits.scores_QK.shape
    flat = Hit(
        np.repeat(rows_Q, K), hits.ordinals_QK.ravel(), hits.windows_QK.ravel(), hits.scores_QK.ravel()
    )
    lines = alignment.vote(flat, max_lines, rows_per_window=query.rows_per_window)
    # The index never runs ahead of the database, so only in a damaged one a generation is missing.
    generations = fetch({line.ordinal for line in lines})
    units = {ordinal: unit(codes.codes_ND) for ordinal, codes in generations.items()}
    aligned = [
        (found, generations[line.ordinal])
        for line in lines
        if line.ordinal in generations
        and (found := _aligned(query, line, units[line.ordinal], generations[line.ordinal]))
    ]
    best: dict[int, Candidate] = {}
    for candidate in _detailed(query, aligned):
        ordinal = candidate.codes.generation_ordinal
        if ordinal not in best or candidate.score > best[ordinal].score:
            best[ordinal] = candidate
    return sorted(best.values(), key=_score, reverse=True)


def align_one(query: Query, codes: GenerationCodes) -> Candidate | None:
    """The best place in one generation, from all of its windows."""
    unit_ND = unit(codes.codes_ND)
    rows = np.flatnonzero(query.informative_J)
    windows = np.flatnonzero(codes.informative_N)
    if not len(rows) or not len(windows):
        return None
    cosines = unit_ND[windows] @ query.emb_JD[rows].T
    strongest = np.argsort(-cosines, axis=None)[: HITS_PER_ROW * len(rows)]
    n, j = np.unravel_index(strongest, cosines.shape)
    ordinals = np.full(len(strongest), codes.generation_ordinal, np.int64)
    hits = Hit(rows[j], ordinals, windows[n], cosines[n, j])
    aligned = [
        (found, codes)
        for line in alignment.vote(hits, LINES_OF_ONE, LINES_OF_ONE, query.rows_per_window)
        if (found := _aligned(query, line, unit_ND, codes))
    ]
    return max(_detailed(query, aligned), key=_score, default=None)


def _aligned(
    query: Query, line: Line, unit_ND: NDArray[np.float32], codes: GenerationCodes
) -> Alignment | None:
    return alignment.score(line, query.emb_JD, query.informative_J, unit_ND, codes.informative_N)


def _detailed(query: Query, aligned: list[tuple[Alignment, GenerationCodes]]) -> Iterator[Candidate]:
    """Whether the signs agree under the alignments that are most alike."""
    most = MAX_DETAILED if len(query.informative_J) <= SHORT_ROWS else MAX_DETAILED_LONG
    for found, codes in sorted(aligned, key=lambda pair: -pair[0].likeness)[:most]:
        agreement = query.agreement(found, codes.signs_NB, codes.informative_N)
        if agreement:
            yield Candidate(codes, found, agreement)


def _score(found: Candidate) -> float:
    return found.score
