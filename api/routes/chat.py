"""WS /api/chat: full-duplex speech by the protocol of the published Moshi clients; see `api.chat`."""

from anyio import move_on_after
from fastapi import APIRouter, WebSocket

from api.access.accounts import Scope
from api.chat import protocol
from api.chat.errors import ChatError, NoModel, NotAdmitted
from api.chat.parameters import wishes_of
from api.chat.room import Room
from api.chat.wire import ClientLeft, Wire
from api.errors import ServiceError
from api.routes.access import admit
from api.service import Service

router = APIRouter()

_GOODBYE_S = 2.0


@router.websocket("/api/chat")
async def chat(socket: WebSocket) -> None:
    """Accept, then converse; a refusal is a message first, since clients show no handshake errors."""
    room: Room | None = socket.app.state.room
    await socket.accept()
    try:
        if room is None:
            raise NoModel("this server has no model to talk to; start it with --model")
        await _admit(socket)
        wishes = wishes_of(socket.query_params)
    except ChatError as exc:
        await _refuse(Wire(socket), exc)
        return
    await room.converse(socket, wishes)


async def _admit(socket: WebSocket) -> None:
    """Count the caller; anyone may talk, unless the operator asks for keys. Raises NotAdmitted.

    Talking needs no key by default, unlike marking: what leaves is what our model said and nothing that the
    caller brought, and the published clients cannot send a header (docs/decisions/0014).
    """
    service: Service = socket.app.state.service
    try:
        visitor = await admit(socket)
        if service.settings.chat_needs_key:
            visitor.caller.require(Scope.GENERATE)
    except ServiceError as exc:
        raise NotAdmitted(str(exc)) from exc


async def _refuse(wire: Wire, why: ChatError) -> None:
    with move_on_after(_GOODBYE_S):
        try:
            await wire.send(protocol.error(str(why)))
        except (ChatError, ClientLeft):
            return
        await wire.close(why.close, str(why))
