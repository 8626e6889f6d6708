"""GET /v1/generations: one for anyone, all of them, in pages or as a file, for auditors."""

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator

from api import errors, export
from api.export import ExportFormat
from api.routes.access import KEY_KINDS, SCOPE_KINDS, WITHOUT_KEY_TOO, Auditor, Counted
from api.routes.common import OpenService, links_to_generation, problems
from api.schemas import GenerationPage, GenerationRecord
from registry import GenerationFilter, GenerationState

router = APIRouter(tags=["generations"])

MAX_PAGE = 200
ROWS_HEADER = "Earmark-Num-Generations"


RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _moment(text: str) -> str:
    """Refuses what pydantic would take beyond RFC 3339: numbers, days, times without offset."""
    if not RFC_3339.fullmatch(text):
        raise ValueError("a time such as 2026-11-25T10:00:00Z is expected")
    return text


Moment = Annotated[datetime, BeforeValidator(_moment)]


def _filter(
    created_from: Annotated[Moment | None, Query(description="This moment and later.")] = None,
    created_before: Annotated[Moment | None, Query(description="Earlier than this.")] = None,
    model: Annotated[str | None, Query(max_length=100)] = None,
    state: GenerationState | None = None,
) -> GenerationFilter:
    return GenerationFilter(created_from, created_before, model, state)


Wanted = Annotated[GenerationFilter, Depends(_filter)]
Receipts = Annotated[bool, Query(description="Also the proof of each row's log entry.")]

_PAGE_LINKS = {
    "next page": {
        "operationId": "list_generations",
        "parameters": {"cursor": "$response.body#/next_cursor"},
        "description": "Unless it is null.",
    },
    **links_to_generation("$response.body#/generations/0/generation_id"),
}


@router.get(
    "/v1/generations",
    operation_id="list_generations",
    summary="What was generated or marked, newest first",
    response_model=GenerationPage,
    responses={
        200: {"links": _PAGE_LINKS},
        **problems(errors.UNKNOWN_GENERATION, errors.INVALID, errors.UNAVAILABLE, *SCOPE_KINDS),
    },
)
async def list_generations(
    service: OpenService,
    _auditor: Auditor,
    wanted: Wanted,
    cursor: Annotated[UUID | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    receipts: Receipts = False,
) -> GenerationPage:
    """Needs a key with the scope `audit`. What is begun between two pages shifts none of them. A receipt is
    checked offline with `earmark log verify`."""
    return await to_thread.run_sync(service.generations, limit, cursor, wanted, receipts)


@router.get(
    "/v1/generations/export",
    operation_id="export_generations",
    summary="The same as one file",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/csv": {}, "application/jsonl": {}},
            "headers": {ROWS_HEADER: {"schema": {"type": "integer"}}},
        },
        **problems(errors.INVALID, errors.UNAVAILABLE, *SCOPE_KINDS),
    },
)
async def export_generations(
    service: OpenService,
    _auditor: Auditor,
    wanted: Wanted,
    form: ExportFormat = ExportFormat.JSONL,
    receipts: Receipts = False,
) -> StreamingResponse:
    """The header Earmark-Num-Generations says how many rows come, so that a client can show progress, and can
    tell that a file is whole: an answer has begun when the database goes away, and then ends early. The
    column `receipt` is there when receipts are asked for."""
    num_rows = await to_thread.run_sync(service.registry.count_generations, wanted)
    pages = export.pages(service.registry, wanted, receipts=receipts)

    async def text() -> AsyncIterator[str]:
        yield export.header(form, receipts=receipts)
        while (page := await to_thread.run_sync(next, pages, None)) is not None:
            yield export.lines(page, form)

    return StreamingResponse(
        text(), media_type=export.MEDIA_TYPES[form], headers={ROWS_HEADER: str(num_rows)}
    )


@router.get(
    "/v1/generations/{generation_id}",
    operation_id="get_generation",
    summary="The public facts of one generation",
    response_model=GenerationRecord,
    responses={
        200: {"links": {"proof": links_to_generation("$request.path.generation_id")["proof"]}},
        **problems(errors.UNKNOWN_GENERATION, errors.INVALID, errors.UNAVAILABLE, *KEY_KINDS),
    },
    openapi_extra=WITHOUT_KEY_TOO,
)
async def get_generation(service: OpenService, _visitor: Counted, generation_id: UUID) -> GenerationRecord:
    """No account and nothing else that could be personal is ever part of it."""
    return await to_thread.run_sync(service.generation, generation_id)
