"""Running a gateway process: bind, tell the link URL, serve, drain, stop."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import ssl
import tomllib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bombyx.attestation.policy import Policy, named_policy, parse_policy
from bombyx.errors import BombyxError, PolicyError, SetupError
from gateway.app import Front, open_context
from gateway.channels.connecting import connected, watched
from gateway.context import Context, unix_seconds
from gateway.protocol import hot_protocol
from gateway.ratls.keeper import attested_tls
from gateway.settings import LINK_PREFIX, GatewaySettings

DRAIN_STEP_SECONDS = 0.05
BEGIN_SECONDS = 5.0
"""From a request's claim to its worker: mostly the database's time."""
SEE_OFF_SECONDS = 5.0
IDLE_SECONDS = 1.0
"""A busy client uses its connection again within that; closing it then would cost its request."""
TELL_SECONDS = 0.25
GC_THRESHOLD = 20_000
"""Containers made before the youngest generation is looked at."""

_log = structlog.get_logger(__name__)


def read_policy(path: Path | None) -> Policy:
    """The policy by which workers are listed; raises `PolicyError`."""
    if path is None:
        raise PolicyError(
            "a gateway lists only workers that a policy allows: give one with --policy FILE "
            "(`bombyx up` writes one for a local network)"
        )
    preset = named_policy(str(path))
    if preset is not None:
        return preset
    try:
        return parse_policy(tomllib.loads(path.read_text()))
    except OSError as error:
        raise PolicyError(f"cannot read the policy {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path} is not TOML: {error}") from None


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; raises `SetupError` when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, since asyncio turns off Nagle only for sockets that say TCP: else answers wait 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise SetupError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    sock.listen(4096)
    sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return sock


@dataclass(frozen=True, slots=True)
class Shared:
    """Of one among several processes: the socket that all serve, and what hears of its links.

    Links come to a socket of its own, at `link_port` or at any free one for 0.
    """

    public: socket.socket
    link_port: int
    tell: Callable[[dict[str, Any]], None]


def origin(host: str, port: int, *, scheme: str = "http") -> str:
    """Where a socket is reached, as HTTP clients say it."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _scheme(settings: GatewaySettings) -> str:
    return "https" if settings.ra_tls else "http"


def ready_line(settings: GatewaySettings, context: Context, sock: socket.socket) -> dict[str, Any]:
    """What a program that started us needs to know."""
    return {
        "url": origin(settings.host, sock.getsockname()[1], scheme=_scheme(settings)),
        "gateway": context.gateway,
        "link_url": context.link_url,
        "pid": os.getpid(),
    }


def link_url_of(settings: GatewaySettings, own: socket.socket) -> str:
    """What workers dial, and this process signs."""
    if settings.link_url:
        return settings.link_url.replace("{slot}", str(settings.slot))
    base = origin(settings.host, own.getsockname()[1], scheme=_scheme(settings))
    return f"{base.replace('http', 'ws', 1)}{LINK_PREFIX}{settings.slot}"


