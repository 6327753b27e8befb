"""A server that is wrong on purpose: it forwards to a good one and alters what comes back."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from aiohttp import web

from bombyx.conformance.checks.errors import HUGE
from bombyx.conformance.checks.hanging_up import LONG

HOP_BY_HOP = frozenset({"content-length", "transfer-encoding", "connection", "content-encoding"})
ENVELOPE = {
    "message": "it is too large",
    "type": "invalid_request_error",
    "code": "c",
    "param": None,
}


@dataclass(slots=True)
class Passing:
    """An answer on its way back, with what was asked."""

    method: str
    path: str
    told: dict[str, str]
    asked: Any
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def document(self) -> Any:
        return json.loads(self.content)

    @document.setter
    def document(self, value: Any) -> None:
        self.content = json.dumps(value, ensure_ascii=False).encode()
        self.headers["content-type"] = "application/json"

    @property
    def events(self) -> list[bytes]:
        return self.content.split(b"\n\n")[:-1]

    @events.setter
    def events(self, value: list[bytes]) -> None:
        self.content = b"".join(event + b"\n\n" for event in value)


Mutation = Callable[[Passing], None]


def unchanged(_: Passing) -> None:
    """What the good server says, though all at once at the end."""


@dataclass(slots=True)
class WrongServer:
    """Where it listens; what it does to answers can be set anew for each test."""

    origin: str
    url: str = ""
    mutation: Mutation = unchanged

    async def answer(self, request: web.Request) -> web.Response:
        """Forward, alter, answer; nothing is read of a body that is announced as huge."""
        passing = await self._forward(request)
        self.mutation(passing)
        return web.Response(status=passing.status, headers=passing.headers, body=passing.content)

    async def _forward(self, request: web.Request) -> Passing:
        told = {name.lower(): value for name, value in request.headers.items()}
        if (request.content_length or 0) >= HUGE:
            content = json.dumps({"error": ENVELOPE}).encode()
            return Passing(request.method, request.path, told, None, 413, {}, content)
        body = await request.read()
        if json.dumps(LONG).encode() in body:
            # Of what its client hangs up on, the beginning is all that it sees.
            headers = {"content-type": "text/event-stream"}
            return Passing(request.method, request.path, told, None, 200, headers, b"data: {}\n\n")
        kept = {name: value for name, value in told.items() if name not in {*HOP_BY_HOP, "host"}}
        async with httpx2.AsyncClient(trust_env=False, timeout=20) as http:
            came = await http.request(
                request.method, self.origin + request.path, content=body, headers=kept
            )
        headers = {name: value for name, value in came.headers.items() if name not in HOP_BY_HOP}
        return Passing(
            request.method,
            request.path,
            told,
            _parsed(body),
            came.status_code,
            headers,
            came.content,
        )


def _parsed(body: bytes) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(body)
    return None


@contextlib.asynccontextmanager
async def wrong_server(origin: str) -> AsyncIterator[WrongServer]:
    """A wrong server before the good one at `origin`, on a free port."""
    server = WrongServer(origin)
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}/v1"
    try:
        yield server
    finally:
        await asyncio.wait_for(runner.cleanup(), 10)
