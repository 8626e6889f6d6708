"""WS /api/chat: full-duplex speech by the protocol of the published Moshi clients; see `api.chat`."""

from anyio import move_on_after
from fastapi import APIRouter, WebSocket

from api.chat import protocol
from api.chat.errors import ChatError, NoModel
from api.chat.parameters import wishes_of
from api.chat.room import Room
from api.chat.wire import ClientLeft, Wire

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
        wishes = wishes_of(socket.query_params)
    except ChatError as exc:
        await _refuse(Wire(socket), exc)
        return
    await room.converse(socket, wishes)


async def _refuse(wire: Wire, why: ChatError) -> None:
    with move_on_after(_GOODBYE_S):
        try:
            await wire.send(protocol.error(str(why)))
        except (ChatError, ClientLeft):
            return
        await wire.close(why.close, str(why))
