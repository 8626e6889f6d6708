"""Who sends a request, and may they: the key in `Authorization: Bearer`, the rates, the scopes.

A route without any of these is public and uncounted; tests/api/test_access.py lists them all. A key that is
wrong is refused everywhere, also where none is needed, so that a typing error never goes unnoticed."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from api import errors
from api.access.accounts import ANONYMOUS, Scope, Visitor
from api.access.rates import Rates, network
from api.errors import InvalidKey
from api.service import Service

KEY_KINDS = (errors.INVALID_KEY, errors.TOO_MANY)
SCOPE_KINDS = (errors.MISSING_KEY, errors.MISSING_SCOPE, *KEY_KINDS)
WITHOUT_KEY_TOO: dict[str, Any] = {"security": [{}]}
"""For `openapi_extra` of a route that answers callers without a key as well."""

_in_document = HTTPBearer(
    auto_error=False, scheme_name="ApiKey", description="A key of `earmark keys create`: `earmark_…`."
)


async def admit(connection: HTTPConnection) -> Visitor:
    """Who this is, counted; for a request and for a websocket alike. Raises InvalidKey, TooManyRequests.

    Wrong keys are counted by address before any is looked up, so that nobody tries many.
    """
    rates: Rates = connection.app.state.rates
    service: Service = connection.app.state.service
    nobody = Visitor(ANONYMOUS, network(connection.client.host if connection.client else None))
    header = connection.headers.get("authorization")
    if header is None:
        rates.take(nobody)
        return nobody
    rates.check_wrong_keys(nobody)
    try:
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer":
            raise InvalidKey("the header Authorization must read: Bearer, a space, and an API key")
        caller = await to_thread.run_sync(service.accounts.identify, text.strip())
    except InvalidKey:
        rates.count_wrong_key(nobody)
        raise
    visitor = Visitor(caller, nobody.network)
    rates.take(visitor)
    return visitor


async def _counted(
    request: Request,
    _in_openapi: Annotated[HTTPAuthorizationCredentials | None, Security(_in_document)],
) -> Visitor:
    visitor = await admit(request)
    request.state.key_id = visitor.caller.key_id
    return visitor


Counted = Annotated[Visitor, Depends(_counted)]
"""Anyone, counted against their rate."""


def needs(scope: Scope) -> Callable[[Visitor], Awaitable[Visitor]]:
    """A dependency: a counted visitor whose key has this scope. Raises MissingKey, MissingScope."""

    async def check(visitor: Counted) -> Visitor:
        visitor.caller.require(scope)
        return visitor

    return check


async def _may_mark(request: Request, visitor: Counted) -> Visitor:
    service: Service = request.app.state.service
    if not (visitor.caller.is_anonymous and service.settings.allow_anonymous_marks):
        visitor.caller.require(Scope.MARK)
    return visitor


Auditor = Annotated[Visitor, Depends(needs(Scope.AUDIT))]
Generator = Annotated[Visitor, Depends(needs(Scope.GENERATE))]
Marker = Annotated[Visitor, Depends(_may_mark)]
"""A key with the scope `mark`; without a key too where the operator has allowed it."""
