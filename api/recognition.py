"""Whose mark it is that cannot be read, part of step (5): recognised among the ids issued here, or denied.

    issued = IssuedMarks(key, registry)             # one for a process; safe to share between threads
    issued.recognised(mark, likely) -> {place in mark.unread: Recognised}
    issued.denies(mark, match, content_id) -> bool

A mark that stays unread still has 256 soft bits, and this registry knows every codeword it ever issued
(watermark/issued.py, docs/decisions/0030). What is recognised counts as read: a name, which the audio must
agree with. And a generation whose codeword the mark clearly does not have is not whose audio this is, however
alike they sound. 48 MB of memory a million ids, read when the first unread mark comes or `follow` is called.
"""

import threading
from collections.abc import Sequence

import numpy as np

from registry import IssuedIds, Match, Registry, StartFromSnapshot
from watermark import Codebook, Detection, Key, Recognised, contradicts, recognise

UNDER = 0.5
"""Fraction of a match that the mark must cover to deny it: the rest may be another recording, spliced in."""


class IssuedMarks:
    """The codewords of everything that this registry issued, as of the last call."""

    def __init__(self, key: Key, registry: Registry) -> None:
        self._key = key
        self._registry = registry
        self._following = threading.Lock()
        self._book = Codebook(key)
        self._position: int | None = None

    def follow(self) -> Codebook:
        """Catch up with what any process issued; seconds a million at first, then a look at the changelog.

        Raises `DatabaseUnavailable`.
        """
        with self._following:
            new = self._new()
            self._book.extend(new.content_ids_N)
            self._position = new.position  # last: what fails before is read again
            return self._book

    def recognised(self, mark: Detection, likely: Sequence[int]) -> dict[int, Recognised]:
        """The content ids of unread marks, by their place in `mark.unread`; those that are sure enough.

        `likely`: content ids that the fingerprint search accepts. They are few and have half of the false
        alarms, so one of them is named by less. Raises `DatabaseUnavailable`.
        """
        places = {one.unread for one in mark.segments if one.unread is not None}  # others are hidden by these
        if not places:
            return {}
        books = [self.follow(), Codebook(self._key, np.array(likely, np.int64))]
        num_tries = sum(len(mark.unread[n].tries) for n in places)
        best = {n: recognise(mark.unread[n], books, num_tries) for n in places}
        return {n: one for n, one in best.items() if one is not None and one.accepted}

    def denies(self, mark: Detection, match: Match, content_id: int) -> bool:
        """Whether unread marks cover the match of a generation, and are clearly not its own."""
        covered: dict[int, float] = {}
        for segment in mark.segments:
            if segment.unread is not None:
                start_s, end_s = (at * mark.warp.tempo for at in (segment.start_s, segment.end_s))
                shared_s = min(end_s, match.end_s) - max(start_s, match.start_s)
                if shared_s > 0:
                    covered[segment.unread] = covered.get(segment.unread, 0.0) + shared_s
        enough = sum(covered.values()) >= UNDER * (match.end_s - match.start_s)
        return bool(covered) and enough and all(self._deny(mark, n, content_id) for n in covered)

    def _deny(self, mark: Detection, place: int, content_id: int) -> bool:
        return contradicts(self._key, mark.unread[place], content_id)

    def _new(self) -> IssuedIds:
        try:
            return self._registry.issued_ids(self._position)
        except StartFromSnapshot:
            self._book = Codebook(self._key)
            return self._registry.issued_ids()
