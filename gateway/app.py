"""One gateway process, put together: what is shared, the routes, start and stop.

The hot paths go past ASGI and never enter FastAPI (ADR 7); everything else does.
"""

import asyncio
import contextlib
import importlib.metadata
import time
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from bombyx.attestation.policy import Policy
from bombyx.chat.paths import SERVED_PATHS
from bombyx.errors import RequestError
from gateway.accounts import endpoints as key_endpoints
from gateway.accounts.key_ring import KeyRing, PayerBook
from gateway.admin import endpoints as admin_endpoints
from gateway.admin.guard import AdminGuard
from gateway.admin.sanctions import Sanctions
from gateway.browsers import Browsers
from gateway.context import Context, unix_ms, unix_seconds
from gateway.database import check, create_engine
from gateway.directory import endpoints as directory_endpoints
from gateway.http import BodyLimit, install_errors
from gateway.identity import load_keys
from gateway.inference.alarms import Alarms
from gateway.inference.bare import serve_bare
from gateway.inference.dispatcher import Dispatcher, Timeouts
from gateway.inference.exchange import Budget, Exchange, HeaderPairs, new_request_id
from gateway.inference.router import Router
from gateway.inference.routing_metrics import RoutingCollector
from gateway.inference.run import Runs
from gateway.inference.sealed import SEALED_TYPE, serve_sealed
from gateway.inference.sessions import Sessions
from gateway.inference.silence import Silence
from gateway.inference.waiting import WaitingRoom
from gateway.inference.wire import media_type
from gateway.metering.clock import SystemClock
from gateway.metering.meter import Meter
from gateway.metering.stores import open_store
from gateway.metering.ticket import TicketBox
from gateway.receipts import endpoints as receipt_endpoints
from gateway.settings import GatewaySettings
from gateway.workers.archive import Archive
from gateway.workers.deadline import Deadlines
from gateway.workers.desk import Desk
from gateway.workers.endpoint import Message, Receive, Scope, Send, serve_link
from gateway.workers.proof import Proofs
from gateway.workers.registry import Registry

LINK_PREFIX = "/v1/workers/link/"
SWEEP_SECONDS = 1.0
INFERENCE_PATHS = frozenset(SERVED_PATHS)

_log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def open_context(
    settings: GatewaySettings, *, state: Path, policy: Policy, link_url: str
) -> AsyncIterator[Context]:
    """A running process without its HTTP server; raises `SetupError`."""
    url = settings.database_url or f"sqlite:///{state / 'gateway.db'}"
    await check(url)
    keys = load_keys(state)
    engine, store, clock = create_engine(url), await open_store(url), SystemClock()
    deadlines = Deadlines()
    meter = Meter(store, on_deadline=deadlines.settle, clock=clock)
    desk = Desk(
        meter,
        gateway=keys.gateway,
        proofs=Proofs(store, keys.identity, unix_ms),
        now=time.monotonic,
        now_ms=unix_ms,
    )
    runs = Runs(max_bytes=settings.kept_answers_mb * 2**20)
    tickets = TicketBox(keys.cluster)
    timeouts = Timeouts(
        first_byte_stream=settings.first_byte_stream_s,
        first_byte_whole=settings.first_byte_whole_s,
        duration=settings.max_duration_s,
        grace=settings.settlement_grace_s,
    )
    registry = Registry()
    room = WaitingRoom(
        total=settings.queue_total,
        per_account=settings.queue_per_account,
        seconds=settings.queue_wait_s,
        alarms=Alarms(),
        now=time.monotonic,
    )
    context = Context(
        settings=settings,
        keys=keys,
        policy=policy,
        engine=engine,
        store=store,
        meter=meter,
        key_ring=KeyRing(store, clock=clock),
        payers=PayerBook(store),
        tickets=tickets,
        registry=registry,
        archive=Archive(engine),
        sanctions=Sanctions(engine, registry),
        desk=desk,
        runs=runs,
        budget=Budget(settings.buffered_requests_mb * 2**20),
        sessions=Sessions(gateway=keys.identity.public_key, now=time.monotonic),
        dispatcher=Dispatcher(
            meter=meter,
            desk=desk,
            tickets=tickets,
            runs=runs,
            timeouts=timeouts,
            router=Router(registry, room=room, now=time.monotonic, unix=unix_seconds),
            now=time.monotonic,
            now_ms=unix_ms,
        ),
        silence=Silence(room.alarms, heartbeat_s=settings.heartbeat_s, idle_s=settings.idle_s),
        link_url=link_url,
    )
    deadlines.attach(desk)
    await meter.start(settings.slot, link_url)
    sweeper = asyncio.create_task(_sweep(context))
    try:
        yield context
    finally:
        sweeper.cancel()
        await asyncio.gather(sweeper, return_exceptions=True)
        await meter.close()
        await store.close()
        await engine.dispose()


