"""The 64 bits a mark carries, and the code that lets them survive: 48-bit content id + 16-bit tag.

    payload  = id_48 || tag_16,   tag = first 16 bits of HMAC-SHA-256(stream("payload-tag"), id_48)
    codeword = rate-1/4 tail-biting convolutional code, K = 9 (463, 535, 733, 745 octal), 256 bits

Soft-decision decoding by a list Viterbi algorithm: the four likeliest words are tried, and the first whose
tag verifies counts. A random word passes with probability 2**-16, so noise does with 2**-14, which is why
callers count their attempts. What does not decode may still be recognised among codewords that are known
(issued.py), for which `pack` makes many.

Source: Lin & Costello, Error Control Coding, 2nd ed., tables of rate-1/4 codes; Shao, Lin & Fossorier
(2003), "Two decoding algorithms for tailbiting codes" (wrap-around); Seshadri & Sundberg (1994), "List
Viterbi decoding algorithms with applications" (parallel, the tag in place of a CRC).
"""

from __future__ import annotations

import hashlib
import hmac
from functools import cache

import numpy as np
import numpy.typing as npt

from watermark.keys import Key

ID_BITS = 48
TAG_BITS = 16
PAYLOAD_BITS = ID_BITS + TAG_BITS
_GENERATORS = (0o463, 0o535, 0o733, 0o745)
_MEMORY = 8
_STATES = 1 << _MEMORY
CODED_BITS = PAYLOAD_BITS * len(_GENERATORS)
_LISTED = 4  # words that are tried; of weak ones two read a tenth fewer, eight a tenth more (docs/LOG.md)

Bits = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def tag(key: Key, content_id: int) -> int:
    """Return the 16-bit authentication tag of a 48-bit content id under the operator's key."""
    return _tag(_mac(key), content_id)


def encode(key: Key, content_id: int) -> Floats:
    """Return the codeword of `content_id` as 256 signs (+1 for bit 0, -1 for bit 1).

    Raises ValueError when the id does not fit 48 bits.
    """
    if not 0 <= content_id < 1 << ID_BITS:
        raise ValueError(f"a content id has {ID_BITS} bits, got {content_id}")
    word = (content_id << TAG_BITS) | tag(key, content_id)
    bits_M = np.array([(word >> (PAYLOAD_BITS - 1 - i)) & 1 for i in range(PAYLOAD_BITS)], np.uint8)
    return (1.0 - 2.0 * _convolve(bits_M)).astype(np.float32)


