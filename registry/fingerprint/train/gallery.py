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

from registry import matching
from registry.alignment import Alignment
from registry.changelog import Change, GenerationCodes
from registry.fingerprint.windows import Fingerprinter
from registry.index import Hits, WindowIndex
from registry.matching import Query


class Gallery:
    """Registered recordings, numbered from 0 in the order of `add`."""

    def __init__(self, fingerprinter: Fingerprinter) -> None:
        self.fingerprinter = fingerprinter
        self.index = WindowIndex(fingerprinter.weights_sha256)
        self.codes: dict[int, GenerationCodes] = {}

    def add(self, wav_T: NDArray[np.float32]) -> int:
        """Register a whole recording (24 kHz); returns its number."""
        windows = self.fingerprinter.run(wav_T)
        return self.add_codes(GenerationCodes(0, uuid.UUID(int=0), windows.codes_ND, windows.informative_N))

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

    def best(self, query: Query, hidden: Collection[int] = ()) -> Alignment | None:
        """The best alignment of an embedded query, as if the `hidden` recordings had never been
        registered."""
        rows_Q = matching.searched_rows(query)
        if not len(rows_Q):
            return None
        # The hidden ones fill the first places, so as many more hits are asked for as they can take.
        num_hidden = sum(int(self.codes[ordinal].informative_N.sum()) for ordinal in hidden)
        hits = self.index.search(query.emb_JD[rows_Q], matching.HITS_PER_ROW + num_hidden)
        if hidden:
            hits = _without(hits, hidden)
        ranked = matching.align(query, rows_Q, hits, self.fetch)
        return ranked[0][0] if ranked else None


def _without(hits: Hits, hidden: Collection[int]) -> Hits:
    ordinals_QK = np.where(np.isin(hits.ordinals_QK, list(hidden)), -1, hits.ordinals_QK)
    # Only the best that are left count, as many as an ordinary search would have given.
    rank_QK = np.cumsum(ordinals_QK >= 0, axis=1)
    return hits._replace(ordinals_QK=np.where(rank_QK <= matching.HITS_PER_ROW, ordinals_QK, -1))


def slices(query: Query, seconds: float, step_s: float) -> list[Query]:
    """Queries of the given length cut out of a longer one, every `step_s`; rows do not depend on what
    surrounds."""
    row_s = matching.QUERY_HOP_SAMPLES / 24_000
    num_rows = 1 + round((seconds - 1.0) / row_s - 0.49)
    step = max(1, round(step_s / row_s))
    starts = range(0, len(query.emb_JD) - num_rows + 1, step)
    return [Query(query.emb_JD[s : s + num_rows], query.informative_J[s : s + num_rows]) for s in starts]
