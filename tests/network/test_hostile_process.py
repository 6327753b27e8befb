"""A gateway as the process that runs in production, under crowds and floods: memory and answers.

`BOMBYX_IDLE_CONNECTIONS=10000` is the full crowd; every test run takes a smaller one.
"""

import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import pytest_asyncio

from bombyx.attestation.simulated import image_measurement
from tests.network.requests import CHAT, bearer, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

IDLE = int(os.environ.get("BOMBYX_IDLE_CONNECTIONS", "2000"))
PER_CONNECTION = 24 * 2**10
"""Resident bytes of one that is idle; measured: 6 KiB."""
FLOOD_BYTES = 100 * 2**20
GROWTH = 96 * 2**20
"""Resident bytes that floods may add: the limit of 32 MB twice, and what allocators keep."""
HEAD_SECONDS = 60
PLAIN = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@dataclass
class Gateway:
    """A process of its own."""

    url: httpx2.URL
    key: str
    process: psutil.Process
    log: Path

    @property
    def resident(self) -> int:
        return int(self.process.memory_info().rss)

    def head(self, *lines: str) -> bytes:
        told = [
            f"POST {CHAT} HTTP/1.1",
            "host: x",
            f"authorization: Bearer {self.key}",
            "content-type: application/json",
            *lines,
        ]
        return "\r\n".join(told).encode() + b"\r\n\r\n"


POLICY = """version = 1
network = "local"
platforms = ["simulated"]

[simulated]
roots = ["{root}"]
mr_td = ["{image}"]
accepted_tcb = ["UpToDate"]
"""


async def run(folder: Path, *arguments: str) -> Any:
    with (folder / "log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bombyx", *arguments, "--state", str(folder), "--json"),
            env={**os.environ, "BOMBYX_GATEWAY_REQUEST_HEAD_S": str(HEAD_SECONDS)},
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("process")
    policy = folder / "policy.toml"
    policy.write_text(POLICY.format(root="ab" * 32, image=image_measurement("0").hex()))
    child = await run(folder, "gateway", "--port", "0", "--policy", str(policy))
    try:
        ready = json.loads(await asyncio.wait_for(child.stdout.readline(), 60))
        made = await run(folder, "keys", "create", "--credit-nano", "1000000")
        key = json.loads((await made.communicate())[0])
        yield Gateway(
            httpx2.URL(ready["url"]), key["api_key"], psutil.Process(child.pid), folder / "log"
        )
    finally:
        child.terminate()
        await child.wait()


async def answers(gateway: Gateway) -> float:
    """Seconds that a request took."""
    began = time.monotonic()
    async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
        answer = await client.get(f"{gateway.url}/v1/models", headers=bearer(gateway.key))
    assert answer.status_code == 200, answer.text
    return time.monotonic() - began


@contextlib.contextmanager
def crowd(gateway: Gateway, count: int, said: bytes) -> Iterator[list[socket.socket]]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sockets = []
    try:
        for number in range(count):
            # Of several addresses, since one has too few ports for many crowds in a row.
            here = (f"127.0.0.{1 + number % 8}", 0)
            there = (gateway.url.host, gateway.url.port or 0)
            sockets.append(socket.create_connection(there, source_address=here, timeout=10))
            sockets[-1].sendall(said)
        yield sockets
    finally:
        for one in sockets:
            one.close()


def show(measured: str) -> None:
    """With `pytest -s`."""
    sys.stdout.write(f"\n{measured}\n")


