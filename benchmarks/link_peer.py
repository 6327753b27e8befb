"""A scripted worker for the relay bench: prepared ciphertext, real statements and signatures.

    python -m benchmarks.link_peer LINK_URL SIMULATED_ROOT      (a process of its own)

What costs the gateway nothing is prepared once (frames of the sealed tier are random bytes of the
right size); what the gateway checks or opens is real: evidence, offers, transcripts, bare answers,
Merkle batches, signatures.
"""

import asyncio
import hashlib
import importlib.metadata
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from bombyx import canonical
from bombyx.attestation.simulated import image_measurement
from bombyx.envelope.documents import ResponseHead
from bombyx.envelope.frames import FINAL, FrameType, encode_frame
from bombyx.envelope.header import Header
from bombyx.envelope.response import Padding, ResponseSealer, Transcript
from bombyx.link.documents import SessionStart, Settle
from bombyx.link.frames import LinkFrame, LinkType
from bombyx.link.mux import Mux
from bombyx.link.open import Open, SessionKey, parse_open
from bombyx.money.batch import Batch, leaf_hash, root, root_and_paths
from bombyx.money.cost import Rates, Tokens, price
from bombyx.money.offer import Prices
from bombyx.money.receipt import Receipt
from bombyx.money.statement import GENESIS, Statement, Status, TokenCounts, statement_hash
from bombyx.signing import Kind
from worker.attest.simulated import SimulatedQuoter
from worker.attest.simulated_root import load_or_create_root
from worker.engine.port import EngineModel
from worker.identity import Boot, Generation, new_generation
from worker.link.handshake import Handshake
from worker.sessions import Sessions

MODEL = "bench"
DIGEST = hashlib.sha256(b"bench").hexdigest()
PRICES = Prices(prompt="20000000", cached="5000000", completion="60000000", reasoning="60000000")
BATCH_SECONDS = 0.002
SETTLE_SECONDS = 0.25
_FRAME = os.urandom(512 + 16)
_HEADER = msgspec.json.Decoder(Header)
_HEAD = ResponseHead(status=200, headers=[("content-type", "application/json")])
_TEXT = b"x" * 340


class Prepared:
    """Stands in for `ResponseSealer`: frames made beforehand, a real transcript."""

    def __init__(self, h: bytes, salt: bytes) -> None:
        self.salt = salt
        self._transcript = Transcript(h, salt)

    def head(self, _head: ResponseHead) -> bytes:
        """The first frame."""
        return self._add(FrameType.HEAD)

    def data(self, _payload: bytes) -> bytes:
        """A token."""
        return self._add(FrameType.DATA)

    def fix(self) -> tuple[bytes, int]:
        """Hash and length so far."""
        return self._transcript.digest(), self._transcript.length

    def usage(self, receipt: bytes) -> bytes:
        """The receipt."""
        return encode_frame(FrameType.USAGE, 0, receipt)

    def end(self, _statement: bytes) -> bytes:
        """The last frame."""
        return encode_frame(FrameType.END, FINAL, _FRAME[:100])

    def _add(self, kind: FrameType) -> bytes:
        frame = encode_frame(kind, 0, _FRAME)
        self._transcript.add(frame)
        return frame


@dataclass(slots=True)
class Job:
    """One request being answered."""

    stream: int
    header: Header
    open: Open
    request: "hashlib._Hash"
    sealer: Prepared | ResponseSealer


