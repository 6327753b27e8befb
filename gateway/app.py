"""One gateway process, put together: what is shared, the routes, start and stop.

The hot paths are bare ASGI and never enter FastAPI (DESIGN 11); everything else does.
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
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bombyx.attestation.policy import Policy
from bombyx.chat.body import CHAT_PATH
from bombyx.errors import RequestError
from gateway.accounts.key_ring import KeyRing, PayerBook
from gateway.admin import endpoints as admin_endpoints
from gateway.context import Context, unix_ms
from gateway.database import check, create_engine
from gateway.directory import endpoints as directory_endpoints
from gateway.http import install_errors
from gateway.identity import load_keys
from gateway.inference.bare import serve_bare
from gateway.inference.dispatcher import Dispatcher, Timeouts
from gateway.inference.exchange import Budget, Exchange, new_request_id
from gateway.inference.run import Runs
from gateway.inference.sealed import SEALED_TYPE, serve_sealed
from gateway.inference.sessions import Sessions
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
INFERENCE_PATHS = frozenset({CHAT_PATH})

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
        registry=Registry(),
        archive=Archive(engine),
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
            now=time.monotonic,
            now_ms=unix_ms,
        ),
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
            context.runs.expire(time.monotonic())
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
    install_errors(app)
    app.include_router(directory_endpoints.router)
    app.include_router(receipt_endpoints.router)
    app.include_router(admin_endpoints.router)

    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Whether the process answers at all."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"])
    async def readyz() -> JSONResponse:
        """Whether it takes requests: not while draining."""
        status = "draining" if context.draining else "ready"
        return JSONResponse({"status": status}, status_code=503 if context.draining else 200)

    @app.post(CHAT_PATH, tags=["inference"])
    async def infer() -> None:
        """A chat completion, sealed or bare, told apart by the content type."""
        # Served by `Front` before ASGI; what comes here asks to leave HTTP/1.1.
        raise RequestError("this path speaks HTTP/1.1: send no `Upgrade` header")

    if context.settings.metrics:

        @app.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            """Prometheus text; no names of accounts, no content."""
            return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


class Front:
    """Where requests come in: hot paths as exchanges, all else as ASGI."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._app = build_app(context)
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
            await self._app(scope, receive, _with_request_id(send))

    async def _infer(self, exchange: Exchange) -> None:
        if media_type(exchange.headers) == SEALED_TYPE:
            await serve_sealed(self._context, exchange)
        else:
            await serve_bare(self._context, exchange)


def _with_request_id(send: Send) -> Send:
    """Every answer names itself, as those of the hot paths do."""

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-request-id", new_request_id())]
        await send(message)

    return named
