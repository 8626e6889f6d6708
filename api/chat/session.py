"""One conversation, from the accepted socket to its close.

    listen:   socket ──packets──► backlog                                    from the first byte on
    converse: wait in line, open a generation, take a row, handshake, then side by side until one ends
        feed:   backlog ──decode──frames──► stage                            no faster than real time
        speak:  stage ──speech, text──► mark, register, encode ──► socket
    keep alive: a ping whenever nothing was sent for PING_AFTER_S

The first part that ends ends all. The row is then free at once, and the generation is closed: complete when
we ended in order (the client left, its time was over, it misbehaved, the server stops), aborted when a part
of ours failed or nothing had been said. Complete means that all that may have left is fingerprinted; it does
not mean that the client received it. What is bounded: what a client sends (`wire`), what it said and nobody
heard (`backlog`), frames under way (MAX_UNDER_WAY), one message being sent, the time of all (the limit)."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from api.chat import protocol
from api.chat.backlog import Backlog
from api.chat.errors import ChatError, ClientFault, ServerFault, SessionOver
from api.chat.line import Line, Ticket
from api.chat.stage import Stage
from api.chat.voice import FRAME_SAMPLES, Voice
from api.chat.wire import ClientLeft, Wire
from api.service import Service
from audio import SAMPLE_RATE_HZ, DecodeError, PacketReader
from audio.opus import is_header
from generation import Sampling, Spoken

log = logging.getLogger(__name__)
T = TypeVar("T")

BACKLOG_S = 2.0
"""What a client may be ahead: what is held of its speech, and how far it may run before real time."""

MAX_UNDER_WAY = 2
"""Frames given to the stage beyond the one being spoken, so that a row is ready when the next step begins."""

PING_AFTER_S = 4.0  # the published web client gives up after 10 s without a message
GOODBYE_S = 2.0  # for the last messages
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Wishes:
    """What a client asked for in the address."""

    sampling: Sampling
    seed: int | None = None
    provenance: bool = False  # to be told what the speech is issued as


class Session:
    """One client. `run` once; `stop` at any time."""

    def __init__(
        self, wire: Wire, wishes: Wishes, service: Service, stage: Stage, line: Line, limit_s: float
    ) -> None:
        self._wire, self._wishes, self._limit_s = wire, wishes, limit_s
        self._service, self._stage, self._line = service, stage, line
        self._backlog = Backlog(BACKLOG_S)
        self._tail = b""
        self._ending: ChatError | ClientLeft | None = None
        self._scope = anyio.CancelScope()
        # One thread: what it is given happens in order, and it lives as long as the decoder needs it.
        self._thread = ThreadPoolExecutor(1, "session")

    async def run(self) -> None:
        """Until the conversation is over. Raises nothing but cancellation; then it ends in order too."""
        try:
            with self._scope:
                async with anyio.create_task_group() as parts:
                    for part in (self._listen, self._keep_alive, self._converse):
                        parts.start_soon(self._part, part, parts.cancel_scope)
            await self._say_goodbye()
        finally:
            self._thread.shutdown(wait=False)
            if self._backlog.dropped_s:
                log.info("%.1f s of a client's speech were not listened to", self._backlog.dropped_s)

    def stop(self, ending: ChatError) -> None:
        """End the session for this reason."""
        self._end(ending)
        self._scope.cancel()

    async def _part(self, work: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
        """Work until it ends in whatever way; then the other parts of the scope end too."""
        try:
            await work()
        except (ChatError, ClientLeft) as exc:
            self._end(exc)
        except Exception:
            log.exception("a conversation failed")
            self._end(ServerFault("a part of the service failed; connect again in a moment"))
        scope.cancel()

    def _end(self, ending: ChatError | ClientLeft) -> None:
        self._ending = self._ending or ending  # what comes after the first is a consequence

    async def _listen(self) -> None:
        reader = PacketReader()
        while True:
            for packet in reader.push(protocol.heard(await self._wire.receive())):
                if not is_header(packet):
                    self._backlog.add(packet)

    async def _keep_alive(self) -> None:
        while True:
            await anyio.sleep(max(PING_AFTER_S - self._wire.silent_s, 0.1))
            if self._wire.silent_s >= PING_AFTER_S:
                await self._wire.send(protocol.PING)

    async def _converse(self) -> None:
        with self._line.join() as ticket:
            while ticket.position:
                await self._wire.send(protocol.queue_position(ticket.position))
                await ticket.moved()
            async with self._voice() as voice, self._row(ticket) as row:
                await self._wire.send(protocol.HANDSHAKE)
                if self._wishes.provenance:
                    await self._wire.send(protocol.issued(voice.generation_id, voice.content_id))
                under_way = anyio.create_memory_object_stream[Future[Spoken | None]](MAX_UNDER_WAY)
                feed = partial(self._feed, voice, row, under_way[0])
                speak = partial(self._speak, voice, under_way[1])
                with under_way[0], under_way[1]:
                    async with anyio.create_task_group() as parts:
                        for part in (feed, speak, self._time):
                            parts.start_soon(self._part, part, parts.cancel_scope)

    async def _time(self) -> None:
        await anyio.sleep(self._limit_s)
        raise SessionOver(f"the session has reached its limit of {self._limit_s:g} s")

    async def _feed(
        self, voice: Voice, row: int, under_way: MemoryObjectSendStream[Future[Spoken | None]]
    ) -> None:
        started, num_frames = time.monotonic(), 0
        while True:
            packet = await self._backlog.take()
            try:
                frames = await self._in_thread(voice.hear, packet)
            except DecodeError as exc:
                raise ClientFault(str(exc)) from exc
            for frame_T in frames:
                ahead_s = num_frames * FRAME_S - (time.monotonic() - started)
                await anyio.sleep(max(ahead_s - BACKLOG_S, 0))
                await under_way.send(self._stage.submit(row, frame_T))
                num_frames += 1

    async def _speak(self, voice: Voice, under_way: MemoryObjectReceiveStream[Future[Spoken | None]]) -> None:
        async for future in under_way:
            spoken = await asyncio.wrap_future(future)
            if spoken is None:
                continue
            pages = await self._in_thread(voice.say, spoken.speech_T)
            if pages:
                await self._wire.send(protocol.audio(pages))
            if spoken.text:
                await self._wire.send(protocol.text(spoken.text))

    @asynccontextmanager
    async def _voice(self) -> AsyncIterator[Voice]:
        """Opened and closed to the end, whatever is cancelled meanwhile."""
        with anyio.CancelScope(shield=True):
            voice = await self._in_thread(Voice.open, self._service, self._stage.name)
        try:
            yield voice
        finally:
            with anyio.CancelScope(shield=True):
                await self._close(voice)

    async def _close(self, voice: Voice) -> None:
        if isinstance(self._ending, ChatError) and self._ending.is_fault_of_ours:
            await self._in_thread(voice.abort)
            return
        try:
            self._tail = await self._in_thread(voice.finish)
        except Exception:
            log.exception("generation %s could not be finished", voice.generation_id)
            self._end(ServerFault("the end of the conversation could not be registered"))

    @asynccontextmanager
    async def _row(self, ticket: Ticket) -> AsyncIterator[int]:
        with anyio.CancelScope(shield=True):
            entered = self._stage.enter(seed=self._wishes.seed, sampling=self._wishes.sampling)
            row = await asyncio.wrap_future(entered)
        try:
            yield row
        finally:
            # Before the generation is closed, so that whoever is next does not wait for the database.
            self._stage.leave(row)
            ticket.leave()

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args))

    async def _say_goodbye(self) -> None:
        if not isinstance(self._ending, ChatError):
            return
        with anyio.move_on_after(GOODBYE_S, shield=True):
            try:
                if self._tail:
                    await self._wire.send(protocol.audio(self._tail))
                if not isinstance(self._ending, SessionOver):
                    await self._wire.send(protocol.error(str(self._ending)))
            except (ChatError, ClientLeft):
                return
            await self._wire.close(self._ending.close, str(self._ending))
