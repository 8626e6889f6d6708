"""Recognise whose mark it is when its payload cannot be read: try the codewords that were issued.

    z(c) = sum_i soft[i] * c[i] / |soft|                                  c: the 256 signs of a codeword
    p    = books * tries * N * min_theta E[exp(theta * z(C))] * exp(-theta * z)       C: a random codeword

Reading asks which of 2**64 words was meant; whoever knows the N words that may have been asks for
64 - log2(N) bits less. The best of N has at most N times the false-alarm probability of one, and so have the
vectors that were tried. Several books share it equally, so that a short list of likely ids is not charged
for all that were issued.

The probability is over the ids: whatever the audio is, also when it carries a mark of this key that was
never issued here, the payload of an issued id is 48 random bits and a keyed tag, that is a random word of the
code. The words of a code are not independent, and for soft bits that are nearly a codeword themselves the
normal tail is too small by orders of magnitude. So no tail is assumed: the expectation is computed exactly,
as the trace of the product of the trellis's 64 transfer matrices, and Chernoff's bound holds for any soft
bits and any code. It costs nothing: z is a bounded sum, and its bound lies about where the normal tail does.

Source: Chernoff (1952), Ann. Math. Stat. 23(4); transfer matrices as in Lin & Costello, ch. 11.
Not covered: marks of which nothing is found; whether the mark was copied onto this audio, which only a
comparison of the audio tells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from watermark import payload
from watermark.keyed.search import MIN_PROBABILITY
from watermark.keys import Key
from watermark.result import Unread

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

MAX_FALSE_ALARM_PROBABILITY = 1e-6
"""Paid for all ids and tries. Whoever is named may be accused ("this mark was copied"), so a name must be
surer than a mark, which is found at 1e-3: what is called a high certainty. A decade more costs 0.3 of z."""

_MIN_Z = 4.5  # with this and one id p is above 1e-5: not worth the exact number
_THETAS = np.linspace(0.8, 2.0, 25)  # of z; on degraded speech the best was 1.1 to 1.3
_BLOCK_IDS = 1 << 16  # scored at once: the sums stay in the cache

_SAME_SHARE = 0.7
_SAME_SPREAD = 2.5
"""A mark whose pilot has z shows its codeword with about as much, bent by its norm. Of 269 unread marks of 30
validation speakers (noise of 5 to 20 dB, Opus 8k and 12k, MP3 16k, AMR) the true word was below 0.7 of that,
less 2.5, in one; a wrong word is in 82 % at z = 5 and 99 % at z = 7 (docs/LOG.md, 2026-11-26)."""


@dataclass(frozen=True)
class Recognised:
    """The issued id that an unread mark fits best. `score` is its z; believe it only when `accepted`."""

    content_id: int
    score: float
    false_alarm_probability: float

    @property
    def accepted(self) -> bool:
        return self.false_alarm_probability <= MAX_FALSE_ALARM_PROBABILITY


class Codebook:
    """The codewords of issued ids under one key: 40 bytes each, 31 ms to score a million.

    Ids may be scored while more are added, by one thread at a time.
    """

    def __init__(self, key: Key, content_ids_N: Ids | None = None) -> None:
        self._key = key
        self._ids: list[Ids] = []  # blocks of _BLOCK_IDS, the last one filled in part
        self._codes: list[payload.Bits] = []
        self._num = 0
        if content_ids_N is not None:
            self.extend(content_ids_N)

    def __len__(self) -> int:
        return self._num

    def extend(self, content_ids_N: Ids) -> None:
        """Add ids; 1.3 s a million, for their tags. An id that stands here twice counts twice, no more.

        Raises ValueError for what is no content id.
        """
        added = 0
        while added < len(content_ids_N):
            place = self._num % _BLOCK_IDS
            if place == 0:
                self._ids.append(np.empty(_BLOCK_IDS, np.int64))
                self._codes.append(np.empty((payload.CODED_BITS // 8, _BLOCK_IDS), np.uint8))
            part = content_ids_N[added : added + _BLOCK_IDS - place]
            self._codes[-1][:, place : place + len(part)] = payload.pack(self._key, part)
            self._ids[-1][place : place + len(part)] = part
            self._num += len(part)  # last: what is counted is there
            added += len(part)

    def best(self, soft: Floats) -> tuple[int, float]:
        """Return the id whose codeword fits soft bits [256] best, and its z. Raises ValueError when empty."""
        z_N = self.scores(soft)
        if not len(z_N):
            raise ValueError("a codebook without an id has no best one")
        number, place = divmod(int(z_N.argmax()), _BLOCK_IDS)
        return int(self._ids[number][place]), float(z_N.max())

    def scores(self, soft: Floats) -> Floats:
        """Return z of every id, in the order in which they were added [N]."""
        z_N = np.empty(self._num, np.float32)
        tables = _tables(soft / _norm(soft))
        for number, first in enumerate(range(0, len(z_N), _BLOCK_IDS)):
            block_N = z_N[first : first + _BLOCK_IDS]
            block_N[:] = _scores(tables, self._codes[number][:, : len(block_N)])
        return z_N


def recognise(mark: Unread, books: Sequence[Codebook], num_tries: int) -> Recognised | None:
    """Return the id in any of the books that the mark fits best, accepted or not; None when all are empty.

    `num_tries`: all vectors of soft bits that are tried on this audio, those of its other marks too.
    """
    filled = [book for book in books if len(book)]
    candidates = []
    for heard in mark.tries:
        soft = np.asarray(heard.bits, np.float32)
        best = [(book, *book.best(soft)) for book in filled]
        chances = {z: chance(soft, z) for z in {z for _, _, z in best}}  # books often agree
        for book, content_id, z in best:
            p = len(filled) * num_tries * len(book) * chances[z]
            candidates.append(Recognised(content_id, z, min(1.0, max(MIN_PROBABILITY, p))))
    return min(candidates, key=lambda one: (one.false_alarm_probability, -one.score), default=None)


def issued(key: Key, mark: Unread, content_ids_N: Ids) -> Recognised | None:
    """Return which of these ids the mark fits best: `recognise` for whoever asks once."""
    return recognise(mark, [Codebook(key, content_ids_N)], len(mark.tries))


def contradicts(key: Key, mark: Unread, content_id: int) -> bool:
    """Whether the mark is clearly not this id's: its pilot is heard well, and the id's codeword is not."""
    code = payload.encode(key, content_id)
    return all(_denies(np.array(heard.bits, np.float32), heard.pilot_z, code) for heard in mark.tries)


def chance(soft: Floats, z: float) -> float:
    """Return a bound on the probability that a random codeword fits soft bits [256] with this z or more."""
    if z < _MIN_Z:
        return 1.0
    unit = soft / _norm(soft)
    # Any theta gives a bound; the best one for independent signs is taken, since that is cheap to find.
    thetas = z * _THETAS
    exponents = np.log(np.cosh(np.outer(thetas, unit))).sum(axis=1) - thetas * z
    theta = float(thetas[exponents.argmin()])
    return math.exp(min(0.0, _log_moment(unit.reshape(payload.PAYLOAD_BITS, -1), theta) - theta * z))


def _denies(soft: Floats, pilot_z: float, code: Floats) -> bool:
    t = _SAME_SHARE * pilot_z
    least_z = t / math.sqrt(1 + t * t / payload.CODED_BITS) - _SAME_SPREAD  # z is 16 at most, by its norm
    return least_z > 0 and float(soft @ code) / _norm(soft) < least_z


def _log_moment(unit: Floats, theta: float) -> float:
    """Return ln E[exp(theta * sum unit * C)] over uniform words of the tail-biting code; unit is [64, 4]."""
    signs = payload.branch_signs()
    branches = (np.exp(theta * (signs @ unit.T)) / 2).astype(np.float32)  # [state, predecessor, step]
    states = len(signs)
    product = np.eye(states, dtype=np.float32)
    log_scale = 0.0
    for step in range(payload.PAYLOAD_BITS):
        # The two predecessors of state s are 2 s and 2 s + 1, modulo the number of states.
        even, odd = np.tile(product[0::2], (2, 1)), np.tile(product[1::2], (2, 1))
        product = even * branches[:, 0, step, None] + odd * branches[:, 1, step, None]
        largest = float(product.max())
        product /= largest
        log_scale += math.log(largest)
    return log_scale + math.log(float(np.trace(product)))


def _norm(soft: npt.NDArray[np.floating]) -> float:
    return float(np.linalg.norm(soft)) + 1e-9


def _tables(unit: Floats) -> Floats:
    """Return what each value of each byte of a packed codeword adds to z [32, 256]."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    tables: Floats = payload.packed_order(unit) @ (1.0 - 2.0 * bits.astype(np.float32)).T
    return tables


def _scores(tables: Floats, codes_RN: payload.Bits) -> Floats:
    """Return z of each packed codeword [N]."""
    R, N = codes_RN.shape
    z_N, added_N = np.zeros(N, np.float32), np.empty(N, np.float32)
    for row in range(R):
        np.take(tables[row], codes_RN[row], out=added_N, mode="clip")  # "clip" needs no copy of `out`
        z_N += added_N
    return z_N
