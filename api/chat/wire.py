"""One client's socket: messages out one at a time and never for long, messages in counted.

Not here: what the messages mean (`protocol`), who sends them when (`session`).

BUG: the socket of a client that does not read and does not go away stays open, with the 64 kB that were under
way, until TCP gives it up: an application cannot make uvicorn drop a connection without sending. Its row, its
decoder and its thread are free.
"""

import time
from contextlib import suppress

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.chat import protocol
from api.chat.errors import ClientFault, Close

SEND_TIMEOUT_S = 5.0
"""A client whose buffers have been full for so long is not listening. Its own jitter buffer is 0.2 s."""

MAX_BYTES_PER_S = 64_000
"""The highest bit rate of Opus; speech as the published clients send it takes 4,000."""

BURST_BYTES = 1_000_000
"""What may come at once above that: four minutes of speech that a network held back."""


class ClientLeft(Exception):
    """The other end has closed the connection, or it broke."""


class Wire:
    """A websocket that was accepted. Any number of tasks may send; one receives."""

    def __init__(self, socket: WebSocket) -> None:
        self.num_refused = 0  # messages of a kind that a client does not send
        self._socket = socket
        self._sending = anyio.Lock()
        self._last_sent = time.monotonic()
        self._allowance = float(BURST_BYTES)
        self._counted_at = time.monotonic()

    @property
    def silent_s(self) -> float:
        """For how long nothing was sent."""
        return time.monotonic() - self._last_sent

    async def send(self, message: bytes) -> None:
        """Send one message. Raises ClientLeft, and ClientFault when it cannot be sent in SEND_TIMEOUT_S."""
        try:
            with anyio.fail_after(SEND_TIMEOUT_S):
                async with self._sending:
                    await self._socket.send_bytes(message)
        except TimeoutError:
            raise ClientFault("the client does not read what it is sent") from None
        except (WebSocketDisconnect, RuntimeError) as exc:  # RuntimeError: starlette's for one closed before
            raise ClientLeft from exc
        self._last_sent = time.monotonic()

    async def receive(self) -> bytes:
        """The next binary message. Text frames are passed over, as the published servers do.

        Raises ClientLeft, and ClientFault for more than BURST_BYTES above MAX_BYTES_PER_S."""
        while True:
            event = await self._socket.receive()
            if event["type"] == "websocket.disconnect":
                raise ClientLeft
            data = event.get("bytes")
            self._count(len(event.get("text") or "") if data is None else len(data))
            if data is not None:
                return bytes(data)
            self.num_refused += 1

    async def close(self, code: Close, reason: str) -> None:
        """Close the connection, if the other end has not."""
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.close(code, protocol.close_reason(reason))

    def _count(self, num_bytes: int) -> None:
        now = time.monotonic()
        self._allowance = min(BURST_BYTES, self._allowance + (now - self._counted_at) * MAX_BYTES_PER_S)
        self._counted_at = now
        # A message costs something however short it is.
        self._allowance -= max(num_bytes, 64)
        if self._allowance < 0:
            raise ClientFault("the client sends more than speech can be")
