"""Windows as the database holds them: an embedding in 64 bytes, four bits a component; silence in one bit.

    code_d = 2 floor(8 e_d / (0.95 max |e|)) + 1        odd, from -15 to 15; the direction alone counts
    byte k = nibble(code_2k) << 4 | nibble(code_2k+1)  nibble(c) = (c + 15) / 2

A step of each window's own keeps its direction to a cosine of 0.995. What the 64 bytes cost in matches:
python -m benchmarks.fingerprint.bits. Rows that an earlier release wrote have 128 bytes a window, int8, and
stay as they are: the length tells which.

Dimension key: N windows, D = 128 embedding width. Not covered: signs, which are packed where they are made
(fingerprint/subprints.py); the 32 bytes of the search index (index/quantizer.py).
"""

import numpy as np
from numpy.typing import NDArray

from registry.tables import CODE_BYTES, EMBEDDING_WIDTH

_LEVELS = 16
_HIGHEST = _LEVELS - 1
# Of the largest component: what is above is cut off, and all others are finer. Measured 2026-11 on 5,488
# windows of validation speakers, mean cosine of a window and itself: 0.9: 0.9948, 0.95: 0.9949, 1.0: 0.9947;
# one step for all windows: 0.9945, and 0.982 in the worst where this has 0.987.
_RANGE = 0.95


def quantised(emb_ND: NDArray[np.floating]) -> NDArray[np.int8]:
    """Embeddings of any length but 0 as codes [N, D]: odd numbers from -15 to 15."""
    largest_N1 = np.maximum(np.abs(emb_ND).max(axis=1, keepdims=True, initial=0.0), 1e-12)
    step_ND = np.floor(emb_ND * (_LEVELS / 2 / _RANGE / largest_N1))
    return np.asarray(2.0 * np.clip(step_ND, -_LEVELS / 2, _LEVELS / 2 - 1) + 1.0, np.int8)


def pack_codes(codes_ND: NDArray[np.int8]) -> bytes:
    """Codes as stored: C order, two components a byte, the first in the higher bits. Raises ValueError for
    what `quantised` does not give."""
    _, D = codes_ND.shape
    if codes_ND.dtype != np.int8 or D != EMBEDDING_WIDTH:
        raise ValueError(f"codes must be int8 [N, {EMBEDDING_WIDTH}], not {codes_ND.dtype} {codes_ND.shape}")
    if not (codes_ND & 1).all() or np.abs(codes_ND.astype(np.int16)).max(initial=0) > _HIGHEST:
        raise ValueError(f"codes must be odd, from -{_HIGHEST} to {_HIGHEST}")
    nibbles_ND = ((codes_ND + _HIGHEST) >> 1).astype(np.uint8)
    return (nibbles_ND[:, ::2] << 4 | nibbles_ND[:, 1::2]).tobytes()


def unpack_codes(stored: bytes | memoryview, num_windows: int) -> NDArray[np.int8]:
    """Codes [N, D] of so many windows: the inverse of `pack_codes`, or the int8 of an earlier release."""
    if len(stored) == num_windows * EMBEDDING_WIDTH:
        return np.frombuffer(stored, np.int8).reshape(num_windows, EMBEDDING_WIDTH)
    bytes_NB = np.frombuffer(stored, np.uint8).reshape(num_windows, CODE_BYTES)
    nibbles_ND = np.stack([bytes_NB >> 4, bytes_NB & 15], axis=2).reshape(num_windows, EMBEDDING_WIDTH)
    return 2 * nibbles_ND.astype(np.int8) - _HIGHEST


def pack_informative(informative_N: NDArray[np.bool_]) -> bytes:
    """bool [N] as stored: ceil(N / 8) bytes, the first window in the highest bit, padded with 0."""
    return np.packbits(informative_N).tobytes()


def unpack_informative(stored: bytes | memoryview, num_windows: int) -> NDArray[np.bool_]:
    """Inverse of `pack_informative`."""
    return np.unpackbits(np.frombuffer(stored, dtype=np.uint8), count=num_windows).astype(np.bool_)