def pack(key: Key, content_ids_N: npt.NDArray[np.int64]) -> Bits:
    """Return the codewords of many ids as bits, uint8 [32, N]: `encode`, 3000 times as fast.

    Row 8 g + j holds what generator g makes of payload bits 8 j to 8 j + 7, the first in the highest bit; a 1
    is the sign -1. `packed_order` puts soft bits in this order. Raises ValueError when an id does not fit 48
    bits.
    """
    ids_N = np.asarray(content_ids_N, np.int64)
    if len(ids_N) and not 0 <= ids_N.min() <= ids_N.max() < 1 << ID_BITS:
        raise ValueError(f"a content id has {ID_BITS} bits, got {ids_N.min()} to {ids_N.max()}")
    mac = _mac(key)
    tags_N = np.fromiter((_tag(mac, content_id) for content_id in ids_N.tolist()), np.uint64, len(ids_N))
    words_N = (ids_N.astype(np.uint64) << np.uint64(TAG_BITS)) | tags_N
    coded = np.zeros((len(_GENERATORS), len(ids_N)), np.uint64)
    for j in range(_MEMORY + 1):  # bit i - j comes to place i: the word turned right by j
        turned_N = (words_N >> np.uint64(j)) | (words_N << np.uint64((PAYLOAD_BITS - j) % PAYLOAD_BITS))
        for g, generator in enumerate(_GENERATORS):
            if generator >> (_MEMORY - j) & 1:
                coded[g] ^= turned_N
    by_word = coded.astype(">u8").view(np.uint8).reshape(len(_GENERATORS), len(ids_N), PAYLOAD_BITS // 8)
    return np.ascontiguousarray(by_word.transpose(0, 2, 1)).reshape(CODED_BITS // 8, len(ids_N))


def packed_order(soft: Floats) -> Floats:
    """Return soft bits [256] in the order of `pack`, 8 for each of its rows [32, 8]."""
    by_generator = soft.reshape(PAYLOAD_BITS, len(_GENERATORS)).T
    return np.ascontiguousarray(by_generator, np.float32).reshape(CODED_BITS // 8, 8)


def decode(key: Key, soft: Floats) -> int | None:
    """Return the likeliest content id whose tag verifies, or None. 5 ms on one core.

    `soft` [256]: correlation of each coded bit, positive for bit 0, all on one scale.
    """
    for bits_M in _likeliest(soft):
        word = int.from_bytes(np.packbits(bits_M).tobytes(), "big")
        content_id, sent = word >> TAG_BITS, word & ((1 << TAG_BITS) - 1)
        if hmac.compare_digest(sent.to_bytes(2, "big"), tag(key, content_id).to_bytes(2, "big")):
            return content_id
    return None


def _mac(key: Key) -> hmac.HMAC:
    return hmac.new(key.stream("payload-tag", 32), digestmod=hashlib.sha256)


def _tag(mac: hmac.HMAC, content_id: int) -> int:
    one = mac.copy()
    one.update(content_id.to_bytes(ID_BITS // 8, "big"))
    return int.from_bytes(one.digest()[: TAG_BITS // 8], "big")


@cache
def branch_signs() -> Floats:
    """Return the signs that are sent on each branch into each state [state, 2, 4].

    A state holds the last 8 bits, the newest one on top; what led to state s was state 2 s or 2 s + 1, modulo
    256.
    """
    state = np.arange(_STATES)
    before = ((state[:, None] << 1) & (_STATES - 1)) | np.arange(2)
    register = (state[:, None] >> (_MEMORY - 1) << _MEMORY) | before
    return np.stack([1.0 - 2.0 * (np.bitwise_count(register & g) & 1) for g in _GENERATORS], axis=-1).astype(
        np.float32
    )


def _convolve(bits_M: Bits) -> Bits:
    """Return the tail-biting codeword: the register starts with the last bits, so the path closes."""
    coded = []
    for i in range(PAYLOAD_BITS):
        register = 0
        for j in range(_MEMORY + 1):
            register |= int(bits_M[i - j]) << (_MEMORY - j)
        coded += [(register & g).bit_count() & 1 for g in _GENERATORS]
    return np.array(coded, np.uint8)


def _likeliest(soft: Floats) -> Bits:
    """Return the payload bits of at most four words, the likeliest first [N, 64].

    A first lap round the trellis tells where a path may begin. In the second each state keeps the four best
    paths that lead to it; those that end in the state they began in are words.
    """
    # A state and the one 128 further have the same two before them.
    gains = branch_signs().reshape(2, -1, 2, len(_GENERATORS)) @ soft.reshape(PAYLOAD_BITS, -1).T
    gains_MHS2 = np.ascontiguousarray(np.moveaxis(gains, -1, 0))
    begun_S = np.zeros(_STATES, np.float32)
    for gain_HS2 in gains_MHS2:
        longer = begun_S.reshape(-1, 2) + gain_HS2
        begun_S = np.maximum(longer[..., 0], longer[..., 1]).ravel()
    paths_SL = np.full((_STATES, _LISTED), -np.inf, np.float32)
    paths_SL[:, 0] = begun_S
    came_from = []  # path l of state s has place 4 s + l
    for gain_HS2 in gains_MHS2:
        longer = (paths_SL.reshape(-1, 2, _LISTED) + gain_HS2[..., None]).reshape(_STATES, -1)
        chosen_SL = longer.argpartition(-_LISTED, axis=1)[:, -_LISTED:]
        paths_SL = longer.ravel()[chosen_SL + _FIRST_LONGER]
        came_from.append((chosen_SL + _FIRST_BEFORE).ravel())
    ends = place = np.arange(_STATES * _LISTED)
    bits_MN = np.empty((PAYLOAD_BITS, len(ends)), np.uint8)
    for step in range(PAYLOAD_BITS - 1, -1, -1):
        bits_MN[step] = place >= len(ends) // 2  # the newest bit of its state
        place = came_from[step][place]
    closed = place == ends // _LISTED * _LISTED
    gained = np.where(closed, paths_SL.ravel() - begun_S[place // _LISTED], -np.inf)
    likeliest = np.argsort(-gained)[:_LISTED]
    return np.ascontiguousarray(bits_MN[:, likeliest[np.isfinite(gained[likeliest])]].T)


_FIRST_LONGER = 2 * _LISTED * np.arange(_STATES)[:, None]
_FIRST_BEFORE = _FIRST_LONGER % (_STATES * _LISTED)
