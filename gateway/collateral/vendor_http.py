"""Asking a vendor: bounded in time and size, and never led to another host (SPEC 17.10).

Hosts are those of the settings' URLs alone. What comes back is believed by nobody; but a gateway
that could be led anywhere would ask the owner's own network on a stranger's behalf.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx2

from bombyx.errors import NotFound, RemoteError

MAX_REDIRECTS: Final = 3
MAX_CONNECTIONS: Final = 8
_OK: Final = 200
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_UNKNOWN: Final = frozenset({400, 404, 410})
"""Vendors answer so for processors and versions that they do not know."""


@dataclass(frozen=True, slots=True)
class VendorAnswer:
    """A whole answer with status 200."""

    body: bytes
    headers: Mapping[str, str]


class VendorHttp:
    """One client for all vendors; `seconds` bounds each exchange with its redirects."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._http = httpx2.AsyncClient(
            follow_redirects=False,
            timeout=httpx2.Timeout(seconds),
            limits=httpx2.Limits(max_connections=MAX_CONNECTIONS),
            headers={"user-agent": "bombyx-gateway", "accept-encoding": "identity"},
        )

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def get(self, url: str, *, limit: int) -> VendorAnswer:
        """Raises `NotFound` where the vendor knows no such thing, else `RemoteError`."""
        return await self._ask(httpx2.Request("GET", url), limit)

    async def post(self, url: str, body: bytes, *, kind: str, limit: int) -> VendorAnswer:
        """The same with a body; it is not sent on to where a redirect leads."""
        request = httpx2.Request("POST", url, content=body, headers={"content-type": kind})
        return await self._ask(request, limit)

    async def _ask(self, request: httpx2.Request, limit: int) -> VendorAnswer:
        host = request.url.host
        try:
            async with asyncio.timeout(self._seconds):
                for _ in range(MAX_REDIRECTS + 1):
                    found = await self._once(request, limit)
                    if isinstance(found, VendorAnswer):
                        return found
                    request = _led(request, found)
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            raise RemoteError(f"{host} cannot be asked: {type(error).__name__}") from None
        raise RemoteError(f"{host} leads in circles")

    async def _once(self, request: httpx2.Request, limit: int) -> "VendorAnswer | str":
        """The answer, or where it leads."""
        host = request.url.host
        answer = await self._http.send(request, stream=True)
        try:
            status = answer.status_code
            if status in _REDIRECTS and "location" in answer.headers:
                return str(answer.headers["location"])
            if status in _UNKNOWN:
                raise NotFound(f"{host} knows no such platform (status {status})")
            if status != _OK:
                raise RemoteError(f"{host} answers with status {status}")
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > limit:
                    raise RemoteError(f"{host} answers with more than {limit} bytes")
            return VendorAnswer(body, answer.headers)
        finally:
            await answer.aclose()


def _led(request: httpx2.Request, location: str) -> httpx2.Request:
    """The next request, on the very same host; raises `RemoteError` for any other."""
    url = request.url.join(location)
    if request.method != "GET" or _origin(url) != _origin(request.url):
        raise RemoteError(f"{request.url.host} leads elsewhere, where nobody is asked")
    return httpx2.Request("GET", url)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
