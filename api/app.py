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

import generation
from api import problems
from api.access.rates import Rates
from api.booth import Booth
from api.chat.protocol import MAX_MESSAGE_BYTES
from api.chat.room import Room
from api.chat.stage import Speaker
from api.compute import Children
from api.fetch import Fetcher
from api.observe import Metrics
from api.routes import chat, detections, generations, health, log, marks, pages, speech
from api.service import Service
from api.settings import Settings
from api.web.site import Site
from api.workers import Workers
from generation import Dialogue

UVICORN_OPTIONS: dict[str, Any] = {
    "lifespan": "on",
    "ws_max_size": MAX_MESSAGE_BYTES,
    "ws_per_message_deflate": False,  # Opus does not shrink, and a short message could unpack to a long one
}
"""What the application needs of the server that runs it."""


def load_dialogue(settings: Settings) -> Speaker:
    """The model of the settings. Raises GenerationError."""
    assert settings.model is not None
    return Dialogue.load(
        settings.model,
        num_streams=settings.chat_streams,
        device=settings.device,
        precision=settings.precision,
    )


def create_app(
    settings: Settings,
    load_speaker: Callable[[Settings], Speaker] = load_dialogue,
    children: Children | None = None,
) -> FastAPI:
    """The application for these settings. Sets the number of torch's threads for the process.

    `load_speaker` is called once, when the application starts and the settings name a model. `children`
    compute detections, and end with the application.
    """
    torch.set_num_threads(settings.torch_threads)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        workers = app.state.workers = Workers(settings.num_workers, settings.max_waiting)
        app.state.rates = Rates(
            settings.requests_per_minute_key,
            settings.requests_per_minute_address,
            settings.requests_per_minute_everyone,
            settings.wrong_keys_per_minute_address,
        )
        app.state.fetcher = Fetcher(settings.fetch_timeout_s)
        async with AsyncExitStack() as parts:
            parts.push_async_callback(to_thread.run_sync, workers.close)
            if children is not None:
                parts.push_async_callback(to_thread.run_sync, children.close)
            service = app.state.service = await to_thread.run_sync(
                Service.open, settings, metrics.detection, children
            )
            parts.push_async_callback(to_thread.run_sync, service.close)
            await to_thread.run_sync(service.issued.follow)  # or the first unread mark would wait for it
            app.state.room = None
            if settings.model is not None:
                app.state.room = await Room.open(service, partial(load_speaker, settings))
                parts.push_async_callback(app.state.room.close)
            app.state.booth = None
            if settings.voice is not None:
                load = partial(generation.Speaker.load, settings.voice)
                app.state.booth = await Booth.open(load, settings.voice_waiting)
            _add_gauges(metrics, workers, service)
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
    routers = [part.router for part in (marks, detections, speech, generations, log, health, chat, pages)]
    routes = [route for router in routers for route in router.routes]
    problems.install(app, settings.retry_after_s, metrics, routes)
    app.state.metrics = metrics
    app.state.site = Site.load()
    for router in routers:
        app.include_router(router)
    return app


def _add_gauges(metrics: Metrics, workers: Workers, service: Service) -> None:
    """What is asked when somebody reads /metrics. A new part adds its line here."""
    index, log_waiting_s = service.registry.index, service.registry.log.waiting_s
    metrics.gauge("earmark_places", "Requests that may be in progress.", lambda: workers.num_places)
    metrics.gauge("earmark_places_taken", "Requests in progress.", lambda: workers.num_taken)
    metrics.gauge("earmark_queue_depth", "Requests that wait for a worker.", lambda: workers.num_waiting)
    metrics.gauge("earmark_index_lag", "Changes the index has not replayed.", lambda: index.status().lag)
    metrics.gauge("earmark_index_windows", "Windows in the index.", lambda: index.status().num_windows)
    metrics.gauge("earmark_log_waiting_seconds", "Age of the oldest entry not in the log.", log_waiting_s)
