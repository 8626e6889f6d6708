"""A window in 32 bytes: 64 parts of two dimensions, each the nearest of 16 centroids (PQ64x4).

    codebook = train(emb_ND) ; codes_NB = encode(codebook, emb_ND) ; index = fast_scan(codebook, codes_NB)

Codes are kept as they come from the encoder, two parts a byte, and packed for the processor when an index is
made of them: 0.1 s for a million. So a file does not depend on what the machine that wrote it could do.
Scores of the fast scan are approximate: re-score before comparing with a threshold.

Dimension key: N windows, D embedding width, B bytes of a window's code. Source: Jégou, Douze, Schmid 2011
(product quantisation); André, Kermarrec, Le Scouarnec 2015 (fast scan).
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from registry.tables import EMBEDDING_WIDTH

CODE_BYTES = 32
PARTS, BITS = 64, 4
CODEBOOK_FLOATS = (1 << BITS) * EMBEDDING_WIDTH
TRAIN_WINDOWS = 8_192  # 512 for each centroid; twice as many changed no recall (docs/benchmarks.md)

Codebook = NDArray[np.float32]


def unit(codes_ND: NDArray[np.int8]) -> NDArray[np.float32]:
    """Stored codes as unit vectors [N, D]."""
    emb_ND = codes_ND.astype(np.float32)
    norm_N1 = np.maximum(np.linalg.norm(emb_ND, axis=1, keepdims=True), 1.0)
    return np.asarray(emb_ND / norm_N1, np.float32)


def train(emb_ND: NDArray[np.float32]) -> Codebook:
    """Centroids for windows like these, from an even sample of at most TRAIN_WINDOWS; the same ones for the
    same windows."""
    index = _quantizer()
    index.pq.cp.min_points_per_centroid = 1  # a small registry trains on what it has
    index.train(np.ascontiguousarray(emb_ND[:: -(-len(emb_ND) // TRAIN_WINDOWS)]))
    return np.array(faiss.vector_to_array(index.pq.centroids), np.float32)


def encode(codebook: Codebook, emb_ND: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[N, 32]."""
    codes_NB: NDArray[np.uint8] = _quantizer(codebook).sa_encode(emb_ND)
    return codes_NB


def fast_scan(codebook: Codebook, codes_NB: NDArray[np.uint8]) -> faiss.Index:
    """An index whose row n is codes_NB[n]; it holds a copy of them."""
    plain = _quantizer(codebook)
    plain.add_sa_codes(np.ascontiguousarray(codes_NB))
    return faiss.IndexPQFastScan(plain)


def _quantizer(codebook: Codebook | None = None) -> Any:
    index = faiss.IndexPQ(EMBEDDING_WIDTH, PARTS, BITS, faiss.METRIC_INNER_PRODUCT)
    if codebook is not None:
        faiss.copy_array_to_vector(np.ascontiguousarray(codebook, np.float32), index.pq.centroids)
        index.is_trained = True
    return index
