"""What the routes share: access to the open service, how an upload is documented, and which problems it may
meet."""

import base64
from collections.abc import Callable
from datetime import UTC
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request

from api import errors, idempotency
from api.errors import Kind
from api.fetch import Fetcher
from api.schemas import Problem, UrlInput, content_id_hex
from api.service import Service
from api.upload import FORM_FIELD, media_type_of, read_json, read_upload
from api.workers import Workers, while_connected
from registry import Generation
from registry.log import Receipt

T = TypeVar("T")


async def open_service(request: Request) -> Service:
    """The service that the application opened when it started. A coroutine that waits for nothing: a plain
    function would be called in a thread."""
    service: Service = request.app.state.service
    return service


OpenService = Annotated[Service, Depends(open_service)]

RequestText = Annotated[
    str | None,
    Header(
        alias=idempotency.HEADER,
        pattern=f"^{idempotency.NAME.pattern}$",
        description="What you call this request, such as a UUID; needs an API key.",
    ),
]

ISSUED_HEADERS: dict[str, Any] = {
    "Earmark-Generation-Id": {"schema": {"type": "string", "format": "uuid"}},
    "Earmark-Content-Id": {"schema": {"type": "string", "pattern": "^[0-9a-f]{12}$"}},
    "Earmark-Created-At": {"schema": {"type": "string", "format": "date-time"}},
    "Earmark-Receipt": {
        "description": "Base64 of a C2SP tlog-proof: keep it; with the audio and the log's public key it "
        "shows offline that this file was issued here.",
        "schema": {"type": "string", "contentEncoding": "base64"},
    },
    idempotency.REPLAYED: {
        "description": "`true` when this answer was first given to an earlier request.",
        "schema": {"type": "string"},
    },
}
"""Of every answer that is marked audio, as the document describes them."""


def links_to_generation(where: str) -> dict[str, Any]:
    """OpenAPI links from an answer that names a generation: its facts, and its proof. `where`: a runtime
    expression for the id."""
    return {
        "facts": {"operationId": "get_generation", "parameters": {"generation_id": where}},
        "proof": {"operationId": "get_proof", "parameters": {"generation_id": where}},
    }


ISSUED_LINKS = links_to_generation("$response.header.Earmark-Generation-Id")

UPLOAD: dict[str, Any] = {
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
UPLOAD_OR_URL = {
    "requestBody": {
        **UPLOAD["requestBody"],
        "content": {
            **UPLOAD["requestBody"]["content"],
            "application/json": {"schema": UrlInput.model_json_schema()},
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


def issued_headers(generation: Generation, receipt: Receipt) -> dict[str, str]:
    """The same for one generation."""
    return {
        "Earmark-Generation-Id": str(generation.generation_id),
        "Earmark-Content-Id": content_id_hex(generation.content_id),
        "Earmark-Created-At": generation.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "Earmark-Receipt": base64.b64encode(receipt.encode()).decode(),
    }


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
    service: Service = request.app.state.service
    settings = service.settings
    with workers.admit():
        data = await read_upload(request, settings.max_body_bytes, settings.upload_timeout_s)
        return await workers.run(request, work, data)


async def with_upload_or_url(request: Request, work: Callable[[bytes], T]) -> T:
    """The same; the body may also be `{"url": …}`, whose file is then fetched. Raises FetchError too.

    A file is fetched before a place is taken, so that a slow server elsewhere holds up nobody's upload; how
    many are fetched at once has its own limit.
    """
    service: Service = request.app.state.service
    settings = service.settings
    if media_type_of(request) != "application/json" or not settings.fetch_urls:
        return await with_upload(request, work)
    workers: Workers = request.app.state.workers
    fetcher: Fetcher = request.app.state.fetcher
    url = (await read_json(request, UrlInput, settings.upload_timeout_s)).url
    with workers.admit_fetch():
        data = await while_connected(request, lambda: fetcher.fetch(url, settings.max_body_bytes))
    with workers.admit():
        return await workers.run(request, work, data)
