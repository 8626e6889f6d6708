"""The transparency log: `/v1/log` is the root of a C2SP tlog-tiles log; proofs by generation; signed results.

Checkpoint and tiles are what any tlog client reads; whoever has them needs nothing else of ours. Public, as a
log has to be. A proof that is asked for here carries no salt: only who received the audio got that."""

from typing import Annotated, Any
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, HTTPException, Path, Request, Response

from api import errors, signing
from api.routes.access import KEY_KINDS, WITHOUT_KEY_TOO, Counted
from api.routes.common import OpenService, problems
from api.schemas import SignatureCheck
from api.upload import read_json_bytes
from registry import LogDamaged, LogUnavailable, ProofRefused
from registry.log import Receipt, TransparencyLog
from registry.log.tiles import is_tile_path

router = APIRouter(tags=["log"])

TILE_EXAMPLES = ["entries/000", "0/000", "0/000.p/1"]  # of any log with 256 entries
MAX_RESULT_BYTES = 1_000_000  # a result has some 3 to 20 kB
PROOF_WAIT_S = 2.0  # a batch takes 0.1 to 0.3 s
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


def _answers(description: str, media_type: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}


@router.get(
    "/v1/log/checkpoint",
    operation_id="get_checkpoint",
    summary="The newest signed tree",
    response_class=Response,
    responses={200: _answers("A C2SP signed note.", "text/plain"), **problems(errors.LOG_UNAVAILABLE)},
)
async def get_checkpoint(service: OpenService) -> Response:
    """Origin, size and root, signed with Ed25519 by the key of `/v1/log/key`."""
    note = await to_thread.run_sync(service.registry.log.checkpoint)
    return Response(note, media_type="text/plain; charset=utf-8")


@router.get(
    "/v1/log/key",
    operation_id="get_log_key",
    summary="The public key of the log",
    response_class=Response,
    responses={200: _answers("name+id+base64, as a C2SP signed note has it.", "text/plain")},
)
async def get_log_key(service: OpenService) -> Response:
    """For convenience: whoever distrusts this service gets its key elsewhere, and once."""
    return Response(f"{service.registry.log.key.verifier}\n", media_type="text/plain; charset=utf-8")


@router.get(
    "/v1/log/tile/{path:path}",
    operation_id="get_tile",
    summary="A tile of hashes, or a bundle of entries",
    response_class=Response,
    responses={
        200: _answers("As C2SP tlog-tiles lays them out.", "application/octet-stream"),
        **problems(errors.NOT_FOUND, errors.LOG_UNAVAILABLE),
    },
)
async def get_tile(
    service: OpenService,
    path: Annotated[str, Path(examples=TILE_EXAMPLES)],
) -> Response:
    """`LEVEL/NUMBER[.p/WIDTH]` or `entries/NUMBER[.p/WIDTH]`; a number is in groups of three: `x001/234`."""
    name = f"tile/{path}"
    if not is_tile_path(name):
        raise HTTPException(404, "a tile is LEVEL/NUMBER or entries/NUMBER, then .p/WIDTH when not full")
    try:
        data = await to_thread.run_sync(service.registry.log.folder.read, name)
    except LogDamaged:
        raise HTTPException(404, "the log has no such tile") from None
    return Response(data, media_type="application/octet-stream", headers=_IMMUTABLE)


@router.get(
    "/v1/log/proof/{generation_id}",
    operation_id="get_proof",
    summary="The proof that a generation is in the log",
    response_class=Response,
    responses={
        200: _answers("A C2SP tlog-proof.", "text/plain"),
        **problems(
            errors.UNKNOWN_GENERATION,
            errors.INVALID,
            errors.UNAVAILABLE,
            errors.LOG_UNAVAILABLE,
            *KEY_KINDS,
        ),
    },
    openapi_extra=WITHOUT_KEY_TOO,
)
async def get_proof(service: OpenService, _visitor: Counted, generation_id: UUID) -> Response:
    """Of its newest entry, under the newest checkpoint, without the salt of its commitments."""
    receipt = await to_thread.run_sync(_receipt, service.registry.log, generation_id)
    return Response(receipt.without_salt().encode(), media_type="text/plain; charset=utf-8")


def _receipt(log: TransparencyLog, generation_id: UUID) -> Receipt:
    """Speech that was streamed is over before its last entry is signed, and nobody waits for that one: who
    asks for it does, and the log signs while somebody waits."""
    try:
        return log.receipt(generation_id)
    except LogUnavailable:
        return log.wait(generation_id, PROOF_WAIT_S)


@router.post(
    "/v1/detections/check",
    operation_id="check_detection",
    summary="Whether this service signed a result",
    response_model=SignatureCheck,
    responses=problems(errors.BAD_REQUEST, errors.TOO_LARGE, errors.MEDIA_TYPE_REFUSED, *KEY_KINDS),
    openapi_extra=WITHOUT_KEY_TOO
    | {
        "requestBody": {
            "required": True,
            "description": "What POST /v1/detections answered, unchanged; all else is not valid.",
            "content": {"application/json": {"schema": {}}},
        }
    },
)
async def check_detection(request: Request, service: OpenService, _visitor: Counted) -> SignatureCheck:
    """Says whether it was signed here and not changed since; a result that was not is no error. Compare
    `input.sha256` with the file that it is said to be about."""
    data = await read_json_bytes(request, MAX_RESULT_BYTES, service.settings.upload_timeout_s)
    try:
        key = signing.check(signing.parse(data), service.registry.log.signer.trust.logs)
    except ProofRefused as exc:
        return SignatureCheck(valid=False, signed_by=None, reason=exc.reason.value, detail=str(exc))
    return SignatureCheck(valid=True, signed_by=str(key), reason=None, detail=None)
