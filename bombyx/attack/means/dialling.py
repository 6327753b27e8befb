"""Bringing a lying worker onto a gateway's link: an own hello, honest unless told otherwise."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from bombyx import canonical
from bombyx.attack.means.liar import (
    WAIT_SECONDS,
    Keys,
    Liar,
    SentAway,
    link_url,
    record_of,
)
from bombyx.attack.means.requests import Forger
from bombyx.attack.means.simulator import Proven, unix
from bombyx.attack.target import Target
from bombyx.attestation.keyset import keyset_digest
from bombyx.link.documents import Goaway
from bombyx.link.frames import MAX_MESSAGE_BYTES, LinkFrame, LinkType
from bombyx.link.hello import Challenge, Hello, Identify, worker_terms
from bombyx.link.mux import Mux
from bombyx.money.offer import SignedOffer
from bombyx.signing import Kind

Edit = Callable[[Identify], Identify]


class Wire:
    """One socket at a gateway's link, frame by frame."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.mux = Mux()
        self.frames: list[LinkFrame] = []

    async def say(self, kind: LinkType, document: Any) -> None:
        """Send a document."""
        self.mux.document(kind, canonical.encode(document))
        while message := self.mux.next_message():
            await self.socket.send_bytes(message)

    async def hear(self) -> LinkFrame:
        """The next frame; raises `SentAway` with the code of a goaway, or when it is closed."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not self.frames:
                message = await self.socket.receive()
                if message.type is not aiohttp.WSMsgType.BINARY:
                    raise SentAway("closed")
                self.frames = self.mux.receive(message.data)
        frame = self.frames.pop(0)
        if frame.type == LinkType.GOAWAY:
            raise SentAway(canonical.decode(frame.payload, Goaway).code)
        return frame

    async def greet(self) -> tuple[Hello, Challenge]:
        """The first two words of the hello."""
        hello = Hello(v="bombyx-link/1", nonce=secrets.token_hex(32))
        await self.say(LinkType.HELLO, hello)
        return hello, canonical.decode((await self.hear()).payload, Challenge)


@contextlib.asynccontextmanager
async def dialled(target: Target) -> AsyncIterator[Wire]:
    """A socket at the gateway's link, before any word."""
    async with target.http.ws_connect(
        link_url(target.gateway), compress=0, max_msg_size=2 * MAX_MESSAGE_BYTES
    ) as socket:
        yield Wire(socket)


def identify(
    hello: Hello, challenge: Challenge, *, keys: Keys, proven: Proven, offers: list[SignedOffer]
) -> Identify:
    """An honest worker's answer to a challenge, under `keys` for the keyset of `proven`."""
    at = unix()
    terms = worker_terms(hello, challenge, worker=keyset_digest(proven.keyset), at=at)
    return Identify(
        keyset=canonical.encode(proven.keyset).decode(),
        evidence=canonical.encode(proven.evidence).decode(),
        offers=[canonical.encode(offer).decode() for offer in offers],
        at=at,
        signature=keys.link.sign(Kind.LINK_WORKER, terms).hex(),
        collateral=canonical.encode(proven.collateral).decode(),
    )


@contextlib.asynccontextmanager
async def lying(
    target: Target, *, keys: Keys | None = None, offer: SignedOffer | None = None
) -> AsyncIterator[Liar]:
    """A worker that the gateway has listed; raises `SentAway` where it is refused."""
    keys = keys or Keys.fresh(await record_of(target))
    proven = await target.forge.prove(keys.keyset)
    offer = offer or keys.offer()
    async with dialled(target) as wire:
        hello, challenge = await wire.greet()
        word = identify(hello, challenge, keys=keys, proven=proven, offers=[offer])
        await wire.say(LinkType.IDENTIFY, word)
        await wire.hear()
        liar = Liar(keys, offer, wire.socket, challenge.gateway, mux=wire.mux, first=wire.frames)
        task = asyncio.create_task(liar.run())
        try:
            await _listed(target, liar.worker, wanted=True)
            yield liar
        finally:
            await liar.socket.close()
            await asyncio.gather(task, return_exceptions=True)
            await _listed(target, liar.worker, wanted=False)


async def _listed(target: Target, worker: str, *, wanted: bool) -> None:
    """Wait until the directory shows a worker, or no longer."""
    forger = Forger(target)
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            shown = (await forger.directory()).workers
            if any(keyset_digest(entry.keyset) == worker for entry in shown) is wanted:
                return
            await asyncio.sleep(0.02)
