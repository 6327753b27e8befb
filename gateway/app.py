"""One gateway process, put together: what is shared, the routes, start and stop.

The hot paths go past ASGI and never enter FastAPI (ADR 7); everything else does.
"""

import asyncio
import contextlib
import importlib.metadata
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from bombyx.attestation.policy import Policy
from bombyx.chat.paths import SERVED_PATHS, is_anthropic
from bombyx.errors import BombyxError, RequestError
from gateway.accounts import endpoints as key_endpoints
from gateway.accounts.key_ring import KeyRing, PayerBook
from gateway.admin import endpoints as admin_endpoints
from gateway.admin.guard import AdminGuard
from gateway.admin.sanctions import Sanctions
from gateway.browsers import Browsers
from gateway.channels import endpoints as channel_endpoints
from gateway.channels import treasury_endpoints
from gateway.channels.counter import Counter
from gateway.channels.metrics import ChainCollector
from gateway.channels.offers import Cashier
from gateway.channels.port import ChainSide
from gateway.channels.repository import Channels
from gateway.channels.till import Till
from gateway.collateral import endpoints as collateral_endpoints
from gateway.collateral.beside import Beside
from gateway.collateral.repository import Shelf
from gateway.collateral.service import CollateralService
from gateway.collateral.vendors import Vendors
from gateway.connections import Door, Patience, most_connections
from gateway.context import Context, unix_ms, unix_seconds
from gateway.database import check, create_engine, sqlite_path
from gateway.directory import endpoints as directory_endpoints
from gateway.http import REQUEST_ID, BodyLimit, install_errors
from gateway.identity import GatewayKeys, load_keys
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
from gateway.inference.wire import (
    ANTHROPIC_NAME,
    error_answer,
    media_type,
    request_names,
    respond_error,
)
from gateway.metering.clock import SystemClock
from gateway.metering.meter import Meter
from gateway.metering.stores import open_store
from gateway.metering.ticket import TicketBox
from gateway.openapi import describe
from gateway.payouts.paymaster import Paymaster
from gateway.payouts.repository import Payouts
from gateway.processes.hop import HOP_HEADER, HopKey
from gateway.processes.inward import check_hop, serve_links
from gateway.processes.neighbours import LINKS, Neighbours
from gateway.receipts import endpoints as receipt_endpoints
from gateway.settings import LINK_PREFIX, GatewaySettings
from gateway.workers import evidence_endpoints
from gateway.workers.archive import Archive
from gateway.workers.deadline import Deadlines
from gateway.workers.desk import Desk
from gateway.workers.endpoint import Message, Receive, Scope, Send, serve_link
from gateway.workers.proof import Proofs
from gateway.workers.registry import Registry

SWEEP_SECONDS = 1.0
INFERENCE_PATHS = frozenset(SERVED_PATHS)

_log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def open_context(
    settings: GatewaySettings,
    *,
    state: Path,
    policy: Policy,
    link_url: str,
    chain: ChainSide | None = None,
) -> AsyncIterator[Context]:
    """A running process without its HTTP server; raises `SetupError`.

    Without a `chain` it takes no payment channels.
    """
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
    registry, archive, hop = Registry(), Archive(engine), HopKey(keys.cluster)
    collateral = CollateralService(
        Shelf(engine),
        Vendors.of(settings),
        unix=unix_seconds,
        now=time.monotonic,
        draw=random.SystemRandom().random,
    )
    room = WaitingRoom(
        total=settings.queue_total,
        per_account=settings.queue_per_account,
        seconds=settings.queue_wait_s,
        alarms=Alarms(),
        now=time.monotonic,
    )
    channels = Channels(engine)
    counter = _counter(channels, chain, settings, keys)
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
        archive=archive,
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
        hop=hop,
        neighbours=Neighbours(
            store,
            archive,
            hop,
            slot=settings.slot,
            is_here=lambda worker: registry.get(worker) is not None,
            unix=unix_seconds,
        ),
        collateral=collateral,
        beside=Beside(collateral),
        till=Till(channels, counter.cashier if counter is not None else None),
        counter=counter,
        link_url=link_url,
    )
    deadlines.attach(desk)
    context.paymaster = _paymaster(context, chain)
    await meter.start(settings.slot, link_url)
    loops = [
        asyncio.create_task(_sweep(context)),
        asyncio.create_task(context.collateral.run()),
    ]
    if sqlite_path(url) is None:  # on SQLite there is one process
        loops.append(asyncio.create_task(context.neighbours.run()))
    if context.paymaster is not None:
        loops.append(asyncio.create_task(context.paymaster.run()))
    try:
        yield context
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        if context.paymaster is not None:
            await context.paymaster.close()
        await context.neighbours.close()
        await context.collateral.close()
        await meter.close()
        await store.close()
        await engine.dispose()


