"""POST /v1/marks: audio in, marked audio out."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api import errors, idempotency
from api.idempotency import Reply
from api.marking import ORIGIN_TEXT, MarkedFile, Origin
from api.routes.access import SCOPE_KINDS, Marker
from api.routes.common import (
    ISSUED_HEADERS,
    ISSUED_LINKS,
    UPLOAD,
    UPLOAD_KINDS,
    OpenService,
    RequestText,
    issued_headers,
    problems,
    with_upload,
)

router = APIRouter(tags=["marks"])

OriginText = Annotated[
    str, Query(pattern=f"^{ORIGIN_TEXT.pattern}$", description="Public; never put personal data here.")
]

_MARKED = {
    "description": "The marked audio, in the container that came where it can be written, else WAV.",
    "content": {"audio/*": {"schema": {"type": "string", "format": "binary"}}},
    "headers": ISSUED_HEADERS,
    "links": ISSUED_LINKS,
}


@router.post(
    "/v1/marks",
    operation_id="create_mark",
    summary="Mark and register speech that another engine made",
    response_class=Response,
    responses={
        200: _MARKED,
        **problems(*UPLOAD_KINDS, *SCOPE_KINDS, errors.CONFLICT, errors.AT_WORK),
    },
    openapi_extra=UPLOAD,
)
async def create_mark(
    request: Request,
    service: OpenService,
    visitor: Marker,
    system: OriginText = "unnamed",
    system_version: OriginText = "unknown",
    model: OriginText = "unknown",
    idempotency_key: RequestText = None,
) -> Response:
    """Rate, channels and length stay as they are. `system`, `system_version` and `model` say which engine
    spoke.

    The generation's row, its fingerprints and its log entry are durable before the first byte of the answer
    leaves. Sent again under the same `Idempotency-Key` within 24 hours, the request is answered with the same
    file and receipt.
    """
    origin = Origin(system, system_version, model)

    def work(data: bytes) -> Reply:
        return idempotency.once(
            service.registry.replies,
            service.secret,
            visitor.caller,
            idempotency_key,
            idempotency.digest_of("/v1/marks", vars(origin), data),
            lambda: _reply(service.mark_file(data, origin)),
        )

    reply = await with_upload(request, work)
    return Response(reply.body, media_type=reply.media_type, headers=reply.headers)


def _reply(marked: MarkedFile) -> Reply:
    return Reply(marked.media_type, issued_headers(marked.generation, marked.receipt), marked.data)
