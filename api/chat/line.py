"""Seats and the line before them: first come, first served, with a position that is told.

    with line.join() as ticket:             # raises LineFull
        while ticket.position:              # 0: seated; 1: next
            await ticket.moved()

For one event loop, without locks: nothing here awaits but `moved`.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from api.chat.errors import LineFull


class Ticket:
    """One client's place."""

    def __init__(self, line: "Line") -> None:
        self.position = 0
        self._line = line
        self._moved = anyio.Event()
        self._left = False

    async def moved(self) -> None:
        """Wait until the position has changed since the last call."""
        await self._moved.wait()
        self._moved = anyio.Event()

    def leave(self) -> None:
        """Give the seat or the place in line to whoever is next. May be repeated."""
        if not self._left:
            self._left = True
            self._line._remove(self)

    def _move(self, position: int) -> None:
        if position != self.position:
            self.position = position
            self._moved.set()


class Line:
    """`num_seats` seats and at most `max_waiting` who wait for one."""

    def __init__(self, num_seats: int, max_waiting: int) -> None:
        self._num_free = num_seats
        self._max_waiting = max_waiting
        self._waiting: deque[Ticket] = deque()

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @contextmanager
    def join(self) -> Iterator[Ticket]:
        """A seat, or a place at the end of the line, until the block ends or `leave`. Raises LineFull."""
        ticket = Ticket(self)
        if self._num_free:
            self._num_free -= 1
        elif len(self._waiting) < self._max_waiting:
            self._waiting.append(ticket)
            ticket.position = len(self._waiting)
        else:
            raise LineFull(f"{len(self._waiting)} others are waiting already; come back in a few minutes")
        try:
            yield ticket
        finally:
            ticket.leave()

    def _remove(self, ticket: Ticket) -> None:
        if ticket.position:
            self._waiting.remove(ticket)
        elif self._waiting:
            self._waiting.popleft()._move(0)
        else:
            self._num_free += 1
        for position, waiting in enumerate(self._waiting, 1):
            waiting._move(position)
