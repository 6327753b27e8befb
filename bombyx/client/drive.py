"""Driving an exchange: the same few lines, once for threads and once for event loops.

The first item is a `Begin`, all others are bytes of the body. Closing a drive closes the upstream
response at once, wherever it stands.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import wait
from typing import NoReturn, Protocol

from bombyx.client.effects import Begin, Emit, Head, NeverSent, Pause, Reply, Send, Steps, Wait


class Upstream(Protocol):
    """A blocking way to the gateway; one response at a time."""

    def send(self, request: Send) -> Head:
        """Send and give the head; closes the response before. May raise `NeverSent`."""
        ...

    def read(self) -> bytes:
        """The next bytes; none at the end, also when the connection broke."""
        ...

    def close(self) -> None:
        """Close the response, whether or not it was read."""
        ...


class AsyncUpstream(Protocol):
    """The same for an event loop."""

    async def send(self, request: Send) -> Head:
        """Send and give the head; closes the response before. May raise `NeverSent`."""
        ...

    async def read(self) -> bytes:
        """The next bytes; none at the end, also when the connection broke."""
        ...

    async def close(self) -> None:
        """Close the response, whether or not it was read."""
        ...


def drive(steps: Steps, upstream: Upstream) -> Generator[Begin | bytes, None, None]:
    """Run an exchange over a blocking upstream."""
    reply: Reply = None
    try:
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration:
                return
            reply = None
            match effect:
                case Send():
                    try:
                        reply = upstream.send(effect)
                    except NeverSent as unsent:
                        _give_up(steps, unsent)
                case Begin():
                    yield effect
                case Emit(data):
                    yield data
                case Wait(event):
                    wait((event,))
                case Pause(seconds):
                    time.sleep(seconds)
                case _:
                    reply = upstream.read()
    finally:
        steps.close()
        upstream.close()


async def drive_async(steps: Steps, upstream: AsyncUpstream) -> AsyncGenerator[Begin | bytes, None]:
    """Run an exchange over an upstream of an event loop."""
    reply: Reply = None
    try:
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration:
                return
            reply = None
            match effect:
                case Send():
                    try:
                        reply = await upstream.send(effect)
                    except NeverSent as unsent:
                        _give_up(steps, unsent)
                case Begin():
                    yield effect
                case Emit(data):
                    yield data
                case Wait(event):
                    # Shielded: who gives up waiting must not cancel what others wait for.
                    await asyncio.shield(asyncio.wrap_future(event))
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case _:
                    reply = await upstream.read()
    finally:
        steps.close()
        await upstream.close()


def _give_up(steps: Steps, unsent: NeverSent) -> NoReturn:
    """Tell the exchange that its request did not leave; raises what the caller is to see."""
    with contextlib.suppress(NeverSent):
        steps.throw(unsent)
    raise unsent.reason
