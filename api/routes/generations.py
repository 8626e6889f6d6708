"""GET /v1/generations/{generation_id}: the public facts of one generation."""

from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter

from api import errors
from api.routes.common import OpenService, problems
from api.schemas import GenerationRecord

router = APIRouter(tags=["generations"])


@router.get(
    "/v1/generations/{generation_id}",
    operation_id="get_generation",
    summary="The public facts of one generation",
    response_model=GenerationRecord,
    responses=problems(errors.UNKNOWN_GENERATION, errors.INVALID, errors.UNAVAILABLE),
)
async def get_generation(service: OpenService, generation_id: UUID) -> GenerationRecord:
    """No account and nothing else that could be personal is ever part of it."""
    return await to_thread.run_sync(service.generation, generation_id)
