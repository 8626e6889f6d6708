"""An HTTP answer that is spoken while it is sent, for a client that may leave or stop reading.

(1) the booth's turn is waited for; (2) the generation is made durable and its log entry public; (3) the
headers leave, with its ids and receipt; (4) frame after frame is spoken, marked, registered and sent; (5) the
row is complete before the last bytes leave.

An error before (3) is answered as a problem. After it an answer can only be cut off: who leaves, or does not
read for `send_timeout_s`, leaves an `aborted` row of what was marked, and the voice is free again. The server
killed leaves the same (`api.marked_stream`). Not here: answers that are kept to be sent again, which are
whole before they leave (`routes/speech.py`)."""

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.booth import Booth
from api.routes.common import issued_headers
from api.speech import MarkedSpeech
from api.workers import while_connected
from audio import OpusWriter, WavWriter
from generation import Speaker

log = logging.getLogger(__name__)

T = TypeVar("T")
Writer = OpusWriter | WavWriter


class SpeechStream(Response):
    """One utterance. `begin` starts it with the voice of the booth; it and all that follows block in threads
    of their own."""

    def __init__(
        self,
        booth: Booth,
        begin: Callable[[Speaker], MarkedSpeech],
        writer: Writer,
        media_type: str,
        send_timeout_s: float,
    ) -> None:
        # Not the base's __init__, which wants the whole body.
        self.status_code, self.media_type, self.background = 200, media_type, None
        self.init_headers()
        self._booth, self._begin, self._writer = booth, begin, writer
        self._send_timeout_s = send_timeout_s
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_connected(Request(scope, receive), partial(self._speak, send))
        except ClientDisconnect:
            if not self._has_begun:
                raise
            log.info("the client left while it was spoken to")
        except TimeoutError:
            log.info("the client read nothing for %g s and was cut off", self._send_timeout_s)

    async def _speak(self, send: Send) -> None:
        async with self._booth.turn() as speaker:  # (1)
            # Not to be interrupted: a generation that nobody holds would stay open until this process ends.
            with anyio.CancelScope(shield=True):
                speech = await _in_thread(partial(self._begin, speaker))  # (2)
            try:
                await self._send_all(speech, send)
            finally:
                with anyio.CancelScope(shield=True):
                    await _in_thread(speech.close)

    async def _send_all(self, speech: MarkedSpeech, send: Send) -> None:
        self.headers.update(issued_headers(speech.generation, speech.receipt))
        self._has_begun = True
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})  # (3)
        while (data := await _in_thread(partial(_next, speech, self._writer))) is not None:  # (4)
            with anyio.fail_after(self._send_timeout_s):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        with anyio.fail_after(self._send_timeout_s):  # (5)
            await send({"type": "http.response.body", "body": self._writer.flush(), "more_body": False})


async def _in_thread(work: Callable[[], T]) -> T:
    # A limiter of its own, since the library's default of 40 threads is shared with everything else.
    return await to_thread.run_sync(work, limiter=CapacityLimiter(1))


def _next(speech: MarkedSpeech, writer: Writer) -> bytes | None:
    marked_T = next(speech, None)
    return None if marked_T is None else writer.push(marked_T)
