"""What the transports for httpx2 and httpx share: both libraries have the same shapes.

A transport answers the SDK's client by driving an exchange over an inner client of the same
library. It holds no rule of its own; `library` is the module, `Stream` its kind of body.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any, ClassVar

from bombyx.client.drive import drive, drive_async
from bombyx.client.effects import (
    Begin,
    ClearRequest,
    Head,
    Headers,
    NeverSent,
    Send,
    with_bearer,
)
from bombyx.client.routes import split_url
from bombyx.client.session import Session


def clear_request(request: Any, body: bytes) -> ClearRequest:
    """A library's request as the session reads it."""
    origin, path, query = split_url(str(request.url))
    headers = with_bearer(_pairs(request.headers))
    return ClearRequest(request.method, origin, path, query, headers, body)


def _pairs(headers: Any) -> Headers:
    return tuple((name.lower(), value) for name, value in headers.multi_items())


def _built(library: Any, wanted: Send, extensions: Any) -> Any:
    """A library's request; the SDK's timeouts hold for whatever its call leads to."""
    timeouts = {"timeout": extensions["timeout"]} if "timeout" in extensions else {}
    return library.Request(
        wanted.method,
        wanted.url,
        headers=list(wanted.headers),
        content=wanted.body or None,
        extensions=timeouts,
    )


def _unconnected(library: Any) -> tuple[type[Exception], ...]:
    """Errors of before a connection was there: nothing can have left."""
    return (library.ConnectError, library.ConnectTimeout, library.PoolTimeout)


class SyncUpstream:
    """An inner client as an `Upstream`."""

    def __init__(self, library: Any, client: Any, extensions: Any) -> None:
        self._library = library
        self._client = client
        self._extensions = extensions
        self._response: Any = None
        self._chunks: Iterator[bytes] = iter(())

    def send(self, request: Send) -> Head:
        """Send; the library's own errors reach the SDK, which knows them. May raise `NeverSent`."""
        self.close()
        built = _built(self._library, request, self._extensions)
        try:
            self._response = self._client.send(built, stream=True, follow_redirects=False)
        except _unconnected(self._library) as error:
            raise NeverSent(error) from None
        # Not `iter_raw`: it refuses what a test's transport answers out of memory.
        self._chunks = iter(self._response.stream)
        return Head(self._response.status_code, _pairs(self._response.headers))

    def read(self) -> bytes:
        """The next bytes; a break is an end, which the session tells from a whole answer."""
        with contextlib.suppress(self._library.TransportError):
            for chunk in self._chunks:
                if chunk:
                    return chunk
        return b""

    def close(self) -> None:
        """Close the response."""
        if self._response is not None:
            self._response.close()
            self._response = None


class AsyncUpstream:
    """An inner asynchronous client as an `AsyncUpstream`."""

    def __init__(self, library: Any, client: Any, extensions: Any) -> None:
        self._library = library
        self._client = client
        self._extensions = extensions
        self._response: Any = None
        self._chunks: Any = None

    async def send(self, request: Send) -> Head:
        """Send; the library's own errors reach the SDK, which knows them. May raise `NeverSent`."""
        await self.close()
        built = _built(self._library, request, self._extensions)
        try:
            self._response = await self._client.send(built, stream=True, follow_redirects=False)
        except _unconnected(self._library) as error:
            raise NeverSent(error) from None
        self._chunks = aiter(self._response.stream)
        return Head(self._response.status_code, _pairs(self._response.headers))

    async def read(self) -> bytes:
        """The next bytes; a break is an end, which the session tells from a whole answer."""
        with contextlib.suppress(self._library.TransportError):
            async for chunk in self._chunks:
                if chunk:
                    return bytes(chunk)
        return b""

    async def close(self) -> None:
        """Close the response; its iterator first, or the event loop's end would find it open."""
        if self._response is not None:
            response, chunks = self._response, self._chunks
            self._response = self._chunks = None
            await chunks.aclose()
            await response.aclose()


def nothing() -> None:
    """The session is another's too."""


class SyncShell:
    """The blocking transport of either library."""

    library: ClassVar[Any]
    stream: ClassVar[Any]

    def __init__(
        self, session: Session, client: Any, on_close: Callable[[], None] = nothing
    ) -> None:
        """`on_close` may block; it is for whoever has the session to itself."""
        self._session = session
        self._client = client
        self._on_close = on_close

    def handle_request(self, request: Any) -> Any:
        """Answer one request of the SDK's client."""
        clear = clear_request(request, request.read())
        upstream = SyncUpstream(self.library, self._client, request.extensions)
        items = drive(self._session.exchange(clear), upstream)
        begin = next(items)
        if not isinstance(begin, Begin):
            raise TypeError("an exchange begins with a Begin")
        return self.library.Response(
            begin.status, headers=list(begin.headers), stream=self.stream(items)
        )

    def close(self) -> None:
        """Close the inner client's connections, then what else is over with it."""
        self._client.close()
        self._on_close()


class AsyncShell:
    """The transport of either library for event loops."""

    library: ClassVar[Any]
    stream: ClassVar[Any]

    def __init__(
        self, session: Session, client: Any, on_close: Callable[[], None] = nothing
    ) -> None:
        """`on_close` may block; it is for whoever has the session to itself."""
        self._session = session
        self._client = client
        self._on_close = on_close

    async def handle_async_request(self, request: Any) -> Any:
        """Answer one request of the SDK's client."""
        clear = clear_request(request, await request.aread())
        upstream = AsyncUpstream(self.library, self._client, request.extensions)
        items = drive_async(self._session.exchange(clear), upstream)
        begin = await anext(items)
        if not isinstance(begin, Begin):
            raise TypeError("an exchange begins with a Begin")
        return self.library.Response(
            begin.status, headers=list(begin.headers), stream=self.stream(items)
        )

    async def aclose(self) -> None:
        """Close the inner client's connections, then what else is over with it."""
        await self._client.aclose()
        if self._on_close is not nothing:
            await asyncio.to_thread(self._on_close)


class SyncBody:
    """The body of an answer; closing it early stops the worker."""

    def __init__(self, items: Generator[Begin | bytes, None, None]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[bytes]:
        """The bytes as they come."""
        yield from (item for item in self._items if isinstance(item, bytes))

    def close(self) -> None:
        """End the exchange where it stands."""
        self._items.close()


class AsyncBody:
    """The same for event loops."""

    def __init__(self, items: AsyncGenerator[Begin | bytes, None]) -> None:
        self._items = items

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes as they come."""
        async for item in self._items:
            if isinstance(item, bytes):
                yield item

    async def aclose(self) -> None:
        """End the exchange where it stands."""
        await self._items.aclose()
