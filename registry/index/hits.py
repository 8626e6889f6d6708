"""What a search returns, and how the answers of several parts become one.

Dimension key: Q query rows, K hits of a row.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Hits(NamedTuple):
    """The best rows of each query row, best first; where there are fewer than K, ordinal and window are
    -1."""

    scores_QK: NDArray[np.float32]
    ordinals_QK: NDArray[np.int64]
    windows_QK: NDArray[np.int64]

    @classmethod
    def none(cls, num_rows: int, k: int) -> "Hits":
        """Nothing was found: Q = num_rows, K = k."""
        nothing_QK = np.full((num_rows, k), -1, np.int64)
        return cls(np.full((num_rows, k), -np.inf, np.float32), nothing_QK, nothing_QK.copy())


def best(parts: Sequence[Hits], k: int) -> Hits:
    """The k best of all parts' hits; of equal scores those of the earlier part."""
    if len(parts) == 1:
        return parts[0]
    scores_QP, ordinals_QP, windows_QP = (
        np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)
    )
    order_QK = np.argsort(-scores_QP, axis=1, kind="stable")[:, :k]
    take = np.take_along_axis
    return Hits(
        take(scores_QP, order_QK, 1),
        take(ordinals_QP, order_QK, 1).astype(np.int64),
        take(windows_QP, order_QK, 1).astype(np.int64),
    )
