"""The pages `/`, `/talk` and `/log`, and their files under `/web`; see `api.web`.

Public and uncounted, and no part of the REST contract: they are not in /openapi.json. What they may load, and
that nothing else is, is said in the headers below."""

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from api.routes.common import OpenService
from api.web.site import PAGES, Asset, Site

router = APIRouter(include_in_schema=False)

HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'self'",
            "media-src 'self' blob:",  # plays what was chosen or recorded, which never left the page
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",  # so no text becomes HTML anywhere, whatever a module tries
        ]
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), display-capture=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, and asked about each time: 304 costs nothing and is never stale
    "Vary": "Accept-Encoding, Accept-Language",
}


def _respond(request: Request, asset: Asset | None) -> Response:
    if asset is None:
        raise HTTPException(404, "there is no such file")
    headers = HEADERS | {"ETag": asset.etag}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, 200, headers | {"Content-Encoding": "gzip"}, asset.media_type)
    return Response(asset.data, 200, headers, asset.media_type)


async def get_page(request: Request) -> Response:
    """One of the pages, in a language of the caller."""
    site: Site = request.app.state.site
    return _respond(request, site.page(request.url.path, request.headers.get("accept-language", "")))


for address in PAGES:
    router.add_api_route(address, get_page, methods=["GET", "HEAD"])


@router.get("/web/service.json")
async def get_service_facts(request: Request, service: OpenService) -> dict[str, Any]:
    """What the pages say before anything is sent: limits, and what this server can do."""
    settings = service.settings
    room = request.app.state.room
    chat = (
        None if room is None else {"session_s": settings.chat_session_s, "needs_key": settings.chat_needs_key}
    )
    return {
        "version": request.app.version,
        "max_body_bytes": settings.max_body_bytes,
        "max_duration_s": settings.max_duration_s,
        "fetch_urls": settings.fetch_urls,
        "chat": chat,
        "says_texts": request.app.state.booth is not None,
    }


@router.api_route("/web/{name}", methods=["GET", "HEAD"])
async def get_asset(request: Request, name: str) -> Response:
    """A script, a style or an icon."""
    site: Site = request.app.state.site
    return _respond(request, site.asset(name, request.headers.get("accept-language", "")))
