"""A gateway in the middle: passes on what a real one says, but for what it tampers with.

Clients meet it as their gateway; behind it is a real network, so that all that it does not touch
is genuine.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import msgspec
from aiohttp import web

from bombyx.attack.means.requests import SEALED_STREAM, Forger, Reply
from bombyx.attack.target import Target
from bombyx.attestation.directory import MAX_DIRECTORY_BYTES, Directory
from bombyx.chat.paths import CHAT_PATH
from bombyx.client.channel.payer import HEADER as VOUCHER_HEADER
from bombyx.envelope.frames import Frame, FrameSplitter
from bombyx.envelope.keys import SALT_BYTES

_LOCAL = "127.0.0.1"

Redo = Callable[[Directory], Awaitable[Directory]]
Pass = Callable[[bytes], Awaitable[Reply]]
Answer = Callable[[bytes, Pass], Awaitable[Reply]]


async def _as_it_is(listed: Directory) -> Directory:
    return listed


async def _passed_on(request: bytes, forward: Pass) -> Reply:
    return await forward(request)


@dataclass(slots=True)
class Relay:
    """What it does to directories and answers, and all that came to it."""

    forger: Forger
    redo: Redo = _as_it_is
    answer: Answer = _passed_on
    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    vouchers: list[bytes] = field(default_factory=list)
    listings: int = 0

    async def directory(self, _: web.Request) -> web.Response:
        """The directory, tampered with."""
        self.listings += 1
        listed = await self.redo(await self.forger.directory())
        return web.Response(body=msgspec.json.encode(listed), content_type="application/json")

    async def chat(self, request: web.Request) -> web.Response:
        """An answer, tampered with."""
        body = await request.read()
        self.requests.append(body)
        if voucher := request.headers.get(VOUCHER_HEADER):
            self.vouchers.append(voucher.encode())
        reply = await self.answer(body, self.forger.post)
        kept = {name: reply.headers[name] for name in ("content-type",) if name in reply.headers}
        return web.Response(status=reply.status, headers=kept, body=reply.body)


@contextlib.asynccontextmanager
async def relaying(
    target: Target, *, redo: Redo = _as_it_is, answer: Answer = _passed_on
) -> AsyncIterator[Relay]:
    """A relay before the target's gateway, on a port of its own."""
    relay = Relay(Forger(target), redo, answer)
    app = web.Application(client_max_size=MAX_DIRECTORY_BYTES)
    app.router.add_get("/v1/confidential/workers", relay.directory)
    app.router.add_post(CHAT_PATH, relay.chat)
    async with serving(app) as url:
        relay.url = url
        yield relay


@contextlib.asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """An application on loopback; gives its origin."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, _LOCAL, 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def split_answer(body: bytes) -> tuple[bytes, list[Frame]]:
    """Salt and frames of a sealed answer."""
    return body[:SALT_BYTES], FrameSplitter().feed(body[SALT_BYTES:])


def with_frames(reply: Reply, salt: bytes, frames: list[Frame]) -> Reply:
    """The answer with other frames."""
    return replace(reply, body=salt + b"".join(frame.raw for frame in frames))


def stream_reply(body: bytes) -> Reply:
    """A sealed answer of the attacker's making."""
    return Reply(200, {"content-type": SEALED_STREAM}, body)
