"""Attested transports for httpx, for openai 1 and 2; extra `bombyx[httpx]` (SPEC 17.11)."""

from typing import Any, ClassVar

import httpx

from bombyx.client.ratls.transports import (
    AsyncAttested,
    AsyncAttestedBody,
    SyncAttested,
    SyncAttestedBody,
)


class _Stream(SyncAttestedBody, httpx.SyncByteStream):
    """A body that httpx accepts."""


class _AsyncStream(AsyncAttestedBody, httpx.AsyncByteStream):
    """A body that httpx accepts."""


class AttestedTransport(SyncAttested, httpx.BaseTransport):
    """For a `httpx.Client`, which then talks to verified gateways alone."""

    library: ClassVar[Any] = httpx
    stream: ClassVar[Any] = _Stream


class AsyncAttestedTransport(AsyncAttested, httpx.AsyncBaseTransport):
    """For an `httpx.AsyncClient`."""

    library: ClassVar[Any] = httpx
    stream: ClassVar[Any] = _AsyncStream
