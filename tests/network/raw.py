"""HTTP by hand: bytes in, whatever comes back out, until the gateway closes or falls silent."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from gateway import app
from gateway.connections import Door, Patience
from tests.network.harness import Network
from tests.network.requests import CHAT

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Answer:
    """One HTTP answer with a content-length."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error in OpenAI's shape, which it must have."""
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "code", "param"}, error
        assert self.headers["content-type"] == "application/json"
        assert self.headers["x-request-id"].startswith("req_")
        assert "Traceback" not in error["message"]
        return dict(error)


def watch_doors(patch: pytest.MonkeyPatch) -> list[Door]:
    """The doors of gateways yet to be started: all their connections."""
    doors = list[Door]()

    def make(patience: Patience) -> Door:
        doors.append(Door(patience))
        return doors[-1]

    patch.setattr(app, "Door", make)
    return doors


@contextlib.asynccontextmanager
async def connected(net: Network) -> AsyncIterator[Streams]:
    url = httpx2.URL(net.url)
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=2**24)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def head(net: Network, *lines: str, method: str = "POST", path: str = CHAT) -> bytes:
    """A request's head with a key; further header lines as given."""
    told = [
        f"{method} {path} HTTP/1.1",
        "host: x",
        f"authorization: Bearer {net.api_key}",
        "content-type: application/json",
        *lines,
    ]
    return "\r\n".join(told).encode() + b"\r\n\r\n"


async def read_answer(
    reader: asyncio.StreamReader, seconds: float = 10, *, bodiless: bool = False
) -> Answer:
    async with asyncio.timeout(seconds):
        top = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = top.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = 0 if bodiless else int(headers.get("content-length", 0))
        body = await reader.readexactly(length)
    return Answer(int(status.split()[1]), headers, body)


async def exchange(net: Network, *parts: bytes, seconds: float = 10) -> list[Answer]:
    """All answers to these bytes, up to the end of the connection, which must come."""
    answers = []
    async with connected(net) as (reader, writer), asyncio.timeout(seconds):
        with contextlib.suppress(OSError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                answers.append(await read_answer(reader, seconds))
    return answers
