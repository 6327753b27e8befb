"""A worker's end of a link that does what it is told, also what no worker does.

The evidence, the handshake and the frames are real; answers, statements and their proofs are the
test's to make. What it "seals" is random: the gateway cannot tell.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import aiohttp
import msgspec

from bombyx import canonical
from bombyx.attestation.simulated import image_measurement
from bombyx.envelope.documents import ResponseHead
from bombyx.envelope.frames import FINAL, FrameType, encode_frame
from bombyx.envelope.header import Header
from bombyx.envelope.response import Padding, ResponseSealer, Transcript
from bombyx.envelope.session import request_keys, session_info, unwrap_session
from bombyx.link.documents import Ack, Disposition, Goaway, Refusal, SessionStart, SignedRefusal
from bombyx.link.frames import LinkFrame, LinkType
from bombyx.link.mux import Mux
from bombyx.link.open import Open, SessionKey, parse_open
from bombyx.money.batch import Batch, leaf_hash, root
from bombyx.money.cost import Rates, Tokens, price
from bombyx.money.offer import Prices
from bombyx.money.receipt import Receipt
from bombyx.money.statement import GENESIS, Statement, Status, TokenCounts, statement_hash
from bombyx.signing import Kind
from tests.network.harness import Network
from worker.attest.port import Quoter
from worker.attest.simulated import SimulatedQuoter
from worker.clock import now_ms
from worker.engine.port import EngineModel
from worker.engine.scripted import Scripted, ScriptedEngine
from worker.identity import Boot, Generation, new_generation
from worker.link.handshake import Handshake

PRICES = Prices(prompt="20000000", cached="5000000", completion="60000000", reasoning="60000000")
TEXT = os.urandom(528)
Change = Callable[[Statement], Statement]


def unix() -> int:
    return now_ms() // 1000


def replacing(**changes: Any) -> Change:
    return lambda statement: msgspec.structs.replace(statement, **changes)


@dataclass(slots=True)
class Job:
    """One request as this worker got it, and what it has sent of an answer."""

    stream: int
    open: Open
    header: Header
    frames: bytearray = field(default_factory=bytearray)
    sent: Transcript | None = None
    reset: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def h(self) -> bytes:
        return hashlib.sha256(self.open.header).digest()


@dataclass(slots=True)
class Liar:
    """`jobs` yields requests that came whole."""

    boot: Boot
    generation: Generation
    socket: aiohttp.ClientWebSocketResponse
    mux: Mux
    gateway: str
    rest: list[LinkFrame]
    prices: Prices = PRICES
    jobs: asyncio.Queue[Job] = field(default_factory=asyncio.Queue)
    acks: list[Disposition] = field(default_factory=list)
    goaways: list[Goaway] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    sessions: dict[str, bytes] = field(default_factory=dict)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    _open: dict[int, Job] = field(default_factory=dict)
    n: int = 0

    @property
    def worker(self) -> str:
        return self.generation.worker

    async def run(self) -> None:
        for frame in self.rest:
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
            case LinkType.RESET:
                self._open[frame.stream].reset.set()
            case LinkType.ACK:
                self.acks += canonical.decode(frame.payload, Ack).dispositions
            case LinkType.GOAWAY:
                self.goaways.append(canonical.decode(frame.payload, Goaway))
            case LinkType.PING:
                self.mux.document(LinkType.PONG, frame.payload)
            case LinkType.PONG:
                self.pongs.append(frame.payload)
            case LinkType.SESSION:
                self._start(canonical.decode(frame.payload, SessionStart))

    def _start(self, start: SessionStart) -> None:
        info = session_info(
            bytes.fromhex(self.worker), bytes.fromhex(self.gateway), bytes.fromhex(start.session)
        )
        self.sessions[start.session] = unwrap_session(
            self.generation.sealing_key, bytes.fromhex(start.wrapped), info
        )

    async def flush(self) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError, aiohttp.ClientError):
            while message := self.mux.next_message():
                await self.socket.send_bytes(message)

    async def job(self) -> Job:
        async with asyncio.timeout(5):
            return await self.jobs.get()

    # --- Answers ---

    async def begin(self, job: Job) -> None:
        """Salt and head: nothing that a client sees."""
        salt = os.urandom(32)
        job.sent = Transcript(job.h, salt)
        head = encode_frame(FrameType.HEAD, 0, TEXT)
        job.sent.add(head)
        await self.data(job, salt + head)

    async def token(self, job: Job, count: int = 1) -> None:
        assert job.sent is not None
        for _ in range(count):
            frame = encode_frame(FrameType.DATA, 0, TEXT)
            job.sent.add(frame)
            self.mux.send(job.stream, frame)
        await self.flush()

    async def data(self, job: Job, data: bytes) -> None:
        self.mux.send(job.stream, data)
        await self.flush()

    async def word(self, job: Job, kind: LinkType, payload: bytes = b"") -> None:
        self.mux.send_frame(job.stream, kind, payload)
        await self.flush()

    async def document(self, kind: LinkType, payload: bytes) -> None:
        self.mux.document(kind, payload)
        await self.flush()

    def statement(self, job: Job, *, tokens: int = 10, seq: int = 0) -> Statement:
        """An honest one for what was sent so far."""
        header, record = job.header, self.generation.models[job.header.model]
        cost = price(Tokens(5, 0, tokens, 0), Rates.of(self.prices), header.fee_bps)
        sent = job.sent or Transcript(job.h, b"")
        candidate = next(one for one in header.candidates if one.worker == self.worker)
        self.n += 1
        return Statement(
            v="bombyx/1",
            c=job.open.c.hex(),
            h=job.h.hex(),
            id=header.id,
            tier=header.tier,
            payer=header.payer,
            gateway=self.gateway,
            worker=self.worker,
            boot=self.boot.id,
            n=self.n - 1,
            seq=seq,
            model=header.model,
            weights=record.weights,
            engine=record.engine,
            offer=candidate.offer,
            prices=self.prices,
            tokens=TokenCounts(prompt=5, cached=0, completion=tokens, reasoning=0),
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

    def batch(self, statement: Statement, **changes: Any) -> Batch:
        leaf = leaf_hash(canonical.encode(statement))
        honest = Batch(
            boot=self.boot.id, gateway=self.gateway, root=leaf.hex(), count=1, first_n=statement.n
        )
        return msgspec.structs.replace(honest, **changes)

    def receipt(self, statement: Statement) -> Receipt:
        batch = self.batch(statement)
        signature = self.boot.receipt.sign(Kind.BATCH, batch).hex()
        return Receipt(statement=statement, path=[], batch=batch, signature=signature)

    async def partial(self, job: Job, statement: Statement, *, signature: str = "") -> None:
        assert job.sent is not None
        receipt = self.receipt(statement)
        if signature:
            receipt = msgspec.structs.replace(receipt, signature=signature)
        frame = encode_frame(FrameType.USAGE, 0, canonical.encode(receipt))
        job.sent.add(frame)
        await self.data(job, frame)

    async def finish(self, job: Job, statement: Statement, *, settle: bool = True) -> None:
        """Receipt, end frame, end of the stream, and the settle batch."""
        usage = encode_frame(FrameType.USAGE, 0, canonical.encode(self.receipt(statement)))
        end = encode_frame(FrameType.END, FINAL, TEXT[:100])
        self.mux.send(job.stream, usage + end)
        self.mux.send_frame(job.stream, LinkType.END, b"")
        if settle:
            self.settle([statement])
        await self.flush()

    def settle(self, statements: list[Statement], **changes: Any) -> None:
        leaves = [leaf_hash(canonical.encode(statement)) for statement in statements]
        batch = self.batch(
            statements[0], **{"root": root(leaves).hex(), "count": len(leaves), **changes}
        )
        document = {
            "leaves": [leaf.hex() for leaf in leaves],
            "batch": batch,
            "signature": self.boot.receipt.sign(Kind.SETTLE, batch).hex(),
        }
        self.mux.document(LinkType.SETTLE, canonical.encode(document))

    async def refuse(self, job: Job, code: str, fault: str, **changes: Any) -> None:
        document = Refusal(
            **{
                "worker": self.worker,
                "gateway": self.gateway,
                "code": code,
                "fault": fault,
                "at": now_ms(),
                "c": job.open.c.hex(),
                "h": job.h.hex(),
                **changes,
            }
        )
        signature = self.boot.receipt.sign(Kind.REFUSAL, document).hex()
        signed = SignedRefusal(refusal=document, signature=signature, message="not today")
        await self.word(job, LinkType.REFUSAL, canonical.encode(signed))

    def sealer(self, job: Job) -> ResponseSealer:
        """Of a bare request: really sealed, since the gateway opens it."""
        key = job.open.key
        assert isinstance(key, SessionKey)
        keys = request_keys(self.sessions[key.session.hex()], key.counter)
        salt = os.urandom(32)
        return ResponseSealer(keys.response_secret, h=job.h, salt=salt, padding=Padding.BUCKET)

    async def answer_bare(
        self, job: Job, pieces: list[bytes], *, head: ResponseHead | None = None
    ) -> None:
        """A whole answer, honest but for what it says."""
        sealer = self.sealer(job)
        out = sealer.salt + sealer.head(
            head or ResponseHead(status=200, headers=[("content-type", "text/event-stream")])
        )
        for piece in pieces:
            out += sealer.data(piece)
        digest, length = sealer.fix()
        statement = replacing(resp_ct_hash=digest.hex(), resp_ct_bytes=length)(self.statement(job))
        out += sealer.usage(canonical.encode(self.receipt(statement)))
        out += sealer.end(statement_hash(statement))
        for at in range(0, len(out), 2**16):
            while not self.mux.has_credit(job.stream):
                await asyncio.sleep(0.01)
            await self.data(job, out[at : at + 2**16])
        await self.word(job, LinkType.END)
        self.settle([statement])
        await self.flush()


async def make_generation(
    net: Network,
    *,
    boot: Boot,
    quoter: Quoter | None = None,
    prices: Prices = PRICES,
    model: EngineModel | None = None,
) -> Generation:
    image = image_measurement(version("bombyx"))
    quoter = quoter or SimulatedQuoter(net.root, image=image, clock=unix)
    models = [model] if model else ScriptedEngine(Scripted()).models()
    generation = await new_generation(boot, quoter, models=models, payout="liar", now=unix())
    generation.offers.publish(
        dict.fromkeys(generation.models, prices),
        worker=generation.worker,
        signer=boot.link,
        max_concurrency=100,
        not_after=generation.keyset.not_after,
        now=unix(),
    )
    return generation


@contextlib.asynccontextmanager
async def dialled(net: Network) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A socket at the link endpoint, before any word."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(net.context.link_url, compress=0, max_msg_size=2**20) as socket,
    ):
        yield socket


@contextlib.asynccontextmanager
async def liar(
    net: Network,
    *,
    boot: Boot | None = None,
    generation: Generation | None = None,
    prices: Prices = PRICES,
    ahead: int = 0,
) -> AsyncIterator[Liar]:
    """A linked one, its clock so many seconds ahead; raises what the handshake raises."""
    boot = boot or Boot.fresh()
    generation = generation or await make_generation(net, boot=boot, prices=prices)
    async with dialled(net) as socket:
        mux = Mux()
        met = await Handshake(socket, mux).meet(
            net.context.link_url, boot=boot, generation=generation, now=unix() + ahead
        )
        one = Liar(boot, generation, socket, mux, met.gateway, met.rest, prices)
        task = asyncio.create_task(one.run())
        try:
            async with asyncio.timeout(5):
                while net.context.registry.get(one.worker) is None:
                    await asyncio.sleep(0.005)
            yield one
        finally:
            await socket.close()
            await asyncio.gather(task, return_exceptions=True)
            async with asyncio.timeout(5):
                while net.context.registry.get(one.worker) is not None:
                    await asyncio.sleep(0.005)
