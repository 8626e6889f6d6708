"""POST /v1/detections: did this audio come from here, and how sure is each technique?"""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from api import errors
from api.routes.access import KEY_KINDS, WITHOUT_KEY_TOO, Counted
from api.routes.common import (
    UPLOAD_KINDS,
    UPLOAD_OR_URL,
    OpenService,
    links_to_generation,
    problems,
    with_upload_or_url,
)
from api.schemas import Detection
from api.waveform import MAX_PEAKS

router = APIRouter(tags=["detections"])

_LINKS = {
    "check": {"operationId": "check_detection", "requestBody": "$response.body"},
    **links_to_generation("$response.body#/generation/generation_id"),
}
"""The last two when it is attributed to a generation."""


@router.post(
    "/v1/detections",
    operation_id="create_detection",
    summary="Tell whether audio came from here",
    response_model=Detection,
    responses={200: {"links": _LINKS}, **problems(*UPLOAD_KINDS, errors.NOT_FETCHED, *KEY_KINDS)},
    openapi_extra=UPLOAD_OR_URL | WITHOUT_KEY_TOO,
)
async def create_detection(
    request: Request,
    service: OpenService,
    visitor: Counted,
    waveform: Annotated[
        int | None, Query(ge=1, le=MAX_PEAKS, description="How many peaks of the waveform to answer.")
    ] = None,
) -> Detection:
    """A verdict with its reason, and the evidence of each technique. Audio that gives no verdict is
    `inconclusive`.

    The audio is judged in memory and not kept. `not_detected` does not mean that a human spoke. Without an
    API key `certainty` stands in place of scores and probabilities. The body may also be `{"url": …}`.
    """
    return await with_upload_or_url(request, lambda data: service.detect(data, visitor, waveform))
