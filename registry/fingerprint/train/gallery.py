"""A registry in memory: the real index, codes and matching, without PostgreSQL. For calibration and
benchmarks.

Dimension key: T samples, N windows, J query rows. Not covered: durability; see registry/registry.py for the
service.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from registry import alignment, candidates, matching
from registry.candidates import Candidate
from registry.changelog import Change, GenerationCodes
from registry.fingerprint.windows import HOP_SAMPLES, WINDOW_SAMPLES, Fingerprinter
from registry.index import Hits, WindowIndex
from registry.matching import MatchResult, Prepared
from registry.null import Null
from registry.query import SHORT_SAMPLES, Heard, Query, as_query, embed_query, heard_values

ROW_SAMPLES = HOP_SAMPLES // alignment.ROWS_PER_WINDOW
ROW_S = ROW_SAMPLES / SAMPLE_RATE_HZ  # 0.12 s


class Gallery:
    """Registered recordings, numbered from 0 in the order of `add`."""

    def __init__(self, fingerprinter: Fingerprinter) -> None:
        self.fingerprinter = fingerprinter
        self.index = WindowIndex(fingerprinter.weights_sha256)
        self.codes: dict[int, GenerationCodes] = {}

    def add(self, wav_T: NDArray[np.float32]) -> int:
        """Register a whole recording (24 kHz); returns its number."""
        windows = self.fingerprinter.run(wav_T)
        return self.add_codes(
            GenerationCodes(0, uuid.UUID(int=0), windows.codes_ND, windows.signs_NB, windows.informative_N)
        )

    def add_codes(self, codes: GenerationCodes) -> int:
        """Register codes made before, under a new number."""
        ordinal = len(self.codes)
        codes = replace(codes, generation_ordinal=ordinal, generation_id=uuid.UUID(int=ordinal))
        self.codes[ordinal] = codes
        self.index.apply(
            [
                Change(
                    position=ordinal + 1,
                    generation_ordinal=ordinal,
                    generation_id=codes.generation_id,
                    first_window=0,
                    codes_ND=codes.codes_ND,
                    informative_N=codes.informative_N,
                    weights_sha256=self.fingerprinter.weights_sha256,
                )
            ]
        )
        return ordinal

    def fetch(self, ordinals: Iterable[int]) -> Mapping[int, GenerationCodes]:
        """As `changelog.fetch_codes`."""
        return {ordinal: self.codes[ordinal] for ordinal in ordinals if ordinal in self.codes}

    def best(self, query: Query, hidden: Collection[int] = ()) -> Candidate | None:
        """The best candidate for a query, as if the `hidden` recordings had never been registered."""
        rows_Q = candidates.searched_rows(query)
        if not len(rows_Q):
            return None
        hits = self.without(hidden).search(query.emb_JD[rows_Q], candidates.HITS_PER_ROW)
        ranked = candidates.align(query, rows_Q, hits, self.fetch)
        return ranked[0] if ranked else None

    def match(self, prepared: Prepared, hidden: Collection[int] = ()) -> MatchResult:
        """What `Registry.search` says, as if the `hidden` recordings had never been registered."""
        index = self.without(hidden)
        return matching.match(prepared, lambda look: look(index), self.fetch)

    def without(self, hidden: Collection[int]) -> WindowIndex:
        """The index, which gives no hits of the `hidden` recordings; for searches only."""
        if not hidden:
            return self.index
        # The hidden ones fill the first places, so as many more hits are asked for as they can take.
        return _Hiding(self.index, hidden, sum(int(self.codes[one].informative_N.sum()) for one in hidden))


class _Hiding(WindowIndex):
    """Another index's hits, less those of some recordings."""

    def __init__(self, index: WindowIndex, hidden: Collection[int], num_hidden: int) -> None:
        super().__init__(index.weights_sha256)
        self._whole, self._hidden, self._num_hidden = index, list(hidden), num_hidden

    @property
    def num_windows(self) -> int:
        return self._whole.num_windows

    def search(self, emb_QD: NDArray[np.float32], k: int) -> Hits:
        hits = self._whole.search(emb_QD, k + self._num_hidden)
        ordinals_QK = np.where(np.isin(hits.ordinals_QK, self._hidden), -1, hits.ordinals_QK)
        # Only the best that are left count, as many as an ordinary search would have given.
        rank_QK = np.cumsum(ordinals_QK >= 0, axis=1)
        return hits._replace(ordinals_QK=np.where(rank_QK <= k, ordinals_QK, -1))


class Pieces:
    """Queries cut out of one recording, which share the rows that lie wholly inside."""

    def __init__(self, wav_T: NDArray[np.float32], fingerprinter: Fingerprinter) -> None:
        """`wav_T` as long as a window at least."""
        self._wav_T = wav_T
        self._fingerprinter = fingerprinter
        self._emb_JD = fingerprinter.embed(wav_T, ROW_SAMPLES)

    def prepared(self, first_row: int, seconds: float, null: Null) -> Prepared:
        """What `matching.prepare` makes of the piece that `cut` cuts."""
        piece_T = self._piece(first_row, seconds)
        return Prepared(self.cut(first_row, seconds), None, null, Heard(piece_T, self._fingerprinter))

    def starts(self, seconds: float, step_s: float) -> range:
        """First rows of the queries of this length, about every `step_s`."""
        step = max(1, round(step_s / ROW_S))
        return range(0, len(self._emb_JD) - _num_rows(seconds) + 1, step)

    def cut(self, first_row: int, seconds: float) -> Query:
        """The query from `first_row` * 0.12 s on: what `embed_query` makes of it, and cheaper."""
        num_rows, margin = _num_rows(seconds), alignment.ROWS_PER_WINDOW
        piece_T = self._piece(first_row, seconds)
        if len(piece_T) < SHORT_SAMPLES:
            return embed_query(piece_T, self._fingerprinter)
        before_JD = self._fingerprinter.embed(piece_T, ROW_SAMPLES, -margin * ROW_SAMPLES, margin)
        after_JD = self._fingerprinter.embed(piece_T, ROW_SAMPLES, num_rows * ROW_SAMPLES, margin)
        inside_JD = self._emb_JD[first_row : first_row + num_rows]
        emb_JD = np.concatenate([before_JD, inside_JD, after_JD])
        return as_query(emb_JD, piece_T, margin, *heard_values(piece_T, self._fingerprinter))

    def _piece(self, first_row: int, seconds: float) -> NDArray[np.float32]:
        length = (_num_rows(seconds) - 1) * ROW_SAMPLES + WINDOW_SAMPLES
        return self._wav_T[first_row * ROW_SAMPLES :][:length]


def _num_rows(seconds: float) -> int:
    return 1 + round((seconds - 1.0) / ROW_S - 0.49)
