"""The one voice of a server, which says one text at a time, and the line before it.

    booth = await Booth.open(load, max_waiting=8)       # loads the voice, in a thread
    async with booth.turn() as speaker: ...             # Busy at once when the line is full

A turn lasts as long as its speech is made; who gives up while waiting leaves the line. Not here: what is said
and to whom (`api.routes.speech`)."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

import anyio
from anyio import to_thread

from api.errors import Busy
from generation import Speaker


class Booth:
    """For one event loop."""

    def __init__(self, speaker: Speaker, max_waiting: int) -> None:
        self._speaker = speaker
        self._most = 1 + max_waiting
        self._num_here = 0
        self._microphone = anyio.Lock()  # first come, first served

    @classmethod
    async def open(cls, load: Callable[[], Speaker], max_waiting: int) -> Self:
        """Load the voice; takes as long. Raises what `load` raises."""
        return cls(await to_thread.run_sync(load), max_waiting)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Speaker]:
        """The voice, for the block alone. Raises Busy when as many wait as may. No await before the count, so
        counting needs no lock."""
        if self._num_here == self._most:
            raise Busy("the voice has as many texts before it as it takes; send this one again in a moment")
        self._num_here += 1
        try:
            async with self._microphone:
                yield self._speaker
        finally:
            self._num_here -= 1