def _counter(
    channels: Channels, chain: ChainSide | None, settings: GatewaySettings, keys: GatewayKeys
) -> Counter | None:
    if chain is None:
        return None
    signer, deadline_s = keys.channel, settings.max_duration_s + settings.settlement_grace_s
    cashier = Cashier(chain.network, chain.account, signer.public_key, deadline_s)
    return Counter(channels, chain, cashier=cashier, signer=signer)


def _paymaster(context: Context, chain: ChainSide | None) -> Paymaster | None:
    if chain is None:
        return None
    payouts = Payouts(context.engine, network=chain.network)
    paymaster = Paymaster(payouts, context.keys.channel, account=chain.account)
    context.desk.on_billed = paymaster.on_billed
    return paymaster


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
    app.include_router(collateral_endpoints.router)
    app.include_router(evidence_endpoints.router)
    app.include_router(receipt_endpoints.router)
    app.include_router(channel_endpoints.router)
    app.include_router(treasury_endpoints.router)
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
        own.register(ChainCollector(lambda: context.watch))

        @app.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            """Prometheus text; no names of accounts, no content."""
            text = generate_latest(REGISTRY) + generate_latest(own)
            return Response(text, media_type=CONTENT_TYPE_LATEST)

    describe(app)
    return app


class Front:
    """Where requests come in: hot paths as exchanges, all else as ASGI."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._app = build_app(context)
        self._browsers = Browsers(context.settings.cors_origins)
        self._own = f"{LINK_PREFIX}{context.settings.slot}"
        self.handlers = {
            path.encode(): self._infer_named if is_anthropic(path) else self._infer
            for path in INFERENCE_PATHS
        } | {(self._own + path).encode(): self._infer_for_neighbour for path in INFERENCE_PATHS}
        """What `hot_protocol` takes past ASGI."""
        settings = context.settings
        self.keep_alive_s = settings.keep_alive_s
        self.door = Door(
            Patience(
                connections=most_connections(settings.max_connections),
                head=settings.request_head_s,
                stalled=settings.stalled_client_s,
            )
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI side."""
        kind = scope["type"]
        if kind == "websocket" and scope["path"].startswith(LINK_PREFIX):
            await serve_link(self._context, scope, receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 4404, "reason": "no such path"})
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = new_request_id()
        scope["state"] = {**scope.get("state", {}), REQUEST_ID: name}
        common = self._browsers.headers(scope["headers"])
        send = _with_common_headers(send, [*common, *request_names(scope["path"], name)])
        if scope["method"] == "OPTIONS":
            allowed = self._browsers.preflight(scope["headers"])
            if allowed is not None:
                # Before any key: browsers send none along with the question.
                start = {"type": "http.response.start", "status": 204, "headers": allowed}
                await send(start)
                await send({"type": "http.response.body", "body": b""})
                return
        if scope["path"] == self._own + LINKS and scope["method"] == "GET":
            await self._serve_links(scope, send)
            return
        await self._app(scope, receive, send)

    async def _serve_links(self, scope: Scope, send: Send) -> None:
        try:
            await serve_links(self._context, scope, send)
        except BombyxError as error:
            headers, body = error_answer(error)
            start = {"type": "http.response.start", "status": error.status, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": body})

    async def _infer_for_neighbour(self, exchange: Exchange) -> None:
        """A request that another process had no worker for: it goes no further."""
        exchange.path = exchange.path.removeprefix(self._own)
        try:
            check_hop(self._context, exchange.header(HOP_HEADER), exchange.path)
        except BombyxError as error:
            respond_error(exchange, error)
            return
        await self._infer(exchange)

    async def _infer_named(self, exchange: Exchange) -> None:
        """On Anthropic's paths a request's name stands under a second header."""
        exchange.extra = b"%b: %b\r\n" % (ANTHROPIC_NAME, exchange.request_id)
        await self._infer(exchange)

    async def _infer(self, exchange: Exchange) -> None:
        exchange.extra += self._browsers.lines(exchange.headers)
        if self._context.draining:
            exchange.keep_alive = False  # the next request finds another process
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
            took_ms = (b"openai-processing-ms", took)
            message["headers"] = [*message["headers"], *common, took_ms]
        await send(message)

    return named
