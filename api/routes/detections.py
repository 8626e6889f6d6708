"""POST /v1/detections: did this audio come from here, and how sure is each technique?"""

from fastapi import APIRouter, Request

from api.routes.common import UPLOAD, UPLOAD_KINDS, OpenService, problems, with_upload
from api.schemas import Detection

router = APIRouter(tags=["detections"])


@router.post(
    "/v1/detections",
    operation_id="create_detection",
    summary="Tell whether audio came from here",
    response_model=Detection,
    responses=problems(*UPLOAD_KINDS),
    openapi_extra=UPLOAD,
)
async def create_detection(request: Request, service: OpenService) -> Detection:
    """A verdict with its reason, and the evidence of each technique. Audio that gives no verdict is
    `inconclusive`.

    The audio is judged in memory and not kept. `not_detected` does not mean that a human spoke.
    """
    return await with_upload(request, service.detect)
