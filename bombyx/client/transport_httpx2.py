"""Transports for httpx2, which openai 3 and later run on."""

from collections.abc import Callable
from typing import Any, ClassVar

import httpx2

from bombyx.client.session import Session
from bombyx.client.shells import AsyncBody, AsyncShell, SyncBody, SyncShell, nothing

DEFAULT_TIMEOUT = httpx2.Timeout(600.0, connect=5.0)
"""The SDK's own."""
DEFAULT_LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
DIRECT = {"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None}
"""Past any proxy of the environment, which cannot reach this machine's own gateway."""


class _Stream(SyncBody, httpx2.SyncByteStream):
    """A body that httpx2 accepts."""


class _AsyncStream(AsyncBody, httpx2.AsyncByteStream):
    """A body that httpx2 accepts."""


class SealedTransport(SyncShell, httpx2.BaseTransport):
    """Seals what an `httpx2.Client` sends."""

    library: ClassVar[Any] = httpx2
    stream: ClassVar[Any] = _Stream


class AsyncSealedTransport(AsyncShell, httpx2.AsyncBaseTransport):
    """Seals what an `httpx2.AsyncClient` sends."""

    library: ClassVar[Any] = httpx2
    stream: ClassVar[Any] = _AsyncStream


def sealed_client(
    session: Session,
    *,
    timeout: httpx2.Timeout,
    transport: httpx2.BaseTransport | None,
    on_close: Callable[[], None] = nothing,
) -> httpx2.Client:
    """A client for `OpenAI(http_client=…)`; `transport` stands in for the network."""
    inner = httpx2.Client(
        timeout=timeout, limits=DEFAULT_LIMITS, mounts=DIRECT, transport=transport
    )
    return httpx2.Client(transport=SealedTransport(session, inner, on_close), timeout=timeout)


def sealed_async_client(
    session: Session,
    *,
    timeout: httpx2.Timeout,
    transport: httpx2.AsyncBaseTransport | None,
    on_close: Callable[[], None] = nothing,
) -> httpx2.AsyncClient:
    """A client for `AsyncOpenAI(http_client=…)`; `transport` stands in for the network."""
    inner = httpx2.AsyncClient(
        timeout=timeout, limits=DEFAULT_LIMITS, mounts=DIRECT, transport=transport
    )
    return httpx2.AsyncClient(
        transport=AsyncSealedTransport(session, inner, on_close), timeout=timeout
    )
