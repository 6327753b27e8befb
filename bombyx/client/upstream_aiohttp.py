"""The sidecar's way to the gateway, over aiohttp: a fraction of httpx's cost per token."""

import asyncio
import contextlib
from urllib.parse import urlsplit

import aiohttp

from bombyx.client.effects import Head, NeverSent, Send
from bombyx.client.ratls.context import refusal_of
from bombyx.errors import BombyxError, GatewayUnreachable

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=600)
"""As patient as the OpenAI SDK."""
_READ_BYTES = 2**16
_UNCONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Errors of before a connection was there: nothing can have left."""


_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def open_pool(
    gateway: str, *, connector: aiohttp.BaseConnector | None = None
) -> aiohttp.ClientSession:
    """A pool of connections to a gateway's origin; close it at the end.

    Proxies are taken from the environment, but for a gateway on this machine, which they cannot
    reach. `connector` makes connections of another kind.
    """
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
        timeout=_TIMEOUT,
        trust_env=urlsplit(gateway).hostname not in _LOOPBACK,
    )


class AiohttpUpstream:
    """One exchange's way, an `AsyncUpstream`."""

    def __init__(self, pool: aiohttp.ClientSession) -> None:
        self._pool = pool
        self._response: aiohttp.ClientResponse | None = None

    async def send(self, request: Send) -> Head:
        """Send and give the head; raises `GatewayUnreachable`, or `NeverSent` with it."""
        await self.close()
        try:
            response = await self._pool.request(
                request.method,
                request.url,
                headers=list(request.headers),
                data=request.body or None,
                allow_redirects=False,
            )
        except _UNCONNECTED as error:
            raise NeverSent(_told(error)) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _told(error) from None
        self._response = response
        pairs = tuple((name.lower(), value) for name, value in response.headers.items())
        return Head(response.status, pairs)

    async def read(self) -> bytes:
        """The next bytes; a break is an end, which the session tells from a whole answer."""
        if self._response is None:
            return b""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            return await self._response.content.readany()
        return b""

    async def close(self) -> None:
        """Close the connection unless the response was read to its end."""
        if self._response is not None:
            self._response.close()
            self._response = None
            await asyncio.sleep(0)


def _told(error: Exception) -> BombyxError:
    """What the caller is told: what was wrong with the gateway, where that is known."""
    kind = type(error).__name__
    return refusal_of(error) or GatewayUnreachable(f"the gateway cannot be reached ({kind})")
