"""Where a worker gets its vendor's words from: its gateway, or a file (SPEC 17.10).

Nothing of it is believed here: a worker that is given wrong collateral is refused by those who
verify it, and asks again when it makes its next keyset.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.vendor import (
    MAX_DOCUMENT_BYTES,
    AmdEndorsement,
    VendorDocument,
    read_document,
)
from bombyx.collateral_file import read_collateral_file
from bombyx.errors import AttestationError, NotCanonical
from worker.link.address import proxy_for
from worker.link.ratls import OpenConnector, plain_connector

COLLATERAL_PATH = "/v1/confidential/collateral/"
ANSWER_SECONDS = 45.0
"""The gateway may have to ask the vendor first."""
_OK = 200
_SCHEMES = {"ws": "http", "wss": "https"}


class CollateralSource(Protocol):
    """Finds a document by its name."""

    async def find(self, name: str) -> VendorDocument:
        """The document; raises `AttestationError` with the reason."""
        ...


async def find_dcap(source: CollateralSource, name: str) -> Collateral:
    """DCAP collateral by name; raises `AttestationError`."""
    return cast(Collateral, await source.find(name))


async def find_endorsement(source: CollateralSource, name: str) -> AmdEndorsement:
    """A chip's certificate by name; raises `AttestationError`."""
    return cast(AmdEndorsement, await source.find(name))


class CollateralFile:
    """A file that `bombyx collateral export` wrote, read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._items = {item.name: item for item in read_collateral_file(path).items}

    async def find(self, name: str) -> VendorDocument:
        """From the file alone; how fresh it is, its verifiers judge."""
        item = self._items.get(name)
        if item is None:
            raise AttestationError(f"{self._path} holds no collateral of {name}")
        return read_document(name, item.document.encode())


class GatewayCollateral:
    """The gateways that a worker serves, asked one after the other."""

    def __init__(
        self, gateways: Sequence[str], open_connector: OpenConnector = plain_connector
    ) -> None:
        self._open_connector = open_connector
        self._urls = [_http_url(gateway) for gateway in gateways]

    async def find(self, name: str) -> VendorDocument:
        """From the first gateway that has it."""
        reasons = []
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, connect=10.0)
        async with aiohttp.ClientSession(
            connector=self._open_connector(),
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as http:
            for url in self._urls:
                try:
                    return await _ask(http, url, name)
                except AttestationError as error:
                    reasons.append(error.message)
        raise AttestationError("; ".join(reasons) or "no gateway is named to ask for collateral")


def _http_url(gateway: str) -> str:
    parts = urlsplit(gateway)
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, "", "", ""))


async def _ask(http: aiohttp.ClientSession, url: str, name: str) -> VendorDocument:
    where = f"{url} gives no collateral of {name}"
    try:
        async with http.get(
            url + COLLATERAL_PATH + name, allow_redirects=False, proxy=proxy_for(url)
        ) as answer:
            if answer.status != _OK:
                raise AttestationError(f"{where}: it answers with status {answer.status}")
            data = await _bounded(answer)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise AttestationError(f"{where}: {type(error).__name__}") from None
    try:
        return read_document(name, data)
    except NotCanonical:
        raise AttestationError(f"{where}, but something else") from None


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    data = b""
    async for piece in answer.content.iter_chunked(64 * 1024):
        data += piece
        if len(data) > MAX_DOCUMENT_BYTES:
            raise AttestationError("a gateway sends more than any collateral has")
    return data
