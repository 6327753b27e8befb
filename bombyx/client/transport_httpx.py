"""Transports for httpx, which openai 1 and 2 run on (extra `bombyx[httpx]`)."""

from collections.abc import Callable
from typing import Any, ClassVar

import httpx

from bombyx.client.session import Session
from bombyx.client.shells import AsyncBody, AsyncShell, SyncBody, SyncShell, nothing

DEFAULT_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
"""The SDK's own."""
DEFAULT_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100)
DIRECT = {"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None}
"""Past any proxy of the environment, which cannot reach this machine's own gateway."""


class _Stream(SyncBody, httpx.SyncByteStream):
    """A body that httpx accepts."""


class _AsyncStream(AsyncBody, httpx.AsyncByteStream):
    """A body that httpx accepts."""


class SealedTransport(SyncShell, httpx.BaseTransport):
    """Seals what an `httpx.Client` sends."""

    library: ClassVar[Any] = httpx
    stream: ClassVar[Any] = _Stream


class AsyncSealedTransport(AsyncShell, httpx.AsyncBaseTransport):
    """Seals what an `httpx.AsyncClient` sends."""

    library: ClassVar[Any] = httpx
    stream: ClassVar[Any] = _AsyncStream


def sealed_client(
    session: Session,
    *,
    timeout: httpx.Timeout,
    transport: httpx.BaseTransport | None,
    on_close: Callable[[], None] = nothing,
) -> httpx.Client:
    """A client for `OpenAI(http_client=…)`; `transport` stands in for the network."""
    inner = httpx.Client(timeout=timeout, limits=DEFAULT_LIMITS, mounts=DIRECT, transport=transport)
    return httpx.Client(transport=SealedTransport(session, inner, on_close), timeout=timeout)


def sealed_async_client(
    session: Session,
    *,
    timeout: httpx.Timeout,
    transport: httpx.AsyncBaseTransport | None,
    on_close: Callable[[], None] = nothing,
) -> httpx.AsyncClient:
    """A client for `AsyncOpenAI(http_client=…)`; `transport` stands in for the network."""
    inner = httpx.AsyncClient(
        timeout=timeout, limits=DEFAULT_LIMITS, mounts=DIRECT, transport=transport
    )
    return httpx.AsyncClient(
        transport=AsyncSealedTransport(session, inner, on_close), timeout=timeout
    )
