"""A sealed part of the index: compressed windows that never change, and where each of them lies.

    starts[b] <= row < starts[b + 1]  ->  generation ordinals[b], window windows[row]

Row -> (generation, window) is two sorted arrays and one number a row, so it cannot run out of step with
Faiss as an id map can. Rows are sorted by generation and window when a segment is made: 36 bytes a window and
16 for each generation in it. As a file: five arrays in .npy form, one after the other, mapped when read.

Dimension key: N rows, Q query rows, D embedding width, B bytes of a code. Not covered: removal; a withdrawn
generation is still found (docs/decisions/0023).
"""

import functools
import io
import mmap
from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from registry.index.hits import Hits
from registry.index.quantizer import CODE_BYTES, CODEBOOK_FLOATS, Codebook, encode, fast_scan

# In the order of the file: what needs the widest alignment first.
_TYPES: dict[str, type[np.generic]] = {
    "starts": np.int64,
    "ordinals": np.int64,
    "codebook": np.float32,
    "windows": np.int32,
    "codes": np.uint8,
}


@dataclass(frozen=True, eq=False)
class Segment:
    """Read-only arrays in memory, or mapped from a file; searched with an index built on first use."""

    starts: NDArray[np.int64]  # first row of each block
    ordinals: NDArray[np.int64]  # generation of each block
    codebook: Codebook
    windows: NDArray[np.int32]  # window number of each row
    codes: NDArray[np.uint8]  # [N, B]
    sha256: str | None = None  # its file's, once it has one

    @classmethod
    def seal(
        cls,
        codebook: Codebook,
        ordinals_N: NDArray[np.int64],
        windows_N: NDArray[np.int32],
        emb_ND: NDArray[np.float32],
    ) -> "Segment":
        """Sort and compress."""
        order_N = np.lexsort((windows_N, ordinals_N))
        ordinals, starts = np.unique(ordinals_N[order_N], return_index=True)
        return cls(starts, ordinals, codebook, windows_N[order_N], encode(codebook, emb_ND[order_N]))

    @classmethod
    def merge(cls, segments: Sequence["Segment"]) -> "Segment":
        """One segment with the rows of several that share a codebook."""
        first = segments[0]
        if not all(np.array_equal(first.codebook, other.codebook) for other in segments):
            raise ValueError("segments of different codebooks cannot be merged: rebuild")
        before = np.cumsum([0, *(segment.num_windows for segment in segments)])
        return cls(
            np.concatenate([one.starts + start for one, start in zip(segments, before, strict=False)]),
            np.concatenate([one.ordinals for one in segments]),
            first.codebook,
            np.concatenate([one.windows for one in segments]),
            np.concatenate([one.codes for one in segments]),
        )

    @property
    def num_windows(self) -> int:
        return len(self.windows)

    @functools.cached_property
    def index(self) -> faiss.Index:
        """32 bytes a window in memory of this process. Built on first use; never by two threads at once."""
        return fast_scan(self.codebook, self.codes)

    def search(self, emb_QD: NDArray[np.float32], k: int) -> Hits:
        """The k best rows of each query row, by approximate score."""
        scores_QK, rows_QK = self.index.search(emb_QD, k)
        blocks_QK = np.searchsorted(self.starts, rows_QK, side="right") - 1
        found_QK = rows_QK >= 0
        ordinals_QK = np.where(found_QK, self.ordinals[blocks_QK], -1)
        windows_QK = np.where(found_QK, self.windows[np.maximum(rows_QK, 0)], -1)
        return Hits(np.where(found_QK, scores_QK, -np.inf), ordinals_QK, windows_QK)

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Generation and window of each row."""
        counts = np.diff(np.append(self.starts, self.num_windows))
        return np.repeat(self.ordinals, counts), self.windows.astype(np.int64)

    def dump(self) -> bytes:
        """The file's content."""
        buffer = io.BytesIO()
        for name in _TYPES:
            np.save(buffer, getattr(self, name), allow_pickle=False)
        return buffer.getvalue()

    @classmethod
    def map(cls, content: mmap.mmap, sha256: str) -> "Segment":
        """The segment of a file whose hash is this. Raises ValueError when it is no segment."""
        content.seek(0)
        arrays = {name: _array(content, dtype) for name, dtype in _TYPES.items()}
        segment = cls(**arrays, sha256=sha256)  # type: ignore[arg-type]
        if (
            len(segment.starts) != len(segment.ordinals)
            or segment.codebook.shape != (CODEBOOK_FLOATS,)
            or segment.codes.shape != (segment.num_windows, CODE_BYTES)
        ):
            raise ValueError("the arrays of the segment do not fit each other")
        return segment


def _array(content: mmap.mmap, dtype: type[np.generic]) -> NDArray[np.generic]:
    """The array that begins where the file stands, without copying; leaves the file behind it."""
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError("the segment is of another version of numpy's format")
    shape, is_fortran, found = np.lib.format.read_array_header_1_0(content)
    if found != dtype or is_fortran:
        raise ValueError(f"an array of the segment is {found}, not {np.dtype(dtype)}")
    start, count = content.tell(), int(np.prod(shape))
    array = np.frombuffer(content, found, count, start)
    content.seek(start + array.nbytes)
    return array.reshape(shape)
