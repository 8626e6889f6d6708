"""Turn every failure into an RFC 9457 problem, give every answer its headers, and let no traceback out.

`Edge` is the outermost layer: it numbers the request, sets the headers of every answer, and answers an
exception that nothing else caught with a 500 that names only the request. The table of kinds is in
`api.errors`."""

import logging
import time
from collections.abc import Sequence
from http import HTTPStatus
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from api.errors import Kind
from api.logs import REQUEST_ID, fields
from api.observe import Metrics

log = logging.getLogger(__name__)

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",  # heeded by browsers over https only
}
"""Of every answer, unless a route has set its own; a page that needs scripts says which."""

_CLIENT_GONE = 499  # nobody reads it; the number other servers write into their logs
_BY_STATUS = {404: errors.NOT_FOUND, 405: errors.METHOD}


class Edge:
    """The outermost ASGI layer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        REQUEST_ID.set(request_id)
        scope.setdefault("state", {})["request_id"] = request_id
        started, status, started_s = False, _CLIENT_GONE, time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            log.exception("request %s failed", request_id)
            if started:
                raise  # too late for an answer: the server closes the connection
            response = problem(request_id, errors.INTERNAL, "an unexpected failure; it is logged", {})
            await response(scope, receive, send_with_headers)
        finally:
            self._observe(scope, status, time.perf_counter() - started_s)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count and log the answer: the route's template, never the path or query that came."""
        route = getattr(scope.get("route"), "path", None)
        self._metrics.request(route, scope["method"], status, seconds)
        key_id = scope["state"].get("key_id")
        log.info(
            "%s %s %d",
            scope["method"][:16],
            route,
            status,
            extra=fields(route=route, status=status, seconds=round(seconds, 4), key_id=key_id),
        )


def problem(
    request_id: str, kind: Kind, detail: str, extensions: dict[str, object], retry_after_s: int | None = None
) -> JSONResponse:
    """The answer for one problem."""
    body: dict[str, object] = {
        "type": kind.type_uri,
        "title": kind.title,
        "status": kind.status.value,
        "detail": detail,
        "code": kind.code,
        "request_id": request_id,
    }
    headers = {}
    if kind.retry and retry_after_s is not None:
        body["retry_after_s"] = retry_after_s
        headers["Retry-After"] = str(retry_after_s)
    if kind.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body | extensions, kind.status.value, headers, errors.MEDIA_TYPE)


def _allowed(routes: Sequence[BaseRoute], request: Request) -> str:
    """The methods of all routes with this path; the router names those of the first alone."""
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in matching for method in getattr(route, "methods", ())}))


def install(app: FastAPI, retry_after_s: int, metrics: Metrics, routes: Sequence[BaseRoute]) -> None:
    """Make `app` answer every failure with a problem, and count what it answers. `routes`: all of them."""

    def answer(
        request: Request, kind: Kind, detail: str, extensions: dict[str, object], wait_s: int = retry_after_s
    ) -> Response:
        reason = extensions.get("reason") if kind is errors.UNDECODABLE else None
        metrics.problem(kind.code, None if reason is None else str(reason))
        return problem(request.state.request_id, kind, detail, extensions, wait_s)

    async def on_expected(request: Request, exc: Exception) -> Response:
        kind = errors.kind_of(exc)
        if kind is errors.INTERNAL:
            raise exc  # to Edge, which logs it
        if kind.detail is not None:
            log.warning("%s: %s", kind.code, exc)
        wait_s = exc.retry_after_s if isinstance(exc, errors.TooManyRequests) else retry_after_s
        return answer(request, kind, kind.detail or str(exc), errors.extensions_of(exc), wait_s)

    async def on_http(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        kind = _BY_STATUS.get(exc.status_code, errors.BAD_REQUEST)
        response = answer(request, kind, str(exc.detail), {})
        response.headers.update(exc.headers or {})
        if kind is errors.METHOD:
            response.headers["Allow"] = _allowed(routes, request)
        return response

    async def on_invalid(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, RequestValidationError)
        # Only where and why: the value that was sent is not sent back.
        found = [{"pointer": "/".join(map(str, one["loc"])), "detail": one["msg"]} for one in exc.errors()]
        detail = "; ".join(f"{one['pointer']}: {one['detail']}" for one in found)
        return answer(request, errors.INVALID, detail, {"errors": found})

    async def on_gone(request: Request, _exc: Exception) -> Response:
        log.info("request %s: the client went away", request.state.request_id)
        return Response(status_code=_CLIENT_GONE)

    for expected in errors.EXPECTED:
        app.add_exception_handler(expected, on_expected)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_middleware(Edge, metrics=metrics)
