"""GET /livez, /readyz and /metrics: for whoever restarts the process, sends it traffic, and watches it."""

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from api.chat.room import Room
from api.observe import MEDIA_TYPE, Metrics
from api.routes.access import SCOPE_KINDS, Auditor
from api.routes.common import OpenService, problems
from api.schemas import Alive, Readiness

router = APIRouter(tags=["health"])


@router.get("/livez", operation_id="get_liveness", summary="The process answers", response_model=Alive)
async def get_liveness() -> Alive:
    """Asks nothing else, so that a database that is away does not get the process restarted."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="get_readiness",
    summary="Every part works",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "A part does not work; `checks` says which"}},
)
async def get_readiness(request: Request, service: OpenService, response: Response) -> Readiness:
    """The key files are those in use, the database answers, the index is replayed, the log takes entries, the
    disk has room, and the model speaks; without a model `chat` is "off" and without a voice `voice`, which is
    no failure."""
    room: Room | None = request.app.state.room
    readiness = await to_thread.run_sync(
        service.readiness, room.state if room else "off", "ok" if request.app.state.booth else "off"
    )
    if readiness.status != "ready":
        response.status_code = 503
    return readiness


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Counters and gauges for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **problems(*SCOPE_KINDS)},
)
async def get_metrics(request: Request, _auditor: Auditor) -> Response:
    """Needs a key with the scope `audit`: how much is asked here is not for everyone to know."""
    metrics: Metrics = request.app.state.metrics
    return Response(await to_thread.run_sync(metrics.text), media_type=MEDIA_TYPE)
