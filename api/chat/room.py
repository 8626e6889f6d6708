"""Where all conversations of a server take place: one stage, one line, and an orderly end.

room = await Room.open(service, load)           # loads the model
await room.converse(socket, wishes)             # one client, from accept to close
await room.close()                              # ends every session, then the stage
"""

from collections.abc import Callable
from typing import Self

import anyio
from anyio import to_thread
from starlette.websockets import WebSocket

from api.chat.errors import ServerStopping
from api.chat.line import Line
from api.chat.session import Session, Wishes
from api.chat.stage import Speaker, Stage
from api.chat.wire import Wire
from api.service import Service


class Room:
    """For one event loop."""

    def __init__(self, service: Service, stage: Stage) -> None:
        """The stage has started."""
        self._service = service
        self._stage = stage
        self._line = Line(stage.num_rows, service.settings.chat_waiting)
        self._sessions: set[Session] = set()
        self._empty = anyio.Event()
        self._closing = False

    @classmethod
    async def open(cls, service: Service, load: Callable[[], Speaker]) -> Self:
        """Start the stage with the model that `load` returns; takes as long. Raises what it raises."""
        stage = Stage(load)
        await to_thread.run_sync(stage.start)
        return cls(service, stage)

    @property
    def state(self) -> str:
        """ "ok", or what is wrong."""
        return "ok" if self._stage.is_alive and not self._closing else "the model's thread has ended"

    async def converse(self, socket: WebSocket, wishes: Wishes) -> None:
        """One session on an accepted socket."""
        limit_s = self._service.settings.chat_session_s
        session = Session(Wire(socket), wishes, self._service, self._stage, self._line, limit_s)
        self._sessions.add(session)
        if self._closing:
            session.stop(ServerStopping("the server is stopping; connect again"))
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            if not self._sessions:
                self._empty.set()

    async def close(self) -> None:
        """End every session in order, wait for them, then end the stage's thread."""
        self._closing = True
        for session in self._sessions:
            session.stop(ServerStopping("the server is stopping; connect again"))
        while self._sessions:
            self._empty = anyio.Event()
            await self._empty.wait()
        await to_thread.run_sync(self._stage.stop)
