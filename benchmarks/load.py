"""Requests for the relay bench: closed loop over kept connections, bodies made beforehand.

The gateway checks headers, not ciphertext, so commitments and wraps are random bytes here.
"""

import asyncio
import hashlib
import os
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import httptools
import msgspec
import uvloop

from bombyx import canonical
from bombyx.envelope.frames import FINAL, FrameType, encode_frame
from bombyx.envelope.header import Candidate, Header

PROMPT_BYTES = 4096


class Plan(msgspec.Struct):
    """What to send; counts and seconds."""

    host: str
    port: int
    api_key: str
    gateway: str
    worker: str
    key_id: str
    offer: str
    fee_bps: int
    requests: int
    concurrency: int
    stream: bool = True
    bare: bool = False
    model: str = "bench"
    content: str = "x" * PROMPT_BYTES
    """Of bare requests."""
    max_tokens: int = 1000


@dataclass(slots=True)
class Tally:
    """What came back."""

    answers: int = 0
    errors: int = 0
    received: int = 0


def requests(plan: Plan, count: int) -> Iterator[bytes]:
    """Ready HTTP requests."""
    media_type = "application/json" if plan.bare else "application/vnd.bombyx.sealed"
    for body in bare_bodies(plan, count) if plan.bare else sealed_bodies(plan, count):
        yield (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n"
            f"Authorization: Bearer {plan.api_key}\r\n"
            f"Content-Type: {media_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body


def bare_bodies(plan: Plan, count: int) -> Iterator[bytes]:
    """The same question, whole answers wanted."""
    messages = [{"role": "user", "content": plan.content}]
    body = msgspec.json.encode(
        {"model": plan.model, "messages": messages, "max_tokens": plan.max_tokens}
    )
    for _ in range(count):
        yield body


def sealed_bodies(plan: Plan, count: int) -> Iterator[bytes]:
    """Each with a commitment of its own."""
    payer = hashlib.sha256(plan.api_key.encode()).hexdigest()
    frames = encode_frame(FrameType.DATA, FINAL, os.urandom(PROMPT_BYTES + 16))
    for _ in range(count):
        header = Header(
            v="bombyx/1", id=os.urandom(16).hex(), gateway=plan.gateway, method="POST",
            path="/v1/chat/completions", model="bench", stream=plan.stream, tier="sealed",
            payer=payer, issued_at=int(time.time()), max_input_tokens=10_000,
            max_output_tokens=1_000, max_cost_nano="1000000", fee_bps=plan.fee_bps,
            candidates=[Candidate(worker=plan.worker, key_id=plan.key_id, offer=plan.offer)],
        )  # fmt: skip
        raw = canonical.encode(header)
        yield b"".join(
            (struct.pack(">I", len(raw)), raw, os.urandom(96), b"\x01", os.urandom(1200), frames)
        )


class Connection(asyncio.Protocol):
    """One kept connection that sends the next request when an answer is whole."""

    def __init__(self, source: Iterator[bytes], tally: Tally, done: "asyncio.Future[None]") -> None:
        self._source = source
        self._tally = tally
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._tally.received += len(data)
        self._parser.feed_data(data)

    def connection_lost(self, _error: Exception | None) -> None:
        """The gateway closed it."""
        if not self._done.done():
            self._tally.errors += 1
            self._done.set_result(None)

    def on_message_complete(self) -> None:
        """One answer is whole."""
        ok = self._parser.get_status_code() == 200
        self._tally.answers += ok
        self._tally.errors += not ok
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        request = next(self._source, None)
        if request is None:
            if not self._done.done():
                self._done.set_result(None)
            return
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)  # type: ignore[attr-defined]


async def run(plan: Plan) -> dict[str, float]:
    """Send it all; seconds and counts."""
    source = iter(list(requests(plan, plan.requests)))
    loop, tally = asyncio.get_running_loop(), Tally()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.readline)
    start = time.monotonic()
    ends = []
    for _ in range(plan.concurrency):
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        await loop.create_connection(partial(Connection, source, tally, done), plan.host, plan.port)
    await asyncio.gather(*ends)
    return {
        "seconds": time.monotonic() - start,
        "answers": tally.answers,
        "errors": tally.errors,
        "received": tally.received,
    }


if __name__ == "__main__":
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    sys.stdout.write(msgspec.json.encode(uvloop.run(run(plan))).decode() + "\n")
