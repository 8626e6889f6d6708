"""The REST application: open the service when the server starts, close it when it stops.

    uvicorn.run(create_app(settings))

Building the application opens nothing; the service opens in the lifespan, before the first request is taken.
Not here: limits and headers (`api.upload`, `api.workers`, `api.problems`), what the routes do (`api.routes`).
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from anyio import to_thread
from fastapi import FastAPI

from api import problems
from api.chat.protocol import MAX_MESSAGE_BYTES
from api.chat.room import Room
from api.chat.stage import Speaker
from api.routes import chat, detections, generations, health, log, marks
from api.service import Service
from api.settings import Settings
from api.workers import Workers
from generation import Dialogue

UVICORN_OPTIONS: dict[str, Any] = {
    "lifespan": "on",
    "ws_max_size": MAX_MESSAGE_BYTES,
    "ws_per_message_deflate": False,  # Opus does not shrink, and a short message could unpack to a long one
    "timeout_graceful_shutdown": 60,  # for a client that neither reads nor goes away
}
"""What the application needs of the server that runs it."""


def load_dialogue(settings: Settings) -> Speaker:
    """The model of the settings. Raises GenerationError."""
    assert settings.model is not None
    return Dialogue.load(settings.model, num_streams=settings.chat_streams, device=settings.device)


def create_app(settings: Settings, load_speaker: Callable[[Settings], Speaker] = load_dialogue) -> FastAPI:
    """The application for these settings. Sets the number of torch's threads for the process.

    `load_speaker` is called once, when the application starts and the settings name a model.
    """
    torch.set_num_threads(settings.torch_threads)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.workers = Workers(settings.num_workers, settings.max_waiting)
        async with AsyncExitStack() as parts:
            app.state.service = await to_thread.run_sync(Service.open, settings)
            parts.push_async_callback(to_thread.run_sync, app.state.service.close)
            app.state.room = None
            if settings.model is not None:
                app.state.room = await Room.open(app.state.service, partial(load_speaker, settings))
                parts.push_async_callback(app.state.room.close)
            yield

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
    for routes in (marks, detections, generations, log, health, chat):
        app.include_router(routes.router)
    return app
