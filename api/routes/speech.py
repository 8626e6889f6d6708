"""POST /v1/generations: a text in, marked speech of our own out, while it is spoken."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Request, Response
from pydantic import TypeAdapter

from api import errors, idempotency
from api.booth import Booth
from api.errors import NoVoice
from api.idempotency import Reply
from api.routes.access import SCOPE_KINDS, Generator
from api.routes.common import (
    ISSUED_HEADERS,
    ISSUED_LINKS,
    OpenService,
    RequestText,
    issued_headers,
    problems,
)
from api.routes.speech_stream import SpeechStream, Writer
from api.schemas import SpeechText
from api.speech import MarkedSpeech
from api.upload import read_json
from audio import OpusWriter, WavWriter
from generation import Speaker, SpeechRequest, SpeechRequestError

router = APIRouter(tags=["generations"])

WAV, OPUS = "audio/wav", "audio/ogg"
_SPOKEN = {
    "description": "The speech as it is made: WAV whose length is not known when it begins, or Ogg Opus.",
    "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in (WAV, OPUS)},
    "headers": ISSUED_HEADERS,
    "links": ISSUED_LINKS,
}
_TEXT = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": TypeAdapter(SpeechText).json_schema()}},
    }
}


@router.post(
    "/v1/generations",
    operation_id="create_generation",
    summary="Say a text; the speech is marked and registered",
    response_class=Response,
    responses={
        200: _SPOKEN,
        **problems(
            errors.BAD_REQUEST, errors.TOO_LARGE, errors.MEDIA_TYPE_REFUSED, errors.INVALID, errors.BUSY,
            errors.UNAVAILABLE, errors.LOG_UNAVAILABLE, errors.NO_VOICE, errors.CONFLICT, errors.AT_WORK,
            *SCOPE_KINDS,
        ),
    },
    openapi_extra=_TEXT,
)  # fmt: skip
async def create_generation(
    request: Request,
    service: OpenService,
    visitor: Generator,
    accept: Annotated[str, Header(description="`audio/ogg` for Ogg Opus; else WAV.")] = WAV,
    idempotency_key: RequestText = None,
) -> Response:
    """English, numbers and abbreviations included. The generation is in registry and log before its first
    sample leaves; who stops reading leaves an `aborted` one behind, of what was made until then.

    Under an `Idempotency-Key` the speech is whole before it leaves; sent again within 24 hours, the request
    is answered with the same bytes.
    """
    booth: Booth | None = request.app.state.booth
    if booth is None:
        raise NoVoice("this server has no voice; start it with --voice")
    wanted = await read_json(request, SpeechText, service.settings.upload_timeout_s)
    opus = OPUS in accept.lower()
    writer, media_type = (OpusWriter(), OPUS) if opus else (WavWriter(), WAV)

    def begin(speaker: Speaker) -> MarkedSpeech:
        said = _read(speaker, wanted, service.settings.max_duration_s)
        return MarkedSpeech.begin(service, speaker, said, seed=wanted.seed)

    if idempotency_key is None:
        return SpeechStream(booth, begin, writer, media_type, service.settings.upload_timeout_s)

    def once(speaker: Speaker) -> Reply:
        return idempotency.once(
            service.registry.replies,
            service.secret,
            visitor.caller,
            idempotency_key,
            idempotency.digest_of("/v1/generations", {"form": media_type}, wanted.model_dump_json().encode()),
            lambda: _whole(begin(speaker), writer, media_type),
        )

    async with booth.turn() as speaker:
        reply = await to_thread.run_sync(once, speaker)
    return Response(reply.body, media_type=reply.media_type, headers=reply.headers)


def _read(speaker: Speaker, wanted: SpeechText, max_duration_s: float) -> SpeechRequest:
    """Raises SpeechRequestError; nothing is registered then."""
    said = speaker.read(wanted.text, style=wanted.style, voice=wanted.voice)
    if said.expected_s > max_duration_s:
        raise SpeechRequestError(
            f"the text takes about {said.expected_s:.0f} s to say, and this server says at most "
            f"{max_duration_s:.0f} s at a time; send it in parts"
        )
    return said


def _whole(speech: MarkedSpeech, writer: Writer, media_type: str) -> Reply:
    try:
        body = b"".join([writer.push(marked_T) for marked_T in speech]) + writer.flush()
    finally:
        speech.close()
    return Reply(media_type, issued_headers(speech.generation, speech.receipt), body)
