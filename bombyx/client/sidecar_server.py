"""Serving the sidecar: two loopback sockets on one port, and a word when it listens."""

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from bombyx.attestation.policy import Policy
from bombyx.client.opening import unix_seconds
from bombyx.client.ratls.connector_aiohttp import AttestedConnector
from bombyx.client.session import Session
from bombyx.client.sidecar import Place, Sidecar
from bombyx.client.sidecar_guard import Keys
from bombyx.client.upstream_aiohttp import open_pool
from bombyx.errors import SetupError

PORTS_TRIED = 64
_BACKLOG = 128
_GRACE_SECONDS = 2
_MAX_PORT = 65535


@contextmanager
def loopback_sockets(port: int) -> Iterator[list[socket.socket]]:
    """127.0.0.1, and ::1 where there is one, on the first free port from `port` on.

    Raises `SetupError` when none is free.
    """
    sockets = _first_free(port)
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()


def _first_free(port: int) -> list[socket.socket]:
    for number in range(port, min(port + PORTS_TRIED, _MAX_PORT + 1)):
        try:
            return _bound(number)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise SetupError(f"cannot listen on 127.0.0.1: {error.strerror}") from None
    raise SetupError(f"ports {port} to {number} are all taken: choose another with --port")


def _bound(port: int) -> list[socket.socket]:
    """Both or none: a stranger on ::1 would get what was meant for us."""
    first = _listen(socket.AF_INET, "127.0.0.1", port)
    try:
        return [first, _listen(socket.AF_INET6, "::1", first.getsockname()[1])]
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return [first]
        first.close()
        raise


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)  # noqa: FBT003  (socket's signature)
    return listening


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()


async def serve_sidecar(
    session: Session,
    sockets: Sequence[socket.socket],
    *,
    keys: Keys,
    gateway: str,
    on_ready: Callable[[], None],
    evidence: Policy | None = None,
) -> None:
    """Serve until interrupted; `gateway` is the origin that requests go to.

    With `evidence` it must prove itself under that policy before anything is sent to it.
    """
    port = sockets[0].getsockname()[1]
    connector = None if evidence is None else AttestedConnector(evidence, clock=unix_seconds)
    async with open_pool(gateway, connector=connector) as pool:
        sidecar: Any = Sidecar(session, Place(port, keys, gateway), pool)
        config = uvicorn.Config(
            sidecar,
            access_log=False,
            lifespan="off",
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ws="none",
        )
        with contextlib.suppress(KeyboardInterrupt):
            await _Server(config, on_ready).serve(sockets=list(sockets))
