"""A budget against whoever uses the detector to learn how to defeat it: many queries of nearly the same
audio.

An attack that searches for the smallest change which hides a mark asks about one recording hundreds of times,
changed a little each time; a person asks about a file once, and again when the page is reloaded. So what is
counted, for each key or address, is distinct audio that is nearly the same as other audio asked about within
the hour. The same bytes again give the same answer, teach nothing, and cost nothing here.

Held: 32 bytes of sketch and 8 of hash for each query, in memory, for an hour, MAX_QUERIES for each name and
MAX_NAMES in all; never audio. With Python's own share 190 bytes a query and 1 KB a name (measured 2026-11).
Not covered: one attacker with many addresses (each has its own budget), and what api/access/sketch.py names.
Source: AudioMarkBench (2024) on black-box attacks."""

import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from api.access.sketch import is_near, sketch
from api.errors import TooManyRequests

WINDOW_S = 3600.0
MAX_QUERIES = 600
MAX_NAMES = 20_000


@dataclass(frozen=True, slots=True)
class Query:
    """One thing that was asked about."""

    at_s: float
    content: bytes  # 8 bytes of SHA-256 of the samples
    sketch: int


class NearDuplicates:
    """The books of one process. Safe to share between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._queries: OrderedDict[str, deque[Query]] = OrderedDict()  # by last query, oldest first
        self._mutex = threading.Lock()

    def __len__(self) -> int:
        """Names with a query within the hour, as of the last one."""
        return len(self._queries)

    def spend(self, name: str, wav_T: NDArray[np.float32], budget: int) -> None:
        """Count one query of `name`: float32 [T] at 24 kHz. Raises TooManyRequests when `budget` others
        within the hour were nearly the same; that query is then not counted."""
        content = hashlib.sha256(np.ascontiguousarray(wav_T).data).digest()[:8]
        bits = sketch(wav_T)
        with self._mutex:
            now_s = self._clock()
            self._forget(name, now_s - WINDOW_S)
            queries = self._queries.get(name) or deque(maxlen=MAX_QUERIES)
            if bits == 0 or any(one.content == content for one in queries):
                return
            near = [one for one in queries if is_near(one.sketch, bits)]
            if len(near) >= budget:
                raise TooManyRequests(
                    f"{budget} variants of nearly this audio were asked about within an hour; wait",
                    max(1, round(near[0].at_s + WINDOW_S - now_s)),
                )
            queries.append(Query(now_s, content, bits))
            self._queries[name] = queries
            self._queries.move_to_end(name)
            if len(self._queries) > MAX_NAMES:
                self._queries.popitem(last=False)

    def _forget(self, name: str, until_s: float) -> None:
        """Every name whose last query was until then, and the older queries of this one, of which one stays
        if it stays at all."""
        while self._queries and next(iter(self._queries.values()))[-1].at_s <= until_s:
            self._queries.popitem(last=False)
        queries = self._queries.get(name)
        while queries and queries[0].at_s <= until_s:
            queries.popleft()
