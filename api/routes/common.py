"""What the routes share: access to the open service, how an upload is documented, and which problems it may
meet."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from api import errors
from api.errors import Kind
from api.schemas import Problem
from api.service import Service
from api.upload import FORM_FIELD, read_upload
from api.workers import Workers

T = TypeVar("T")


def open_service(request: Request) -> Service:
    """The service that the application opened when it started."""
    service: Service = request.app.state.service
    return service


OpenService = Annotated[Service, Depends(open_service)]

UPLOAD = {
    "requestBody": {
        "required": True,
        "description": "The audio file: WAV, FLAC, MP3, Ogg (Opus, Vorbis) or M4A (AAC, ALAC); or a form.",
        "content": {
            "audio/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FORM_FIELD],
                    "properties": {FORM_FIELD: {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
UPLOAD_KINDS = (
    errors.BAD_REQUEST,
    errors.TOO_LARGE,
    errors.TOO_LONG,
    errors.MEDIA_TYPE_REFUSED,
    errors.UNDECODABLE,
    errors.INVALID,
    errors.BUSY,
    errors.UNAVAILABLE,
    errors.LOG_UNAVAILABLE,
)


def problems(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """The documentation of the problems that a route answers."""
    texts: dict[int, list[str]] = {}
    for kind in (*kinds, errors.INTERNAL):
        texts.setdefault(kind.status.value, []).append(f"{kind.title} (`{kind.type_uri}`)")
    return {
        status: {
            "description": "; ".join(lines),
            "content": {errors.MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        }
        for status, lines in texts.items()
    }


async def with_upload(request: Request, work: Callable[[bytes], T]) -> T:
    """Admit the request, read its file, and work on it in a worker thread. Raises as `api.upload` and
    `work` do."""
    workers: Workers = request.app.state.workers
    settings = open_service(request).settings
    with workers.admit():
        data = await read_upload(request, settings.max_body_bytes, settings.upload_timeout_s)
        return await workers.run(request, work, data)