@dataclass(slots=True)
class Peer:
    """The scripted worker; `tokens` frames a request, `gap` seconds apart."""

    boot: Boot
    generation: Generation
    tokens: int
    gap: float
    mux: Mux = field(default_factory=Mux)
    due: asyncio.Event = field(default_factory=asyncio.Event)
    jobs: dict[int, Job] = field(default_factory=dict)
    waiting: list[tuple[Job, Statement]] = field(default_factory=list)
    unsettled: list[tuple[int, bytes]] = field(default_factory=list)
    gateway: str = ""
    sessions: Sessions | None = None
    n: int = 0
    prev: str = GENESIS

    def on_open(self, stream: int, payload: bytes) -> None:
        """A request begins."""
        request = parse_open(payload)
        header = _HEADER.decode(request.header)
        sealer = self._sealer(request, hashlib.sha256(request.header).digest())
        self.jobs[stream] = Job(stream, header, request, hashlib.sha256(), sealer)

    def _sealer(self, request: Open, h: bytes) -> Prepared | ResponseSealer:
        """A real one where the gateway opens the answer: in the bare tier."""
        salt = os.urandom(32)
        if not isinstance(request.key, SessionKey) or self.sessions is None:
            return Prepared(h, salt)
        secret = self.sessions.keys(request.key, int(time.time())).response_secret
        return ResponseSealer(secret, h=h, salt=salt, padding=Padding.BUCKET)

    def on_end(self, stream: int) -> None:
        """A request is whole: answer it."""
        job = self.jobs.pop(stream)
        self.mux.send(stream, job.sealer.salt + job.sealer.head(_HEAD))
        if self.gap:
            asyncio.get_running_loop().create_task(self._pace(job))
            return
        for _ in range(self.tokens):
            self.mux.send(stream, job.sealer.data(_TEXT))
        self._finish(job)

    async def _pace(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time()
        for _ in range(self.tokens):
            at += self.gap
            await asyncio.sleep(at - loop.time())
            self.mux.send(job.stream, job.sealer.data(_TEXT))
            self.due.set()
        self._finish(job)

    def _finish(self, job: Job) -> None:
        """Write the statement; it goes out with the next batch."""
        resp_ct_hash, resp_ct_bytes = job.sealer.fix()
        header, record = job.header, self.generation.models[MODEL]
        counts = Tokens(100, 0, self.tokens, 0)
        cost = price(counts, Rates.of(PRICES), header.fee_bps)
        statement = Statement(
            v="bombyx/1", c=job.open.c.hex(), id=header.id, tier=header.tier,
            h=hashlib.sha256(job.open.header).hexdigest(),
            payer=header.payer, gateway=header.gateway, worker=self.generation.worker,
            boot=self.boot.id, n=self.n, seq=0, model=MODEL, weights=record.weights,
            engine=record.engine, offer=header.candidates[0].offer, prices=PRICES,
            tokens=TokenCounts(prompt=100, cached=0, completion=self.tokens, reasoning=0),
            amount_nano=str(cost.amount), fee_bps=header.fee_bps, fee_nano=str(cost.fee),
            charge_nano=str(cost.charge), req_ct_hash=job.request.hexdigest(),
            resp_ct_hash=resp_ct_hash.hex(), resp_ct_bytes=resp_ct_bytes,
            status=Status.FINAL, ticket=job.open.ticket.hex(), at=time.time_ns() // 10**6,
            prev=self.prev,
        )  # fmt: skip
        self.prev = statement_hash(statement).hex()
        self.n += 1
        self.waiting.append((job, statement))

    def flush(self) -> None:
        """One signature over what is waiting, then the clear frames and the ends."""
        waiting, self.waiting = self.waiting[:64], self.waiting[64:]
        if not waiting:
            return
        leaves = [leaf_hash(canonical.encode(statement)) for _, statement in waiting]
        top, paths = root_and_paths(leaves)
        batch = self._batch(top, len(leaves), waiting[0][1].n)
        signature = self.boot.receipt.sign(Kind.BATCH, batch).hex()
        for (job, statement), path in zip(waiting, paths, strict=True):
            receipt = Receipt(
                statement=statement, path=[p.hex() for p in path], batch=batch, signature=signature
            )
            usage = job.sealer.usage(canonical.encode(receipt))
            self.mux.send(job.stream, usage + job.sealer.end(statement_hash(statement)))
            self.mux.send_frame(job.stream, LinkType.END, b"")
            self.mux.close(job.stream)
        first = waiting[0][1].n
        self.unsettled += [(first + index, leaf) for index, leaf in enumerate(leaves)]
        if len(self.unsettled) >= 64:
            self.settle()
        self.due.set()

    def settle(self) -> None:
        """One signature for the gateway over what it has not settled."""
        batch, self.unsettled = self.unsettled[:64], self.unsettled[64:]
        if not batch:
            return
        leaves = [leaf for _, leaf in batch]
        document = self._batch(root(leaves), len(leaves), batch[0][0])
        signature = self.boot.receipt.sign(Kind.SETTLE, document).hex()
        settle = Settle(leaves=[leaf.hex() for leaf in leaves], batch=document, signature=signature)
        self.mux.document(LinkType.SETTLE, canonical.encode(settle))
        self.due.set()

    def _batch(self, top: bytes, count: int, first: int) -> Batch:
        return Batch(
            boot=self.boot.id, gateway=self.gateway, root=top.hex(), count=count, first_n=first
        )


async def make_peer(root_file: Path, *, tokens: int, gap: float) -> Peer:
    """Keys, evidence and one offer."""
    now = int(time.time())
    simulated = load_or_create_root(root_file, now=now)
    boot = Boot.fresh()
    model = EngineModel(
        id=MODEL, context=100_000, weights=DIGEST, engine=DIGEST, bytes_factor=1, overhead=64,
        max_image_tokens=0,
    )  # fmt: skip
    image = image_measurement(importlib.metadata.version("bombyx"))
    quoter = SimulatedQuoter(simulated, image=image, clock=lambda: int(time.time()))
    generation = await new_generation(boot, quoter, models=[model], payout="bench", now=now)
    generation.offers.publish(
        {MODEL: PRICES},
        worker=generation.worker,
        signer=boot.link,
        max_concurrency=10_000,
        not_after=generation.keyset.not_after,
        now=now,
    )
    return Peer(boot, generation, tokens, gap)


async def serve(peer: Peer, link_url: str) -> None:
    """Dial the gateway, then answer whatever it opens until it hangs up."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(link_url, compress=0, max_msg_size=2**20) as socket,
    ):
        met = await Handshake(socket, peer.mux).meet(
            link_url, boot=peer.boot, generation=peer.generation, now=int(time.time())
        )
        peer.gateway = met.gateway
        peer.sessions = Sessions(gateway=met.gateway)
        tasks = [asyncio.create_task(work) for work in (_pump(peer, socket), _tick(peer))]
        sys.stdout.write(msgspec.json.encode({"worker": peer.generation.worker}).decode() + "\n")
        sys.stdout.flush()
        try:
            async for message in socket:
                for frame in peer.mux.receive(message.data):
                    _take(peer, frame)
                peer.due.set()
        finally:
            for task in tasks:
                task.cancel()


def _take(peer: Peer, frame: LinkFrame) -> None:
    if frame.type == LinkType.OPEN:
        peer.on_open(frame.stream, frame.payload)
    elif frame.type == LinkType.DATA:
        peer.jobs[frame.stream].request.update(frame.payload)
        peer.mux.consumed(frame.stream, len(frame.payload))
    elif frame.type == LinkType.END:
        peer.on_end(frame.stream)
    elif frame.type == LinkType.SESSION and peer.sessions is not None:
        start = canonical.decode(frame.payload, SessionStart)
        peer.sessions.start(start, peer.generation, int(time.time()))
    elif frame.type == LinkType.PING:
        peer.mux.document(LinkType.PONG, frame.payload)


async def _pump(peer: Peer, socket: aiohttp.ClientWebSocketResponse) -> None:
    while True:
        await peer.due.wait()
        peer.due.clear()
        while message := peer.mux.next_message():
            await socket.send_bytes(message)


async def _tick(peer: Peer) -> None:
    last = 0.0
    while True:
        await asyncio.sleep(BATCH_SECONDS)
        while peer.waiting:
            peer.flush()
        if time.monotonic() - last > SETTLE_SECONDS:
            last = time.monotonic()
            peer.settle()


async def _main(link_url: str, root_file: str, tokens: str, gap: str) -> None:
    peer = await make_peer(Path(root_file), tokens=int(tokens), gap=float(gap))
    await serve(peer, link_url)


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
