"""`bombyx proxy`: any SDK in any language speaks plain OpenAI to it, and it seals (SPEC 11).

A bare ASGI application over the same session as the transports. Where requests go is configured and
nothing that a caller sends can change it.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp

from bombyx.chat.paths import is_anthropic
from bombyx.client.drive import drive_async
from bombyx.client.effects import Begin, ClearRequest, Headers, find, with_bearer
from bombyx.client.refusals import local_error
from bombyx.client.routes import MAX_BODY_BYTES
from bombyx.client.session import Session
from bombyx.client.sidecar_guard import Keys, admit
from bombyx.client.upstream_aiohttp import AiohttpUpstream
from bombyx.errors import BombyxError, NotFound, TooLarge

_ID_BYTES = 12
Receive = Callable[[], Awaitable[dict[str, Any]]]
Respond = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, repr=False)
class Place:
    """Where the sidecar stands: its port, its keys, and its gateway's origin."""

    port: int
    keys: Keys
    gateway: str


class _ClientLeft(Exception):
    """Raised when the caller is gone before its request was read."""


class Sidecar:
    """The ASGI application."""

    def __init__(self, session: Session, place: Place, pool: aiohttp.ClientSession) -> None:
        self._session = session
        self._place = place
        self._pool = pool

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Respond) -> None:
        """Answer one HTTP request; anything else is turned away."""
        if scope["type"] != "http":
            return
        try:
            request = await self._read(scope, receive)
        except BombyxError as error:
            await _refuse(send, error, scope["path"])
        except _ClientLeft:
            return
        else:
            await _until_left(self._answer(request, send), receive)

    async def _read(self, scope: dict[str, Any], receive: Receive) -> ClearRequest:
        """The request with the key that will go on; refusals come before the body is read."""
        raw = (
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        )
        pairs = with_bearer(tuple(raw))
        method = scope["method"]
        authorization = admit(method, pairs, port=self._place.port, keys=self._place.keys)
        path = scope["path"]
        if not path.startswith("/v1/"):
            raise NotFound("the sidecar serves /v1/: set base_url to end in /v1")
        headers: Headers = tuple(pair for pair in pairs if pair[0] != "authorization")
        return ClearRequest(
            method=method,
            origin=self._place.gateway,
            path=path,
            query=scope["query_string"].decode("latin-1"),
            headers=(*headers, ("authorization", authorization)),
            body=await _body(receive, announced=find(pairs, "content-length")),
        )

    async def _answer(self, request: ClearRequest, send: Respond) -> None:
        upstream = AiohttpUpstream(self._pool)
        path, items = request.path, drive_async(self._session.exchange(request), upstream)
        begun = False
        try:
            async with aclosing(items) as answering:
                async for item in answering:
                    begun = True
                    await send(_begin(item, path) if isinstance(item, Begin) else _more(item))
        except BombyxError as error:
            # Only sending raises here, and nothing is sent once an answer has begun.
            if begun:
                raise
            await _refuse(send, error, path)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _body(receive: Receive, *, announced: str) -> bytes:
    """The whole body; one that is announced as too long is not waited for."""
    pieces, size = [], 0
    _check_size(int(announced) if announced.isdecimal() else 0)
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _ClientLeft
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        _check_size(size)
        if not message.get("more_body"):
            return b"".join(pieces)


def _check_size(size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise TooLarge(f"a request holds at most {MAX_BODY_BYTES} bytes")


async def _until_left(answering: Any, receive: Receive) -> None:
    """Answer until the caller goes away; then stop, which closes the request at the gateway."""
    work = asyncio.ensure_future(answering)
    watch = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (work, watch):
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
    if not work.cancelled():
        work.result()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _begin(begin: Begin, path: str) -> dict[str, Any]:
    """The head of an answer; one that never saw the gateway gets a name here."""
    headers = begin.headers
    if not find(headers, "x-request-id"):
        headers += (("x-request-id", f"req_{secrets.token_hex(_ID_BYTES)}"),)
    if is_anthropic(path) and not find(headers, "request-id"):
        headers += (("request-id", find(headers, "x-request-id")),)
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": begin.status, "headers": raw}


def _more(data: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _refuse(send: Respond, error: BombyxError, path: str) -> None:
    begin, emit = local_error(error, path)
    await send(_begin(begin, path))
    await send({"type": "http.response.body", "body": emit.data, "more_body": False})