@pytest.mark.parametrize("said", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-a: "])
async def test_a_crowd_of_idle_connections_costs_little_and_leaves_room(
    gateway: Gateway, said: bytes
) -> None:
    await answers(gateway)
    before = gateway.resident
    with crowd(gateway, IDLE, said):
        took = await answers(gateway)
        while gateway.process.num_fds() < IDLE:
            await asyncio.sleep(0.05)
        each = (gateway.resident - before) / IDLE
        show(f"{IDLE} idle, {len(said)} bytes said: {each:.0f} bytes each, answer {took:.3f} s")
        assert each < PER_CONNECTION
        assert await answers(gateway) < 5
    async with asyncio.timeout(20):
        while gateway.process.num_fds() > IDLE / 2:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("lines", [("content-length: 104857600",), ("transfer-encoding: chunked",)])
async def test_bodies_of_a_hundred_megabytes_are_refused_within_bounded_memory(
    gateway: Gateway, lines: tuple[str, ...]
) -> None:
    before, most = gateway.resident, 0
    piece = bytes(2**20)
    part = piece if "length" in lines[0] else b"%x\r\n%b\r\n" % (len(piece), piece)

    async def flood() -> int:
        nonlocal most
        reader, writer = await asyncio.open_connection(gateway.url.host, gateway.url.port)
        writer.write(gateway.head(*lines))
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < FLOOD_BYTES and not reader.at_eof() and not reader._buffer:  # type: ignore[attr-defined]
                writer.write(part)
                await writer.drain()
                sent += len(piece)
                most = max(most, gateway.resident)
        told = await asyncio.wait_for(reader.read(), 20)
        writer.transport.abort()
        assert told.startswith(b"HTTP/1.1 413 ")
        assert json.loads(told.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_too_large"
        return sent

    sent = [await flood() for _ in range(3)]
    show(f"{lines[0]}: sent {[one >> 20 for one in sent]} MiB, grew {(most - before) >> 20} MiB")
    assert max(sent) < FLOOD_BYTES
    assert most - before < GROWTH


async def test_a_hundred_header_floods_at_once_cost_no_more_than_their_reads(
    gateway: Gateway,
) -> None:
    before, most = gateway.resident, 0

    async def flood() -> bytes:
        nonlocal most
        reader, writer = await asyncio.open_connection(gateway.url.host, gateway.url.port)
        with contextlib.suppress(ConnectionError):
            writer.write(gateway.head()[:-2])
            for _ in range(200):
                writer.write(b"a: b\r\n" * 2000)
                await writer.drain()
                most = max(most, gateway.resident)
        told = await asyncio.wait_for(reader.read(), 20)
        writer.transport.abort()
        return told

    told = await asyncio.gather(*(flood() for _ in range(100)))
    show(f"header floods: grew {(most - before) >> 20} MiB")
    assert all(one.startswith(b"HTTP/1.1 431 ") for one in told)
    assert most - before < 2 * GROWTH  # sent: 2,400 KiB by each of them


async def test_json_that_is_deep_long_or_large_is_refused_quickly(gateway: Gateway) -> None:
    bodies = {
        "deep": b'{"model":"a","messages":' + b"[" * 100_000,
        "deep_objects": b'{"a":' * 100_000,
        "long_number": b'{"model":"a","seed":' + b"9" * 10**6 + b"}",
        "exponent": b'{"model":"a","seed":1e999999999}',
        "twice": b'{"model":"a",' + b'"b":1,' * 100_000 + b'"b":1}',
        "many_names": b"{" + b",".join(b'"%d":1' % n for n in range(200_000)) + b"}",
        "zero": b'{"model":"a\\u0000","messages":[]}',
        "surrogate": b'{"model":"\\ud800","messages":[]}',
        "not_utf8": b'{"model":"\xc0\xaf","messages":[]}',
    }
    before = gateway.resident
    async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
        for name, body in bodies.items():
            began = time.monotonic()
            headers = {"content-type": "application/json", **bearer(gateway.key)}
            answer = await client.post(f"{gateway.url}{CHAT}", content=body, headers=headers)
            assert error_of(answer)[0] == 400, (name, answer.text)
            assert len(answer.content) < 1000, name
            assert time.monotonic() - began < 5, name
    assert gateway.resident - before < GROWTH


async def test_no_traceback_is_in_the_log(gateway: Gateway) -> None:
    assert await answers(gateway) < 5
    assert "Traceback" not in gateway.log.read_text()
