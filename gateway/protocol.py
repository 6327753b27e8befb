"""Uvicorn's HTTP/1.1 protocol with a way past ASGI for the hot paths (ADR 7)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bombyx.errors import RequestError, envelope
from gateway.inference.exchange import Exchange, new_request_id

_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nx-should-retry: false\r\n"
    b"x-request-id: %b\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
)

Handler = Callable[[Exchange], Awaitable[None]]


def hot_protocol(handlers: Mapping[bytes, Handler]) -> type[asyncio.Protocol]:
    """A protocol class that gives `POST` to one of these paths to its handler, as an `Exchange`.

    Everything else, other methods and attempts to upgrade included, goes the way of ASGI.
    """

    class HotProtocol(HttpToolsProtocol):
        """One connection; uvicorn's own class does all that is not overridden."""

        def on_headers_complete(self) -> None:
            path, parser = self.url.partition(b"?")[0], self.parser
            handler = handlers.get(path)
            if handler is None or parser.get_method() != b"POST" or parser.should_upgrade():
                super().on_headers_complete()
                return
            running = self.cycle
            exchange = Exchange(
                path.decode("ascii"),
                self.headers,
                transport=self.transport,
                flow=self.flow,
                expects_continue=self.expect_100_continue,
                keep_alive=parser.get_http_version() != "1.0" and parser.should_keep_alive(),
                on_end=self.on_response_complete,
            )
            # To uvicorn a cycle is what has these attributes and `run_asgi`.
            self.cycle = cast(Any, exchange)
            if running is None or running.response_complete:
                self._start_asgi_task(self.cycle, cast(Any, handler))
            else:
                self.flow.pause_reading()
                self.pipeline.appendleft((self.cycle, cast(Any, handler)))

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP is refused in our shape too; nobody can say by whom it came."""
            body = msgspec.json.encode(envelope(RequestError(msg.rstrip(".").lower())))
            self.transport.write(_BAD_REQUEST % (new_request_id(), len(body), body))
            self.transport.close()

        def resume_writing(self) -> None:
            """The client has read enough for more to be written."""
            super().resume_writing()
            if isinstance(self.cycle, Exchange):
                self.cycle.on_room()

    return HotProtocol
