"""One hop to the process that has the link (SPEC 10.6): the request as it came, and its answer.

The process that is asked does all that a request costs: key, limits, claim, settlement. Here
nothing is claimed or counted, and what came from another process goes no further: no loop.
"""

import asyncio
from collections.abc import Collection, Sequence
from functools import partial

import httpx2
import msgspec
import structlog

from bombyx.chat.breaking import break_event
from bombyx.errors import Draining, RelayInterrupted, Unauthenticated, envelope
from gateway.context import Context
from gateway.inference.exchange import ClientGone, Exchange
from gateway.processes.hop import HOP_HEADER
from gateway.processes.neighbours import Neighbour

MAX_ERROR_BYTES = 2**20
MAX_WHOLE_BYTES = 64 * 2**20
"""Of an answer that is not streamed, as on the bare tier itself."""
_NOT_HERE = frozenset({Draining.code, Unauthenticated.code})
"""Errors of a neighbour that mean: it did not look at the request."""
_SENT_ON = frozenset(
    {b"authorization", b"x-api-key", b"content-type", b"accept", b"idempotency-key"}
)
_SENT_ON_PREFIXES = (b"x-bombyx-", b"x-stainless-", b"openai-", b"anthropic-")
_TOLD = (b"content-type", b"cache-control", b"retry-after", b"www-authenticate")
_TOLD_PREFIXES = (b"x-bombyx-", b"x-ratelimit-", b"x-should-retry", b"x-accel-", b"retry-after")

_log = structlog.get_logger(__name__)


def sealed_elsewhere(
    context: Context, workers: Collection[str], exchange: Exchange
) -> Sequence[Neighbour]:
    """Whom to send a sealed request to, since nobody here can take it; mostly nobody."""
    known = context.neighbours.known
    if not known:
        return ()
    if not context.draining and any(context.registry.get(worker) for worker in workers):
        return ()
    return () if exchange.header(HOP_HEADER) else context.neighbours.holding(workers)


def bare_elsewhere(
    context: Context, model: str, exchange: Exchange, now: int
) -> Sequence[Neighbour]:
    """The same for a bare request, which names a model and no workers."""
    known = context.neighbours.known
    if not known:
        return ()
    if not context.draining and context.registry.routable(model, now):
        return ()
    return () if exchange.header(HOP_HEADER) else context.neighbours.serving(model)


async def forward(
    context: Context, exchange: Exchange, body: bytes, *, to: Sequence[Neighbour]
) -> bool:
    """Relay the answer of the first neighbour that looks at the request; False: none did.

    Raises `ClientGone`, and `RelayInterrupted` where a neighbour may have run it and broke off.
    """
    for neighbour in to:
        relay = asyncio.ensure_future(_relay(context, exchange, body, neighbour))
        exchange.watch(partial(_cancel, relay))
        try:
            if await relay:
                return True
        except asyncio.CancelledError:
            if exchange.disconnected:
                raise ClientGone from None
            relay.cancel()
            raise
    return False


def _cancel(relay: "asyncio.Future[bool]") -> None:
    relay.cancel()


async def _relay(context: Context, exchange: Exchange, body: bytes, neighbour: Neighbour) -> bool:
    neighbours = context.neighbours
    headers = [*_sent_on(exchange), *_encoded(neighbours.shown(neighbour, exchange.path))]
    url = neighbour.base + exchange.path
    sent = False
    try:
        request = neighbours.http.build_request("POST", url, content=body, headers=headers)
        sent = True
        answer = await neighbours.http.send(request, stream=True)
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.InvalidURL):
        neighbour.workers = {}  # until it is heard again
        return False
    except httpx2.HTTPError as error:
        _log.warning("hop_failed", slot=neighbour.row.slot, kind=type(error).__name__, sent=sent)
        raise RelayInterrupted("another process of the gateway broke off") from None
    try:
        return await _answer(exchange, answer)
    finally:
        await answer.aclose()


async def _answer(exchange: Exchange, answer: httpx2.Response) -> bool:
    """Hand on what the neighbour says; False when it did not look at the request."""
    told = [
        (name.lower(), value)
        for name, value in answer.headers.raw
        if name.lower() in _TOLD or name.lower().startswith(_TOLD_PREFIXES)
    ]
    if "content-length" in answer.headers:
        whole = await _whole(answer)
        if answer.is_error and _code(whole) in _NOT_HERE:
            return False
        exchange.begin(answer.status_code, told)
        exchange.end(whole)
        return True
    exchange.begin(answer.status_code, told)
    await _stream(exchange, answer)
    return True


async def _whole(answer: httpx2.Response) -> bytes:
    parts, size = [], 0
    try:
        async for part in answer.aiter_raw():
            size += len(part)
            if size > MAX_WHOLE_BYTES:
                break
            parts.append(part)
    except httpx2.HTTPError:
        size = MAX_WHOLE_BYTES + 1
    if size > MAX_WHOLE_BYTES:
        raise RelayInterrupted("another process of the gateway broke off")
    return b"".join(parts)


async def _stream(exchange: Exchange, answer: httpx2.Response) -> None:
    """Piece by piece, as fast as the client reads; a cut is said where the form allows it."""
    last = b""
    try:
        async for part in answer.aiter_raw():
            if not part:
                continue
            exchange.write(part)
            last = part
            if exchange.is_full:
                await _room(exchange)
    except httpx2.HTTPError:
        is_events = answer.headers.get("content-type", "").startswith("text/event-stream")
        if not is_events or not last.endswith(b"\n\n"):
            return  # the connection is closed: nothing can be said within a frame or an event
        error = envelope(RelayInterrupted("another process of the gateway broke off"))
        exchange.end(break_event(exchange.path, error["error"]))
        return
    exchange.end(b"")


async def _room(exchange: Exchange) -> None:
    room: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not room.done():
            room.set_result(None)

    exchange.on_room = wake
    await room


def _sent_on(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """What the neighbour must know of the request; no origin, cookies or connection."""
    return [
        (name, value)
        for name, value in exchange.headers
        if name in _SENT_ON or (name.startswith(_SENT_ON_PREFIXES) and name != HOP_HEADER)
    ]


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _code(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=dict[str, dict[str, object]])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""
    return str(found.get("error", {}).get("code", ""))
