"""Nearest windows among all that were registered; a replica that replays the changelog by position.

    up to 131072 windows (17 h): exact inner product, 512 bytes a window
    above:                       PQ64x4 fast scan, 32 bytes a window, still exhaustive

Rows are only ever appended. Row -> (generation, window) is two sorted arrays per block and one number a row,
so it cannot run out of step with Faiss as an id map can. Codes of another network than this one's are passed
over and counted in `num_foreign`. Scores of the fast scan are approximate: re-score before comparing with a
threshold.

Not safe to search while applying: Faiss allows no search beside a change. registry/replica.py holds the lock.
Dimension key: N index rows, D embedding width, Q query rows, K hits of a row.
Source: André, Kermarrec, Le Scouarnec 2015 (fast scan). Not covered: removal; generations are never removed.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from registry.changelog import Change
from registry.fingerprint.network import EMBEDDING_WIDTH
from registry.index import snapshot

EXACT_WINDOWS = 131_072  # an exact search of 40 query rows takes about 60 ms there on one core
_TRAIN_WINDOWS = 65_536  # for 64 x 16 centroids: far more than the 256 a centroid that help


class Hits(NamedTuple):
    """The best rows of each query row, best first; where there are fewer than K, ordinal and window are
    -1."""

    scores_QK: NDArray[np.float32]
    ordinals_QK: NDArray[np.int64]
    windows_QK: NDArray[np.int64]


class WindowIndex:
    """Informative windows of every generation replayed so far."""

    def __init__(self, weights_sha256: str | None = None, exact_windows: int = EXACT_WINDOWS) -> None:
        """An empty index at position 0. `weights_sha256`: whose codes to take; None: those of the first
        change."""
        self.position = 0
        self.num_foreign = 0
        self.weights_sha256 = weights_sha256
        self._exact_windows = exact_windows
        self._faiss: faiss.Index = faiss.IndexFlatIP(EMBEDDING_WIDTH)
        self._starts: list[int] = []  # first row of each block
        self._ordinals: list[int] = []  # generation of each block
        self._windows: list[NDArray[np.int32]] = []  # window number of each row, one array a block

    @property
    def num_windows(self) -> int:
        return int(self._faiss.ntotal)

    @property
    def is_exact(self) -> bool:
        return isinstance(self._faiss, faiss.IndexFlat)

    def apply(self, changes: Iterable[Change]) -> None:
        """Add what lies behind `position`; what was applied before is passed over, so a replay may repeat.

        Changes come in ascending order of position, as the changelog gives them. Raises ValueError otherwise,
        with everything before the offending change applied.
        """
        last_given = 0
        rows: list[NDArray[np.int8]] = []
        try:
            for change in changes:
                if change.position <= last_given:
                    raise ValueError(f"change {change.position} came after {last_given}; positions must rise")
                last_given = change.position
                if change.position > self.position:
                    rows.append(self._take(change, self.num_windows + sum(map(len, rows))))
                    self.position = change.position
        finally:
            if sum(map(len, rows)):
                self._add(np.concatenate(rows))

    def search(self, emb_QD: NDArray[np.float32], k: int) -> Hits:
        """The k best windows of each unit embedding [Q, 128]."""
        Q, D = emb_QD.shape
        if D != EMBEDDING_WIDTH or k < 1:
            raise ValueError(f"expected [Q, {EMBEDDING_WIDTH}] and k >= 1, not {emb_QD.shape} and {k}")
        if self.num_windows == 0 or Q == 0:
            nothing_QK = np.full((Q, k), -1, np.int64)
            return Hits(np.full((Q, k), -np.inf, np.float32), nothing_QK, nothing_QK.copy())
        scores_QK, rows_QK = self._faiss.search(np.ascontiguousarray(emb_QD, np.float32), k)
        blocks_QK = np.searchsorted(np.asarray(self._starts), rows_QK, side="right") - 1
        found_QK = rows_QK >= 0
        ordinals_QK = np.where(found_QK, np.asarray(self._ordinals, np.int64)[blocks_QK], -1)
        windows_QK = np.where(found_QK, self._window_rows()[np.maximum(rows_QK, 0)].astype(np.int64), -1)
        return Hits(scores_QK, ordinals_QK, windows_QK)

    def save(self, folder: Path) -> None:
        """Write a snapshot; see `registry.index.snapshot` for what a crash leaves. Raises
        IndexUnavailable."""
        arrays: dict[str, NDArray[Any]] = {
            "starts": np.asarray(self._starts, np.int64),
            "ordinals": np.asarray(self._ordinals, np.int64),
            "windows": self._window_rows(),
            "faiss": faiss.serialize_index(self._faiss),
        }
        snapshot.write(
            folder,
            snapshot.Header(
                self.position, self.num_windows, self.num_foreign, self.weights_sha256, self._exact_windows
            ),
            arrays,
        )

    @classmethod
    def load(cls, folder: Path, weights_sha256: str | None = None) -> Self:
        """The index as `save` left it. Raises FileNotFoundError without a snapshot, IndexUnavailable when it
        is damaged, or belongs to other weights than the given ones; the caller then replays from position
        0."""
        header, arrays = snapshot.read(folder, weights_sha256)
        index = cls(header.weights_sha256, header.exact_windows)
        index._faiss = snapshot.faiss_index(arrays["faiss"], header.num_windows)
        index._starts, index._ordinals = arrays["starts"].tolist(), arrays["ordinals"].tolist()
        index._windows = [arrays["windows"]]
        index.position, index.num_foreign = header.position, header.num_foreign
        return index

    def _take(self, change: Change, first_row: int) -> NDArray[np.int8]:
        """Note where the change's informative windows will lie; return their codes."""
        if self.weights_sha256 is None:
            self.weights_sha256 = change.weights_sha256
        kept = np.flatnonzero(change.informative_N)
        if change.weights_sha256 != self.weights_sha256:
            self.num_foreign += len(kept)
            return change.codes_ND[:0]
        if len(kept):
            self._starts.append(first_row)
            self._ordinals.append(change.generation_ordinal)
            self._windows.append((change.first_window + kept).astype(np.int32))
        return change.codes_ND[kept]

    def _add(self, codes_ND: NDArray[np.int8]) -> None:
        # One batch crosses the border exactly where single changes would, so that a rebuild equals a replay.
        if self.is_exact:
            room = self._exact_windows - self.num_windows
            self._faiss.add(unit(codes_ND[:room]))
            codes_ND = codes_ND[room:]
            if len(codes_ND):
                self._faiss = _compressed(self._faiss)
        if len(codes_ND):
            self._faiss.add(unit(codes_ND))

    def _window_rows(self) -> NDArray[np.int32]:
        if len(self._windows) != 1:
            self._windows = [np.concatenate([np.zeros(0, np.int32), *self._windows])]
        return self._windows[0]


def unit(codes_ND: NDArray[np.int8]) -> NDArray[np.float32]:
    """Stored codes as unit vectors [N, D]."""
    emb_ND = codes_ND.astype(np.float32)
    norm_N1 = np.maximum(np.linalg.norm(emb_ND, axis=1, keepdims=True), 1.0)
    return np.asarray(emb_ND / norm_N1, np.float32)


def _compressed(exact: faiss.Index) -> faiss.Index:
    """A fast-scan index with the same rows, its centroids trained on an even sample of them."""
    emb_ND = exact.reconstruct_n(0, exact.ntotal)
    index = faiss.IndexPQFastScan(EMBEDDING_WIDTH, 64, 4, faiss.METRIC_INNER_PRODUCT)
    index.train(emb_ND[:: -(-len(emb_ND) // _TRAIN_WINDOWS)])
    index.add(emb_ND)
    return index