async def _sweep(context: Context) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            context.desk.sweep()
            context.dispatcher.sweep()
            context.dispatcher.router.sweep(draining=context.draining)
            context.runs.expire(time.monotonic())
            await context.sanctions.enforce()
        except Exception:  # noqa: BLE001 - a boundary: a sweeper that died would never be missed
            _log.exception("sweep_failed")


def build_app(context: Context) -> FastAPI:
    """The routes that are not hot."""
    version = importlib.metadata.version("bombyx")
    app = FastAPI(
        title="Bombyx gateway",
        version=version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context = context
    app.add_middleware(BodyLimit)
    app.add_middleware(AdminGuard, key_ring=context.key_ring)
    install_errors(app)
    app.include_router(directory_endpoints.router)
    app.include_router(receipt_endpoints.router)
    app.include_router(admin_endpoints.router)
    app.include_router(key_endpoints.router)

    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Whether the process answers at all."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"])
    async def readyz() -> JSONResponse:
        """Whether it takes requests: not while draining."""
        status = "draining" if context.draining else "ready"
        return JSONResponse({"status": status}, status_code=503 if context.draining else 200)

    async def infer() -> None:
        """A request to a model, sealed or bare, told apart by the content type."""
        # Served by `Front` before ASGI; what comes here asks to leave HTTP/1.1.
        raise RequestError("this path speaks HTTP/1.1: send no `Upgrade` header")

    for path in SERVED_PATHS:
        app.post(path, tags=["inference"])(infer)

    if context.settings.metrics:
        own = CollectorRegistry()
        router = context.dispatcher.router
        own.register(RoutingCollector(router, context.registry.standings, time.monotonic))

        @app.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            """Prometheus text; no names of accounts, no content."""
            text = generate_latest(REGISTRY) + generate_latest(own)
            return Response(text, media_type=CONTENT_TYPE_LATEST)

    return app


class Front:
    """Where requests come in: hot paths as exchanges, all else as ASGI."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._app = build_app(context)
        self._browsers = Browsers(context.settings.cors_origins)
        self.handlers = {path.encode(): self._infer for path in INFERENCE_PATHS}
        """What `hot_protocol` takes past ASGI."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI side."""
        kind = scope["type"]
        if kind == "websocket" and scope["path"].startswith(LINK_PREFIX):
            await serve_link(self._context, receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 4404, "reason": "no such path"})
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = _with_common_headers(send, self._browsers.headers(scope["headers"]))
        if scope["method"] == "OPTIONS":
            allowed = self._browsers.preflight(scope["headers"])
            if allowed is not None:
                # Before any key: browsers send none along with the question.
                start = {"type": "http.response.start", "status": 204, "headers": allowed}
                await send(start)
                await send({"type": "http.response.body", "body": b""})
                return
        await self._app(scope, receive, send)

    async def _infer(self, exchange: Exchange) -> None:
        exchange.extra = self._browsers.lines(exchange.headers)
        if media_type(exchange.headers) == SEALED_TYPE:
            await serve_sealed(self._context, exchange)
        else:
            await serve_bare(self._context, exchange)


def _with_common_headers(send: Send, common: HeaderPairs) -> Send:
    """What answers of the hot paths carry too: a name, a duration, what browsers may see."""
    since = time.monotonic()

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            took = b"%d" % (1000 * (time.monotonic() - since))
            message["headers"] = [
                *message["headers"],
                *common,
                (b"openai-processing-ms", took),
                (b"x-request-id", new_request_id()),
            ]
        await send(message)

    return named
