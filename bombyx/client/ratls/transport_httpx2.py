"""Attested transports for httpx2, which openai 3 and later run on (SPEC 17.11)."""

from typing import Any, ClassVar

import httpx2

from bombyx.client.ratls.transports import (
    AsyncAttested,
    AsyncAttestedBody,
    SyncAttested,
    SyncAttestedBody,
)


class _Stream(SyncAttestedBody, httpx2.SyncByteStream):
    """A body that httpx2 accepts."""


class _AsyncStream(AsyncAttestedBody, httpx2.AsyncByteStream):
    """A body that httpx2 accepts."""


class AttestedTransport(SyncAttested, httpx2.BaseTransport):
    """For a `httpx2.Client`, which then talks to verified gateways alone."""

    library: ClassVar[Any] = httpx2
    stream: ClassVar[Any] = _Stream


class AsyncAttestedTransport(AsyncAttested, httpx2.AsyncBaseTransport):
    """For an `httpx2.AsyncClient`."""

    library: ClassVar[Any] = httpx2
    stream: ClassVar[Any] = _AsyncStream
