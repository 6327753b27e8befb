"""Uvicorn's HTTP/1.1 protocol with a way past ASGI for the hot paths (ADR 7)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from gateway.connections import Door, GuardedProtocol
from gateway.inference.exchange import Exchange

Handler = Callable[[Exchange], Awaitable[None]]


def hot_protocol(handlers: Mapping[bytes, Handler], at: Door) -> type[asyncio.Protocol]:
    """A protocol class that gives `POST` to one of these paths to its handler, as an `Exchange`.

    Everything else, other methods and attempts to upgrade included, goes the way of ASGI.
    """

    class HotProtocol(GuardedProtocol):
        """One connection; uvicorn's own class does all that is not overridden."""

        door = at

        def on_headers_complete(self) -> None:
            path, parser, headers = self.url.partition(b"?")[0], self.parser, self.headers
            if not self.head_is_over():
                return
            handler = handlers.get(path)
            if handler is None or parser.get_method() != b"POST" or parser.should_upgrade():
                super().on_headers_complete()
                return
            running = self.cycle
            exchange = Exchange(
                path.decode("ascii"),
                headers,
                transport=self.transport,
                flow=self.flow,
                expects_continue=self.expect_100_continue,
                keep_alive=parser.get_http_version() != "1.0" and parser.should_keep_alive(),
                on_end=self.on_response_complete,
                common=self.server_state.default_headers,
            )
            # To uvicorn a cycle is what has these attributes and `run_asgi`.
            self.cycle = cast(Any, exchange)
            if running is None or running.response_complete:
                self._start_asgi_task(self.cycle, cast(Any, handler))
            else:
                self.flow.pause_reading()
                self.pipeline.appendleft((self.cycle, cast(Any, handler)))

        def resume_writing(self) -> None:
            """The client has read enough for more to be written."""
            super().resume_writing()
            if isinstance(self.running, Exchange):
                self.running.on_room()

    return HotProtocol
