"""The REST application: open the service when the server starts, close it when it stops.

    uvicorn.run(create_app(settings))

Building the application opens nothing; the service opens in the lifespan, before the first request is taken.
Not here: limits and headers (`api.upload`, `api.workers`, `api.problems`), what the routes do (`api.routes`).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import torch
from anyio import to_thread
from fastapi import FastAPI

from api import problems
from api.routes import detections, generations, health, log, marks
from api.service import Service
from api.settings import Settings
from api.workers import Workers


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings. Sets the number of torch's threads for the process."""
    torch.set_num_threads(settings.torch_threads)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.workers = Workers(settings.num_workers, settings.max_waiting)
        app.state.service = await to_thread.run_sync(Service.open, settings)
        try:
            yield
        finally:
            await to_thread.run_sync(app.state.service.close)

    app = FastAPI(
        title="Earmark",
        version=version("earmark"),
        summary="Provenance for generated speech: mark it, register it, and let anyone check it.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        redoc_url=None,
        docs_url=None,
    )
    problems.install(app, settings.retry_after_s)
    for routes in (marks, detections, generations, log, health):
        app.include_router(routes.router)
    return app
