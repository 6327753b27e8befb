"""Meeting a gateway (SPEC 10): hello, challenge, identify, welcome, each within its time."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
from msgspec import UNSET

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.errors import LinkError, NotCanonical
from bombyx.link.documents import Goaway
from bombyx.link.frames import LinkFrame, LinkType
from bombyx.link.hello import (
    Challenge,
    Hello,
    Identify,
    Welcome,
    check_challenge,
    worker_terms,
)
from bombyx.link.mux import Mux
from bombyx.signing import Kind
from worker.identity import Boot, Generation
from worker.ledger.till import Shown

ANSWER_SECONDS = 30.0
"""The gateway verifies our evidence between identify and welcome, and may fetch for it."""
WRONG_SLOT = 4421
"""Closes a link that came to another process than it was meant for (SPEC 10.5)."""

D = TypeVar("D", bound=Document)


class SentAway(LinkError):
    """Raised when the gateway does not want this worker; `retry` says whether to come again."""

    code = "sent_away"

    def __init__(self, goaway: Goaway) -> None:
        super().__init__(f"the gateway refuses this worker: {goaway.code}: {goaway.message}")
        self.reason = goaway.code
        self.retry = goaway.retry


class Misled(LinkError):
    """Raised when the link came to another process than the URL names; `right` may be its URL."""

    code = "link_elsewhere"

    def __init__(self, right: str) -> None:
        super().__init__("the gateway says that this link belongs elsewhere")
        self.right = right


@dataclass(frozen=True, slots=True)
class Met:
    """The gateway at the other end, proven; the offers it was told, and what it said since."""

    gateway: str
    welcome: Welcome
    offers: list[str]
    rest: list[LinkFrame]


def _nothing(_gateway: str) -> Shown:
    """Of a worker that is paid by ledgers alone."""
    return Shown()


class Handshake:
    """The worker's side over one fresh WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, mux: Mux) -> None:
        self._socket = socket
        self._mux = mux
        self._frames: list[LinkFrame] = []

    async def meet(
        self,
        url: str,
        *,
        boot: Boot,
        generation: Generation,
        now: int,
        shown: Callable[[str], Shown] = _nothing,
    ) -> Met:
        """Raises `LinkError` or `SentAway`; `now` in unix seconds.

        `shown` says how the gateway with this key pays.
        """
        hello = Hello(v="bombyx-link/1", nonce=secrets.token_hex(32))
        await self._say(LinkType.HELLO, hello)
        challenge = await self._hear(LinkType.CHALLENGE, Challenge)
        check_challenge(hello, challenge, dialled=url)
        paid = shown(challenge.gateway)
        terms = worker_terms(
            hello, challenge, worker=generation.worker, at=now, payout_key=paid.payout_key
        )
        offers = generation.offers.documents()
        collateral = generation.attested.collateral
        identify = Identify(
            keyset=canonical.encode(generation.keyset).decode(),
            evidence=canonical.encode(generation.attested.evidence).decode(),
            offers=offers,
            at=now,
            signature=boot.link.sign(Kind.LINK_WORKER, terms).hex(),
            collateral=UNSET if collateral is None else canonical.encode(collateral).decode(),
            payout_key=paid.payout_key,
            voucher=paid.voucher,
            payout_channel=paid.payout_channel,
        )
        await self._say(LinkType.IDENTIFY, identify)
        welcome = await self._hear(LinkType.WELCOME, Welcome)
        return Met(challenge.gateway, welcome, offers, self._frames)

    async def _say(self, frame_type: LinkType, document: Document) -> None:
        self._mux.document(frame_type, canonical.encode(document))
        while message := self._mux.next_message():
            await self._socket.send_bytes(message)

    async def _hear(self, frame_type: LinkType, kind: type[D]) -> D:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while not self._frames:
                    self._frames = self._mux.receive(await self._message())
        except TimeoutError:
            raise LinkError("the gateway did not answer the handshake") from None
        frame = self._frames.pop(0)
        try:
            if frame.type == LinkType.GOAWAY:
                raise SentAway(canonical.decode(frame.payload, Goaway))
            if frame.type != frame_type or frame.stream != 0:
                raise LinkError("the gateway's handshake is out of order")
            return canonical.decode(frame.payload, kind)
        except NotCanonical as error:
            raise LinkError(error.message) from None

    async def _message(self) -> bytes:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.CLOSE and message.data == WRONG_SLOT:
            raise Misled(str(message.extra or ""))
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise LinkError("the link closed during the handshake")
        data: bytes = message.data
        return data
