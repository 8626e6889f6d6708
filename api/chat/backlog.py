"""What a client has said and nobody has listened to yet: bounded in time, the oldest forgotten first.

Stale speech only makes a conversation late, so a client that sends before it has a seat, faster than real
time, or faster than the model listens loses the beginning and not the end.
"""

from collections import deque

import anyio

from audio.opus import duration_s


class Backlog:
    """Opus packets in order. For one event loop; one task takes."""

    def __init__(self, max_s: float) -> None:
        self.dropped_s = 0.0
        self._max_s = max_s
        self._held_s = 0.0
        self._packets: deque[bytes] = deque()
        self._came = anyio.Event()

    def add(self, packet: bytes) -> None:
        """Keep a packet, forgetting the oldest while more than `max_s` are held. What is no packet is
        passed over."""
        length_s = duration_s(packet)
        if not length_s:
            return
        self._packets.append(packet)
        self._held_s += length_s
        while self._held_s > self._max_s:
            self.dropped_s += self._pop()[1]
        self._came.set()

    async def take(self) -> bytes:
        """The oldest packet; waits for one."""
        while not self._packets:
            self._came = anyio.Event()
            await self._came.wait()
        return self._pop()[0]

    def _pop(self) -> tuple[bytes, float]:
        packet = self._packets.popleft()
        length_s = duration_s(packet)
        self._held_s -= length_s
        return packet, length_s
