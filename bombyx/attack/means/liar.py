"""A lying worker: dials a gateway with real evidence, then says what it likes (SPEC 10).

Keys, evidence and frames are well-formed; answers, statements and their proofs are the attack's to
make. Unlike an honest worker it seals random bytes unless told to answer properly.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from bombyx import canonical
from bombyx.attack.means.requests import Forger
from bombyx.attack.means.simulator import Proven, unix
from bombyx.attack.target import Target
from bombyx.attestation.directory import Entry
from bombyx.attestation.keyset import HpkeKey, Keyset, ModelRecord, keyset_digest
from bombyx.envelope.frames import FINAL, FrameType, encode_frame
from bombyx.envelope.header import Header
from bombyx.envelope.keys import SealingKey, encode_public_key
from bombyx.envelope.response import Transcript
from bombyx.link.documents import Ack, Disposition, Goaway, Refusal, SignedRefusal
from bombyx.link.frames import LinkFrame, LinkType
from bombyx.link.mux import Mux
from bombyx.link.open import Open, parse_open
from bombyx.money.batch import Batch, leaf_hash, root
from bombyx.money.cost import Rates, Tokens, price
from bombyx.money.offer import Offer, Prices, SignedOffer, offer_hash, sign_offer
from bombyx.money.receipt import Receipt
from bombyx.money.statement import GENESIS, Statement, Status, TokenCounts
from bombyx.signing import SEED_BYTES, Kind, Role, Signer

PRICES = Prices(prompt="20000000", cached="5000000", completion="60000000", reasoning="60000000")
LINK_PATH = "/v1/workers/link/0"
OFFER_SECONDS = 3600
WAIT_SECONDS = 10.0
NOISE = os.urandom(528)
"""A sealed frame to whoever cannot open it."""


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 10**6


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """A worker's secrets and the documents about them."""

    receipt: Signer
    link: Signer
    sealing: SealingKey
    keyset: Keyset

    @classmethod
    def fresh(cls, record: ModelRecord, **changes: Any) -> "Keys":
        """New keys for a model, in a keyset that is honest but for `changes`."""
        receipt = Signer(Role.RECEIPT, os.urandom(SEED_BYTES))
        link = Signer(Role.LINK, os.urandom(SEED_BYTES))
        sealing = SealingKey.from_seeds(os.urandom(64), os.urandom(SEED_BYTES))
        public = encode_public_key(sealing.public_bytes)
        honest = Keyset(
            v="bombyx/1",
            hpke=[HpkeKey(id=secrets.token_hex(16), alg="mlkem768-x25519", pk=public)],
            receipt_key=receipt.public_hex,
            link_key=link.public_hex,
            not_after=unix() + 12 * 3600,
            boot=secrets.token_hex(16),
            platform="simulated",
            models=[record],
            payout="liar",
        )
        return cls(receipt, link, sealing, msgspec.structs.replace(honest, **changes))

    @property
    def worker(self) -> str:
        """The worker's id."""
        return keyset_digest(self.keyset)

    def offer(self, **changes: Any) -> SignedOffer:
        """An offer, honest but for `changes`."""
        honest = Offer(
            v="bombyx/1",
            worker=self.worker,
            model=self.keyset.models[0].id,
            prices=PRICES,
            valid_until=unix() + OFFER_SECONDS,
            max_concurrency=100,
        )
        return sign_offer(msgspec.structs.replace(honest, **changes), self.link)

    def entry(self, proven: Proven, *offers: SignedOffer) -> Entry:
        """How a directory would list it."""
        return Entry(
            keyset=self.keyset,
            evidence=proven.evidence,
            offers=list(offers) or [self.offer()],
        )


@dataclass(slots=True, repr=False)
class Job:
    """One request as this worker got it, and what it has sent of an answer."""

    stream: int
    open: Open
    header: Header
    frames: bytearray = field(default_factory=bytearray)
    sent: Transcript | None = None

    @property
    def h(self) -> bytes:
        """The header's hash."""
        return hashlib.sha256(self.open.header).digest()


