"""What the FastAPI routes share: who asks, and errors in OpenAI's shape (never FastAPI's own)."""

from typing import Annotated

import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from bombyx.errors import (
    BombyxError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    RequestError,
    StoreBusy,
    envelope,
)
from gateway.context import Context
from gateway.inference.wire import bearer, error_headers
from gateway.metering.rows import StoredKey

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


def render(error: BombyxError) -> JSONResponse:
    """The error envelope with the headers that SDKs read."""
    response = JSONResponse(envelope(error), status_code=error.status)
    for name, value in error_headers(error):
        response.headers[name.decode()] = value.decode()
    return response


def install_errors(app: FastAPI) -> None:
    """One envelope for everything that can go wrong on a route."""

    @app.exception_handler(BombyxError)
    async def _ours(_request: Request, error: BombyxError) -> JSONResponse:
        return render(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        where = next((".".join(str(part) for part in e["loc"][1:]) for e in error.errors()), None)
        return render(RequestError("a parameter is missing or wrong", param=where))

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        response = render(_known(error.status_code))
        response.headers.update(error.headers or {})  # `Allow` of a 405
        return response

    @app.exception_handler(Exception)
    async def _unforeseen(_request: Request, error: Exception) -> JSONResponse:
        _log.error("unforeseen", kind=type(error).__name__)
        return render(BombyxError("something went wrong here; it was logged"))


def _known(status: int) -> BombyxError:
    known: dict[int, BombyxError] = {
        404: NotFound("there is nothing at this path"),
        405: MethodNotAllowed("this path does not have that method"),
        503: StoreBusy("the database is busy"),
    }
    return known.get(status, RequestError("the request cannot be served"))
