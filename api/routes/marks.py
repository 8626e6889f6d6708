"""POST /v1/marks: audio in, marked audio out."""

import base64
from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.marking import ORIGIN_TEXT, MarkedFile, Origin
from api.routes.common import UPLOAD, UPLOAD_KINDS, OpenService, problems, with_upload

router = APIRouter(tags=["marks"])

OriginText = Annotated[
    str, Query(pattern=f"^{ORIGIN_TEXT.pattern}$", description="Public; never put personal data here.")
]

_MARKED = {
    "description": "The marked audio, in the container that came where it can be written, else WAV.",
    "content": {"audio/*": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {
        "Earmark-Generation-Id": {"schema": {"type": "string", "format": "uuid"}},
        "Earmark-Content-Id": {"schema": {"type": "string", "pattern": "^[0-9a-f]{12}$"}},
        "Earmark-Created-At": {"schema": {"type": "string", "format": "date-time"}},
        "Earmark-Receipt": {
            "description": "Base64 of a C2SP tlog-proof: keep it; with the audio and the log's public key it "
            "shows offline that this file was issued here.",
            "schema": {"type": "string", "contentEncoding": "base64"},
        },
    },
}


@router.post(
    "/v1/marks",
    operation_id="create_mark",
    summary="Mark and register speech that another engine made",
    response_class=Response,
    responses={200: _MARKED, **problems(*UPLOAD_KINDS)},
    openapi_extra=UPLOAD,
)
async def create_mark(
    request: Request,
    service: OpenService,
    system: OriginText = "unnamed",
    system_version: OriginText = "unknown",
    model: OriginText = "unknown",
) -> Response:
    """Rate, channels and length stay as they are. `system`, `system_version` and `model` say which engine
    spoke.

    The generation's row, its fingerprints and its log entry are durable before the first byte of the answer
    leaves.
    """
    origin = Origin(system, system_version, model)
    marked = await with_upload(request, lambda data: service.mark_file(data, origin))
    return Response(marked.data, media_type=marked.media_type, headers=_headers(marked))


def _headers(marked: MarkedFile) -> dict[str, str]:
    created_at = marked.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return {
        "Earmark-Generation-Id": str(marked.generation_id),
        "Earmark-Content-Id": marked.content_id_hex,
        "Earmark-Created-At": created_at,
        "Earmark-Receipt": base64.b64encode(marked.receipt.encode()).decode(),
    }
