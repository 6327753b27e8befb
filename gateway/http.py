"""What the FastAPI routes share: who asks, and errors in SDKs' shape (never FastAPI's own)."""

import asyncio
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bombyx.errors import (
    BombyxError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    RequestError,
    RequestTimeout,
    StoreBusy,
    TooLarge,
    WrongMediaType,
)
from gateway.context import Context
from gateway.inference.exchange import header_of
from gateway.inference.wire import bearer, error_answer
from gateway.metering.rows import StoredKey

MAX_BODY_BYTES = 2**20
"""Of what is not inference: administrators send small documents."""
BODY_TIMEOUT_SECONDS = 20.0
"""For such a body in all."""

REQUEST_ID = "request_id"
"""Under this name a request's state has the bytes of its `x-request-id`."""
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

_log = structlog.get_logger(__name__)


def context_of(request: Request) -> Context:
    """The process that the app belongs to."""
    context: Context = request.app.state.context
    return context


ContextDep = Annotated[Context, Depends(context_of)]


async def any_key(request: Request, context: ContextDep) -> StoredKey:
    """An inference key; raises `Unauthenticated`."""
    return await context.key_ring.authenticate(bearer(request.scope["headers"]))


async def admin_key(request: Request, context: ContextDep) -> StoredKey:
    """An admin key; raises `Unauthenticated` or `Forbidden`."""
    key = await context.key_ring.authenticate(bearer(request.scope["headers"]))
    if key.scope != "admin":
        raise Forbidden("this needs an admin key")
    return key


KeyDep = Annotated[StoredKey, Depends(any_key)]
AdminDep = Annotated[StoredKey, Depends(admin_key)]


def render(error: BombyxError, scope: Scope) -> Response:
    """The error envelope of the request's path, with the headers that SDKs read."""
    name = scope.get("state", {}).get(REQUEST_ID, b"")
    headers, body = error_answer(error, path=scope["path"], request_id=name)
    named = {name.decode(): value.decode() for name, value in headers}
    return Response(body, status_code=error.status, headers=named)


def install_errors(app: FastAPI) -> None:
    """One envelope for everything that can go wrong on a route."""

    @app.exception_handler(BombyxError)
    async def _ours(request: Request, error: BombyxError) -> Response:
        return render(error, request.scope)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        where = next((".".join(str(part) for part in e["loc"][1:]) for e in error.errors()), None)
        wrong = RequestError("a parameter is missing or wrong", param=where)
        return render(wrong, request.scope)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        response = render(_known(error.status_code), request.scope)
        response.headers.update(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Starlette names the methods of the first route of the path alone.
            response.headers["allow"] = ", ".join(_methods(request))
        return response

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> Response:
        _log.error("unforeseen", kind=type(error).__name__)
        return render(BombyxError("something went wrong here; it was logged"), request.scope)


def _methods(request: Request) -> list[str]:
    """All that the path of a request has."""
    scopes = [{**request.scope, "method": method} for method in METHODS]
    return [
        scope["method"]
        for scope in scopes
        if any(one.matches(scope)[0] is Match.FULL for one in request.app.routes)
    ]


class BodyLimit:
    """ASGI middleware: refuses long and slow bodies in our shape, told lengths and untold.

    Starlette's own answers in plain text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what comes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if b"%00" in scope["query_string"] or "\0" in scope["path"]:
            # No name of ours holds it, and PostgreSQL takes it for an error of its own.
            wrong = _known(404 if "\0" in scope["path"] else 400)
            await render(wrong, scope)(scope, receive, send)
            return
        if int(header_of(scope["headers"], b"content-length") or 0) > MAX_BODY_BYTES:
            await render(_known(413), scope)(scope, receive, send)
            return
        size, more = 0, True
        until = asyncio.get_running_loop().time() + BODY_TIMEOUT_SECONDS

        async def counted() -> Message:
            nonlocal size, more
            try:
                async with asyncio.timeout_at(until if more else None):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408) from None
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            if size > MAX_BODY_BYTES:
                raise HTTPException(413)
            return message

        await self._app(scope, counted, send)


def _known(status: int) -> BombyxError:
    known: dict[int, BombyxError] = {
        404: NotFound("there is nothing at this path"),
        405: MethodNotAllowed("this path does not have that method"),
        408: RequestTimeout("the request came too slowly"),
        413: TooLarge("the request is larger than this path takes"),
        415: WrongMediaType("the path takes application/json"),
        503: StoreBusy("the database is busy"),
    }
    return known.get(status, RequestError("the request cannot be served"))