async def serve(
    settings: GatewaySettings,
    *,
    state: Path,
    on_ready: Callable[[dict[str, Any]], None],
    shared: Shared | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; streams finish within the grace."""
    policy = read_policy(settings.policy)
    own = bind(settings.host, settings.port if shared is None else shared.link_port)
    link_url = link_url_of(settings, own)
    with contextlib.closing(own):
        async with (
            connected(settings, state=state) as connection,
            open_context(
                settings,
                state=state,
                policy=policy,
                link_url=link_url,
                chain=None if connection is None else connection.side,
            ) as context,
            watched(context, connection),
            attested_tls(settings, context, state=state, clock=unix_seconds) as tls,
        ):
            grace = settings.shutdown_grace_s
            config = uvicorn_config(Front(context), grace_seconds=grace, tls=tls)
            own_port = own.getsockname()[1] if shared is not None else None
            server = _Server(config, context, grace, own_port=own_port)
            sockets = [own] if shared is None else [shared.public, own]
            started = asyncio.create_task(server.serve(sockets=sockets))
            while not server.started and not started.done():  # noqa: ASYNC110 - uvicorn has no event
                await asyncio.sleep(0.01)
            _settle_garbage()
            if not started.done():
                on_ready(_ready(settings, context, sockets))
            telling = asyncio.create_task(_tell(context, shared))
            await started
            telling.cancel()


def _ready(
    settings: GatewaySettings, context: Context, sockets: list[socket.socket]
) -> dict[str, Any]:
    line = ready_line(settings, context, sockets[0])
    if len(sockets) == 1:
        return line
    return {**line, "slot": settings.slot, "link_port": sockets[1].getsockname()[1]}


async def _tell(context: Context, shared: Shared | None) -> None:
    """Let the supervisor know how many workers are linked, whenever that changes."""
    told = -1
    while shared is not None:
        linked = sum(one.link.open_for_requests for one in context.registry.all())
        if linked != told:
            shared.tell({"linked": linked})
            told = linked
        await asyncio.sleep(TELL_SECONDS)


def _settle_garbage() -> None:
    """Leave what start-up made out of every later collection, and collect less often.

    A request makes some hundred containers and no cycles; at the default of one collection per
    700 they cost a quarter of its CPU (measured with `make bench`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 100)


def uvicorn_config(
    front: Front, *, grace_seconds: int, tls: ssl.SSLContext | None = None
) -> uvicorn.Config:
    """How the gateway is served: the fast parts of uvicorn, and nothing that it adds by default."""
    return uvicorn.Config(
        front,
        loop="none",
        http=hot_protocol(front.handlers, front.door),
        ws="websockets-sansio",
        lifespan="off",
        access_log=False,
        log_config=None,
        ws_max_size=2**17,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        timeout_graceful_shutdown=grace_seconds,
        timeout_keep_alive=front.keep_alive_s,
        server_header=False,
        proxy_headers=False,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )


class _Server(uvicorn.Server):
    """Lets running requests end before links are closed: uvicorn alone would close both at once."""

    def __init__(
        self, config: uvicorn.Config, context: Context, grace_seconds: int, *, own_port: int | None
    ) -> None:
        super().__init__(config)
        self._context = context
        self._grace_seconds = grace_seconds
        self._own_port = own_port
        self._is_shared = own_port is not None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop in order on SIGTERM and SIGINT.

        Uvicorn raises the signal again once it has stopped, which would end the process before
        the last settlements are written.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        if self._is_shared:
            # Ctrl-C and a lost terminal reach the whole group: it is the supervisor's to decide.
            loop.add_signal_handler(signal.SIGINT, _nothing)
            loop.add_signal_handler(signal.SIGHUP, _nothing)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say goodbye to workers, wait for running requests and their settlements, then stop."""
        context = self._context
        context.draining = True
        _log.info("draining", slot=context.meter.slot, running=len(context.runs.open_runs()))
        if self._is_shared:
            self.servers[0].close()  # whoever connects from here on is another process's
        try:
            await context.meter.drain()
        except BombyxError as error:
            _log.warning("drain_untold", reason=error.message)  # neighbours hear it from us
        await self._let_begin()
        for listed in context.registry.all():
            listed.link.say_goodbye("draining", "the gateway is stopping", retry=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace_seconds):
                while context.runs.open_runs() or context.desk.waiting:  # noqa: ASYNC110
                    await asyncio.sleep(DRAIN_STEP_SECONDS)
        if self._is_shared:
            await self._see_off()
        _log.info("drained", slot=context.meter.slot, running=len(context.runs.open_runs()))
        await super().shutdown(sockets=sockets)

    async def _let_begin(self) -> None:
        """What is claimed goes out before its worker hears that nothing more will."""
        runs = self._context.runs
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEGIN_SECONDS):
                while any(run.answer is None for run in runs.open_runs()):  # noqa: ASYNC110
                    await asyncio.sleep(DRAIN_STEP_SECONDS)

    def _is_inward(self, one: HttpToolsProtocol) -> bool:
        """Whether it came to this process's own port, as links and neighbours do."""
        return one.server is not None and one.server[1] == self._own_port

    def _is_replaced(self) -> bool:
        """Whether another process takes what comes here."""
        return any(not one.draining for one in self._context.neighbours.known.values())

    async def _see_off(self) -> None:
        """Wait until no client is about to use its connection: what comes is sent on meanwhile."""
        loop = asyncio.get_running_loop()
        seen: dict[asyncio.Protocol, tuple[object, float]] = {}
        until = loop.time() + SEE_OFF_SECONDS
        while (now := loop.time()) < until and self._is_replaced():
            clients = [
                one
                for one in self.server_state.connections
                if isinstance(one, HttpToolsProtocol) and not self._is_inward(one)
            ]
            for one in clients:
                if seen.get(one, (self, 0.0))[0] is not one.cycle or not _is_idle(one):
                    seen[one] = one.cycle, now
            if all(now - seen[one][1] >= IDLE_SECONDS for one in clients):
                return
            await asyncio.sleep(DRAIN_STEP_SECONDS)


def _is_idle(client: HttpToolsProtocol) -> bool:
    return client.cycle is None or client.cycle.response_complete


def _nothing() -> None:
    """Not for this process."""
