"""The newest windows, uncompressed: what was applied since the last segment was sealed.

Exact inner products, 512 bytes a window beside the 128 of its codes. Each change keeps its position, so that
what another process has sealed meanwhile can be taken out again.

Dimension key: N rows, Q query rows, D embedding width.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from registry.index.hits import Hits
from registry.index.quantizer import unit
from registry.tables import EMBEDDING_WIDTH


@dataclass(frozen=True)
class Entry:
    """What one change added: its informative windows, or how many were of other weights."""

    position: int
    ordinal: int
    windows_N: NDArray[np.int32]
    codes_ND: NDArray[np.int8]
    num_foreign: int


class Hot:
    """A list of entries and a flat index over them. Not safe to search while adding."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._index = faiss.IndexFlatIP(EMBEDDING_WIDTH)
        self._places: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    @property
    def num_windows(self) -> int:
        return int(self._index.ntotal)

    def add(self, entries: list[Entry]) -> None:
        """In the order of their positions."""
        self.entries += entries
        self._places = None
        if any(len(entry.codes_ND) for entry in entries):
            self._index.add(unit(np.concatenate([entry.codes_ND for entry in entries])))

    def after(self, position: int) -> "Hot":
        """The same without what a segment up to this position holds."""
        rest = Hot()
        rest.add([entry for entry in self.entries if entry.position > position])
        return rest

    def search(self, emb_QD: NDArray[np.float32], k: int) -> Hits:
        """The k best rows of each query row, by exact score."""
        scores_QK, rows_QK = self._index.search(emb_QD, k)
        ordinals_N, windows_N = self.places()
        found_QK, rows_QK = rows_QK >= 0, np.maximum(rows_QK, 0)
        return Hits(
            np.where(found_QK, scores_QK, -np.inf),
            np.where(found_QK, ordinals_N[rows_QK], -1),
            np.where(found_QK, windows_N[rows_QK], -1),
        )

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Generation and window of each row."""
        if self._places is None:
            counts = [len(entry.windows_N) for entry in self.entries]
            ordinals = np.repeat(np.array([entry.ordinal for entry in self.entries], np.int64), counts)
            windows = [entry.windows_N for entry in self.entries]
            self._places = (ordinals, np.concatenate([np.zeros(0, np.int64), *windows]))
        return self._places

    def vectors(self) -> NDArray[np.float32]:
        """[N, D], in the order of `places`."""
        emb_ND: NDArray[np.float32] = self._index.reconstruct_n(0, self.num_windows)
        return emb_ND
