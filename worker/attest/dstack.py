"""The guest agent of dstack machines: JSON over HTTP over a unix socket.

It stands beside the containers of a TDX machine and quotes for them. Its event log is not sent on:
a quote's registers are what a policy lists.
"""

import binascii
import socket
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from bombyx.attestation.binding import REPORT_DATA_BYTES
from bombyx.attestation.tdx_quote import MAX_QUOTE_BYTES
from bombyx.errors import AttestationError

SOCKET: Final = Path("/var/run/dstack.sock")
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
"""A quote goes to the host and back."""
MAX_ANSWER_BYTES: Final = 4 * 2**20
"""A quote in hex and an event log, which some images fill with hundreds of events."""
_OK: Final = 200
_URL: Final = "http://dstack"


async def get_quote(path: Path, report_data: bytes) -> bytes:
    """A TDX quote over 64 bytes; raises `AttestationError`."""
    if len(report_data) != REPORT_DATA_BYTES:
        raise ValueError("report data has 64 bytes")
    answer = await call(path, "GetQuote", {"report_data": report_data.hex()})
    text = answer.get("quote")
    if not isinstance(text, str) or len(text) > 2 * MAX_QUOTE_BYTES:
        raise AttestationError("the dstack agent answers without a quote of bounded size")
    try:
        # An agent of older images writes `0x` before it.
        return binascii.unhexlify(text.removeprefix("0x"))
    except ValueError:
        raise AttestationError("the dstack agent's quote is no hex") from None


def find_agent(path: Path) -> None:
    """Raises `AttestationError` unless somebody listens at the socket; asks nothing."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(CONNECT_SECONDS)
        try:
            one.connect(str(path))
        except OSError as error:
            raise AttestationError(
                f"no dstack agent at {path}: {error.strerror or error}"
            ) from None


async def call(path: Path, method: str, body: dict[str, str]) -> dict[str, Any]:
    """One question to the agent, its answer as parsed; raises `AttestationError`."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    connector = aiohttp.UnixConnector(path=str(path))
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            ) as http,
            http.post(f"{_URL}/{method}", json=body, allow_redirects=False) as answer,
        ):
            data = await _bounded(answer)
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        why = type(error).__name__
        raise AttestationError(f"the dstack agent at {path} cannot be asked: {why}") from None
    if answer.status != _OK:
        raise AttestationError(f"the dstack agent refuses {method} with status {answer.status}")
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise AttestationError("the dstack agent's answer is no JSON") from None


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    data = b""
    async for piece in answer.content.iter_chunked(64 * 1024):
        data += piece
        if len(data) > MAX_ANSWER_BYTES:
            raise AttestationError("the dstack agent sends more than a quote and its log")
    return data
