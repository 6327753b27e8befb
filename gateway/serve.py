"""Running a gateway process: bind, tell the link URL, serve, drain, stop."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import tomllib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from bombyx.attestation.policy import Policy, parse_policy
from bombyx.errors import PolicyError, SetupError
from gateway.app import LINK_PREFIX, Front, open_context
from gateway.context import Context
from gateway.protocol import hot_protocol
from gateway.settings import GatewaySettings

DRAIN_STEP_SECONDS = 0.05
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
    try:
        return parse_policy(tomllib.loads(path.read_text()))
    except OSError as error:
        raise PolicyError(f"cannot read the policy {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path} is not TOML: {error}") from None


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; raises `SetupError` when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise SetupError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    sock.listen(4096)
    sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return sock


def ready_line(settings: GatewaySettings, context: Context, port: int) -> dict[str, Any]:
    """What a program that started us needs to know."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "url": f"http://{host}:{port}",
        "gateway": context.gateway,
        "link_url": context.link_url,
        "pid": os.getpid(),
    }


async def serve(
    settings: GatewaySettings, *, state: Path, on_ready: Callable[[dict[str, Any]], None]
) -> None:
    """Serve until SIGTERM or SIGINT; streams finish within the grace."""
    policy = read_policy(settings.policy)
    sock = bind(settings.host, settings.port)
    port = sock.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    link_url = settings.link_url or f"ws://{host}:{port}{LINK_PREFIX}{settings.slot}"
    with contextlib.closing(sock):
        async with open_context(settings, state=state, policy=policy, link_url=link_url) as context:
            grace = settings.shutdown_grace_s
            config = uvicorn_config(Front(context), grace_seconds=grace)
            server = _Server(config, context, grace)
            started = asyncio.create_task(server.serve(sockets=[sock]))
            while not server.started and not started.done():  # noqa: ASYNC110 - uvicorn has no event
                await asyncio.sleep(0.01)
            _settle_garbage()
            if not started.done():
                on_ready(ready_line(settings, context, port))
            await started


def _settle_garbage() -> None:
    """Leave what start-up made out of every later collection, and collect less often.

    A request makes some hundred containers and no cycles; at the default of one collection per
    700 they cost a quarter of its CPU (measured with `make bench`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 100)


def uvicorn_config(front: Front, *, grace_seconds: int) -> uvicorn.Config:
    """How the gateway is served: the fast parts of uvicorn, and nothing that it adds by default."""
    return uvicorn.Config(
        front,
        loop="none",
        http=hot_protocol(front.handlers),
        ws="websockets-sansio",
        lifespan="off",
        access_log=False,
        log_config=None,
        ws_max_size=2**17,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        timeout_graceful_shutdown=grace_seconds,
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )


class _Server(uvicorn.Server):
    """Lets running requests end before links are closed: uvicorn alone would close both at once."""

    def __init__(self, config: uvicorn.Config, context: Context, grace_seconds: int) -> None:
        super().__init__(config)
        self._context = context
        self._grace_seconds = grace_seconds

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop in order on SIGTERM and SIGINT.

        Uvicorn raises the signal again once it has stopped, which would end the process before
        the last settlements are written.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say goodbye to workers, wait for running requests and their settlements, then stop."""
        context = self._context
        context.draining = True
        await context.meter.drain()
        for listed in context.registry.all():
            listed.link.say_goodbye("draining", "the gateway is stopping", retry=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace_seconds):
                while context.runs.open_runs() or context.desk.waiting:  # noqa: ASYNC110
                    await asyncio.sleep(DRAIN_STEP_SECONDS)
        await super().shutdown(sockets=sockets)
