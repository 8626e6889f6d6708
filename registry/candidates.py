"""From hits of the index to the best place in each generation that they name.

    hits ── votes ──► lines ── codes from PostgreSQL ──► aligned exactly (registry/alignment.py)
         ── signs from PostgreSQL ──► do they agree (registry/detail.py) ──► ranked

Dimension key: Q searched rows, K hits of a row, N windows of a generation. Not here: what is asked
(query.py), what is accepted (matching.py).
"""

from collections.abc import Callable, Iterable, Mapping
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
MAX_LINES = 32  # scored exactly for each query
LINES_OF_ONE = 12  # the same, for one generation

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
    generations = fetch({line.ordinal for line in lines})
    units = {ordinal: unit(codes.codes_ND) for ordinal, codes in generations.items()}
    best: dict[int, Candidate] = {}
    for line in lines:
        codes = generations.get(line.ordinal)
        if codes is None:
            continue  # the index never runs ahead of the database, so only a damaged one comes here
        found = _on_line(query, line, units[line.ordinal], codes)
        if found and (line.ordinal not in best or found.score > best[line.ordinal].score):
            best[line.ordinal] = found
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
    tried = [
        _on_line(query, line, unit_ND, codes)
        for line in alignment.vote(hits, LINES_OF_ONE, LINES_OF_ONE, query.rows_per_window)
    ]
    return max((found for found in tried if found), key=_score, default=None)


def _on_line(
    query: Query, line: Line, unit_ND: NDArray[np.float32], codes: GenerationCodes
) -> Candidate | None:
    found = alignment.score(line, query.emb_JD, query.informative_J, unit_ND, codes.informative_N)
    if found is None:
        return None
    agreement = query.agreement(found, codes.signs_NB, codes.informative_N)
    return agreement and Candidate(codes, found, agreement)


def _score(found: Candidate) -> float:
    return found.score