class SentAway(Exception):
    """Raised when the gateway refuses the worker; the message is its code."""


@dataclass(slots=True, repr=False)
class Liar:
    """A worker on a live link; `jobs` yields requests that came whole."""

    keys: Keys
    offer: SignedOffer
    socket: aiohttp.ClientWebSocketResponse
    gateway: str = ""
    mux: Mux = field(default_factory=Mux)
    jobs: asyncio.Queue[Job] = field(default_factory=asyncio.Queue)
    acks: asyncio.Queue[Disposition] = field(default_factory=asyncio.Queue)
    goaways: list[Goaway] = field(default_factory=list)
    pongs: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    first: list[LinkFrame] = field(default_factory=list)
    _open: dict[int, Job] = field(default_factory=dict)
    n: int = 0

    @property
    def worker(self) -> str:
        """The worker's id."""
        return self.keys.worker

    async def run(self) -> None:
        """Take what comes until the link is gone."""
        for frame in self.first:
            self._take(frame)
        async for message in self.socket:
            if message.type is not aiohttp.WSMsgType.BINARY:
                break
            for frame in self.mux.receive(message.data):
                self._take(frame)
            await self.flush()
        self.closed.set()

    def _take(self, frame: LinkFrame) -> None:
        match frame.type:
            case LinkType.OPEN:
                request = parse_open(frame.payload)
                header = msgspec.json.decode(request.header, type=Header)
                self._open[frame.stream] = Job(frame.stream, request, header)
            case LinkType.DATA:
                self._open[frame.stream].frames += frame.payload
                self.mux.consumed(frame.stream, len(frame.payload))
            case LinkType.END:
                self.jobs.put_nowait(self._open[frame.stream])
            case LinkType.ACK:
                for one in canonical.decode(frame.payload, Ack).dispositions:
                    self.acks.put_nowait(one)
            case LinkType.GOAWAY:
                self.goaways.append(canonical.decode(frame.payload, Goaway))
            case LinkType.PING:
                self.mux.document(LinkType.PONG, frame.payload)
            case LinkType.PONG:
                self.pongs.put_nowait(frame.payload)

    async def flush(self) -> None:
        """Send what is queued."""
        with contextlib.suppress(ConnectionError, RuntimeError, aiohttp.ClientError):
            while message := self.mux.next_message():
                await self.socket.send_bytes(message)

    async def job(self) -> Job:
        """The next request; raises `TimeoutError`."""
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.jobs.get()

    async def disposition(self, seconds: float = WAIT_SECONDS) -> Disposition | None:
        """What the gateway said of a statement, or nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self.acks.get()
        return None

    async def is_heard(self) -> bool:
        """Whether the gateway still takes what this worker says."""
        await self.document(LinkType.PING, b"12345678")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.pongs.get()
                return True
        return False

    # --- Answers ---

    async def begin(self, job: Job) -> None:
        """Salt and head, then one piece of an answer."""
        salt = os.urandom(32)
        job.sent = Transcript(job.h, salt)
        head = encode_frame(FrameType.HEAD, 0, NOISE)
        data = encode_frame(FrameType.DATA, 0, NOISE)
        job.sent.add(head)
        job.sent.add(data)
        await self.data(job, salt + head + data)

    async def data(self, job: Job, data: bytes) -> None:
        """Bytes on the request's stream."""
        self.mux.send(job.stream, data)
        await self.flush()

    async def word(self, job: Job, kind: LinkType, payload: bytes = b"") -> None:
        """A link frame on the request's stream."""
        self.mux.send_frame(job.stream, kind, payload)
        await self.flush()

    async def document(self, kind: LinkType, payload: bytes) -> None:
        """A document of the link."""
        self.mux.document(kind, payload)
        await self.flush()

    def statement(self, job: Job, *, completion: int = 10, **changes: Any) -> Statement:
        """What an honest worker would state of what was sent so far, but for `changes`."""
        header, record = job.header, self.keys.keyset.models[0]
        prices = self.offer.offer.prices
        cost = price(Tokens(5, 0, completion, 0), Rates.of(prices), header.fee_bps)
        sent = job.sent or Transcript(job.h, b"")
        self.n += 1
        honest = Statement(
            v="bombyx/1",
            c=job.open.c.hex(),
            h=job.h.hex(),
            id=header.id,
            tier=header.tier,
            payer=header.payer,
            gateway=self.gateway,
            worker=self.worker,
            boot=self.keys.keyset.boot,
            n=self.n - 1,
            seq=0,
            model=header.model,
            weights=record.weights,
            engine=record.engine,
            offer=offer_hash(self.offer.offer),
            prices=prices,
            tokens=TokenCounts(prompt=5, cached=0, completion=completion, reasoning=0),
            amount_nano=str(cost.amount),
            fee_bps=header.fee_bps,
            fee_nano=str(cost.fee),
            charge_nano=str(cost.charge),
            req_ct_hash=hashlib.sha256(job.frames).hexdigest(),
            resp_ct_hash=sent.digest().hex(),
            resp_ct_bytes=sent.length,
            status=Status.FINAL,
            ticket=job.open.ticket.hex(),
            at=now_ms(),
            prev=GENESIS,
        )
        return msgspec.structs.replace(honest, **changes)

    def batch(self, statement: Statement) -> Batch:
        """A batch of this statement alone."""
        leaf = leaf_hash(canonical.encode(statement))
        return Batch(
            boot=statement.boot,
            gateway=statement.gateway,
            root=leaf.hex(),
            count=1,
            first_n=statement.n,
        )

    def receipt(self, statement: Statement, *, signer: Signer | None = None) -> Receipt:
        """A receipt under our key, or another."""
        batch = self.batch(statement)
        signature = (signer or self.keys.receipt).sign(Kind.BATCH, batch).hex()
        return Receipt(statement=statement, path=[], batch=batch, signature=signature)

    async def end(self, job: Job, receipt: Receipt) -> None:
        """A receipt and an end frame."""
        usage = encode_frame(FrameType.USAGE, 0, canonical.encode(receipt))
        self.mux.send(job.stream, usage + encode_frame(FrameType.END, FINAL, NOISE[:100]))
        self.mux.send_frame(job.stream, LinkType.END, b"")
        await self.flush()

    async def finish(self, job: Job, statement: Statement) -> None:
        """The end of an answer, signed and settled."""
        await self.end(job, self.receipt(statement))
        await self.settle(statement)

    async def settle(
        self, *statements: Statement, signer: Signer | None = None, root_of: bytes | None = None
    ) -> None:
        """A settle batch, by our key over these statements unless told otherwise."""
        leaves = [leaf_hash(canonical.encode(statement)) for statement in statements]
        batch = msgspec.structs.replace(
            self.batch(statements[0]), root=(root_of or root(leaves)).hex(), count=len(leaves)
        )
        document = {
            "leaves": [leaf.hex() for leaf in leaves],
            "batch": batch,
            "signature": (signer or self.keys.receipt).sign(Kind.SETTLE, batch).hex(),
        }
        await self.document(LinkType.SETTLE, canonical.encode(document))

    async def refuse(self, job: Job, code: str, fault: str) -> None:
        """A refusal under our key."""
        refusal = Refusal(
            worker=self.worker,
            gateway=self.gateway,
            code=code,
            fault=fault,  # type: ignore[arg-type]  # what it may be is the attack's to choose
            at=now_ms(),
            c=job.open.c.hex(),
            h=job.h.hex(),
        )
        signature = self.keys.receipt.sign(Kind.REFUSAL, refusal).hex()
        signed = SignedRefusal(refusal=refusal, signature=signature)
        await self.word(job, LinkType.REFUSAL, canonical.encode(signed))


async def record_of(target: Target) -> ModelRecord:
    """The model's record, as the network's workers attest it."""
    listed = await Forger(target).directory()
    return listed.workers[0].keyset.models[0]


def link_url(gateway: str) -> str:
    """Where workers dial."""
    return gateway.replace("http", "ws", 1) + LINK_PATH
