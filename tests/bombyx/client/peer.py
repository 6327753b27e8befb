"""A gateway with its workers in one ASGI application: honest, or lying as a test tells it to.

Everything it signs is genuine and every worker has real (simulated) evidence, so that what the
client refuses, it refuses for the lie alone. It keeps the bytes of all it received.
"""

import asyncio
import base64
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import uvicorn

from bombyx import canonical
from bombyx.attestation.binding import report_data
from bombyx.attestation.collateral import collateral_digest
from bombyx.attestation.directory import Directory, Entry
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.policy import Policy, parse_policy
from bombyx.attestation.simulated import image_measurement
from bombyx.chat.sse import DONE, encode_event
from bombyx.envelope.documents import RelayNote, ResponseHead
from bombyx.envelope.frames import FrameType, encode_frame
from bombyx.envelope.request import (
    RequestHead,
    RequestKeys,
    check_auth,
    check_commitment,
    open_frames,
    parse_request,
    unwrap,
)
from bombyx.envelope.response import Padding, ResponseSealer
from bombyx.link.documents import Lost, SignedLost
from bombyx.money.offer import SignedOffer
from bombyx.money.statement import Statement, Status, TokenCounts, statement_hash
from bombyx.signing import Kind, Signer
from tests.factories import (
    FEE_BPS,
    GATEWAY,
    MODEL,
    NOW,
    WorkerKeys,
    hex_of,
    offer,
    priced,
    receipts,
    seed,
    signed_offer,
    statement,
    worker,
)
from worker.attest.simulated_collateral import mint_collateral
from worker.attest.simulated_platform import Body, SimulatedPlatform
from worker.attest.simulated_root import SimulatedRoot, root_sha256

ROOT = SimulatedRoot.create(now=NOW)
PLATFORM = SimulatedPlatform.create(ROOT, now=NOW)
COLLATERAL = mint_collateral(PLATFORM, now=NOW)
IMAGE = image_measurement("0.1.0")
ANSWER = "The silkworm spins a cocoon of a single thread."
SEALED_STREAM = "application/vnd.bombyx.sealed-stream"
PROBLEM = "application/problem+json"
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 10},
}
TOKENS = TokenCounts(prompt=100, cached=64, completion=50, reasoning=10)
NOTHING = TokenCounts(prompt=0, cached=0, completion=0, reasoning=0)


def policy(**changes: Any) -> Policy:
    """Accepts the workers of this file."""
    return parse_policy(policy_table(**changes))


def policy_table(**changes: Any) -> dict[str, Any]:
    """The same as a table."""
    return {
        "version": 1,
        "network": "local",
        "platforms": ["simulated"],
        "gateways": [GATEWAY.public_hex],
        "simulated": {
            "roots": [root_sha256(ROOT)],
            "mr_td": [IMAGE.hex()],
            "accepted_tcb": ["UpToDate"],
        },
        "models": {MODEL: {"weights": [hex_of("weights")], "engines": [hex_of("engine")]}},
        **changes,
    }


def entry(of: WorkerKeys, *, offers: Sequence[SignedOffer] | None = None, **body: Any) -> Entry:
    """A directory entry with a quote for the worker's keyset."""
    told = Body(image=IMAGE, report_data=report_data(canonical.digest(of.keyset), []))
    quote = PLATFORM.quote(replace(told, **body))
    evidence = Evidence(
        platform="simulated",
        quote=base64.b64encode(quote).decode(),
        gpus=[],
        collateral=collateral_digest(COLLATERAL),
    )
    return Entry(
        keyset=of.keyset,
        evidence=evidence,
        offers=list(offers) if offers is not None else [signed_offer(of)],
    )


ENTRIES = {name: entry(worker(name)) for name in ("a", "b")}


@dataclass
class Received:
    """One request as it came over the wire."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """One answer as it goes over the wire."""

    status: int
    content_type: str
    pieces: list[bytes]
    headers: dict[str, str] = field(default_factory=dict)
    breaks: bool = False
    """Close the connection instead of ending the body."""


def lost_note(c: str, *, gateway: Signer = GATEWAY, **changes: Any) -> SignedLost:
    """A gateway's word that a commitment is never billed, genuine but for the changes."""
    lost = Lost(**{"gateway": gateway.public_hex, "c": c, "at": NOW * 1000, **changes})
    return SignedLost(lost=lost, signature=gateway.sign(Kind.LOST, lost).hex())


def problem(
    status: int, code: str, refusals: Sequence[Any] = (), lost: SignedLost | None = None
) -> Reply:
    """A refusal as gateways send it."""
    document = {
        "type": "about:blank",
        "title": code,
        "status": status,
        "code": code,
        "refusals": [msgspec.to_builtins(one) for one in refusals],
        "error": {"message": f"refused: {code}", "type": "invalid_request_error", "code": code},
        **({} if lost is None else {"lost": msgspec.to_builtins(lost)}),
    }
    return Reply(status, PROBLEM, [msgspec.json.encode(document)])


def plain_error(status: int, code: str) -> Reply:
    """An error in OpenAI's shape."""
    error = {"message": f"no: {code}", "type": "server_error", "code": code, "param": None}
    return Reply(status, "application/json", [msgspec.json.encode({"error": error})])


def note(code: str = "link_lost") -> bytes:
    """The gateway's clear word on a broken stream."""
    document = RelayNote(code=code, retryable=True)
    return encode_frame(FrameType.RELAY_NOTE, 0, canonical.encode(document))


@dataclass
class Opened:
    """What the answering worker knows of a request."""

    keys: WorkerKeys
    head: RequestHead
    secret: RequestKeys
    body: dict[str, Any]
    frames: bytes


def open_request(data: bytes, by: WorkerKeys) -> Opened:
    """Open a request with all of the worker's checks of cryptography."""
    head, frames = parse_request(data)
    header = head.header.header
    place = [candidate.worker for candidate in header.candidates].index(by.id)
    mine = bytes.fromhex(by.id)
    secret = unwrap(head.wraps[place], by.sealing, worker=mine, h=head.header.h, c=head.c)
    hashed = hashlib.sha256(frames).digest()
    check_commitment(secret, h=head.header.h, c=head.c, req_ct_hash=hashed)
    check_auth(head.c, head.auth, bytes.fromhex(header.payer))
    plain = open_frames(secret.dek, head.header.h, frames)
    return Opened(by, head, secret, msgspec.json.decode(plain.body), frames)


def events(body: dict[str, Any], text: str = ANSWER) -> list[bytes]:
    """The worker's answer: events, or one document."""
    shared = {"id": "chatcmpl-1", "created": NOW, "model": MODEL}
    if not body.get("stream"):
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
            "logprobs": None,
        }
        whole = {**shared, "object": "chat.completion", "choices": [choice], "usage": USAGE}
        return [msgspec.json.encode(whole)]
    chunk = {**shared, "object": "chat.completion.chunk"}
    words = [{"index": 0, "delta": {"content": word + " "}} for word in text.split()]
    words.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    out = [encode_event(msgspec.json.encode({**chunk, "choices": [word]})) for word in words]
    if (body.get("stream_options") or {}).get("include_usage"):
        out.append(encode_event(msgspec.json.encode({**chunk, "choices": [], "usage": USAGE})))
    return [*out, DONE]


Change = Callable[[Statement], Statement]
SALTS = iter(range(2**32))


@dataclass
class Script:
    """How the worker answers; the defaults are honest."""

    text: str = ANSWER
    head_status: int = 200
    error: dict[str, Any] | None = None
    error_at: int | None = None
    """Seal the error frame after so many pieces; None puts it in the head's stead."""
    tokens: TokenCounts = TOKENS
    statement: Change = lambda told: told
    status: Status = Status.FINAL
    partial_at: int | None = None
    """Sign a partial statement after so many pieces."""
    partial: Change = lambda told: told
    signer: str = ""
    """The worker whose key signs the receipt, if not the one who answers."""
    content_type: str = ""


def answer(opened: Opened, script: Script) -> list[bytes]:
    """The worker's frames, the salt with the head."""
    salt = seed(f"salt {next(SALTS)}")
    sealer = ResponseSealer(
        opened.secret.response_secret, h=opened.head.header.h, salt=salt, padding=Padding.BUCKET
    )
    form = "text/event-stream" if opened.body.get("stream") else "application/json"
    pieces = events(opened.body, script.text)
    if script.head_status != 200:
        form, pieces = "application/json", [msgspec.json.encode({"error": script.error})]
    head = ResponseHead(
        status=script.head_status, headers=[("content-type", script.content_type or form)]
    )
    frames = [salt + sealer.head(head)]
    for number, piece in enumerate(pieces[: script.error_at]):
        if number == script.partial_at:
            frames.append(sealer.usage(_partial(opened, script, *sealer.fix())))
        frames.append(sealer.data(piece))
    if script.error_at is not None:
        frames.append(sealer.error(msgspec.json.encode({"error": script.error})))
    told = script.statement(_statement(opened, script, *sealer.fix()))
    signer = worker(script.signer).receipt if script.signer else opened.keys.receipt
    receipt = receipts([told], signer)[0]
    return [*frames, sealer.usage(canonical.encode(receipt)), sealer.end(statement_hash(told))]


def _partial(opened: Opened, script: Script, hashed: bytes, size: int) -> bytes:
    """A statement on the way: half of the tokens, signed by the worker itself."""
    half = TokenCounts(prompt=100, cached=64, completion=25, reasoning=10)
    told = _statement(opened, replace(script, tokens=half), hashed, size)
    changes = {"status": Status.PARTIAL, "seq": 0}
    told = script.partial(priced(msgspec.structs.replace(told, **changes)))
    return canonical.encode(receipts([told], opened.keys.receipt)[0])


def _statement(opened: Opened, script: Script, hashed: bytes, size: int) -> Statement:
    header, keys = opened.head.header.header, opened.keys
    aborted = script.error_at is not None
    told = statement(
        keys,
        c=opened.head.c.hex(),
        h=opened.head.header.h.hex(),
        id=header.id,
        payer=header.payer,
        gateway=header.gateway,
        model=header.model,
        tokens=script.tokens,
        offer=next(one.offer for one in header.candidates if one.worker == keys.id),
        prices=offer(keys).prices,
        fee_bps=header.fee_bps,
        req_ct_hash=hashlib.sha256(opened.frames).hexdigest(),
        resp_ct_hash=hashed.hex(),
        resp_ct_bytes=size,
        status=Status.ABORTED if aborted else script.status,
        seq=0 if script.partial_at is None else 1,
    )
    return priced(told)


@dataclass
class Peer:
    """The application. `relay` changes the frames on their way, `instead` replaces an answer."""

    script: Script = field(default_factory=Script)
    entries: list[Entry] = field(default_factory=lambda: list(ENTRIES.values()))
    gateway: str = GATEWAY.public_hex
    fee_bps: int = FEE_BPS
    default_output: int = 128
    relay: Callable[[list[bytes]], list[bytes]] = lambda frames: frames
    instead: Callable[["Peer", Received], Reply | None] = lambda _peer, _received: None
    pause: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    opened: list[Opened] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def posts(self) -> list[Received]:
        return [one for one in self.received if one.method == "POST"]

    def saw(self, text: str) -> bool:
        """Whether a text was in anything that came over the wire."""
        return any(text in f"{one.path}{one.query}{one.headers}" for one in self.received) or any(
            text.encode() in one.body for one in self.received
        )

    def pick(self, data: bytes) -> WorkerKeys:
        """The worker that gets a request: the first candidate that is ours."""
        header = parse_request(data)[0].header.header
        known = {worker(name).id: worker(name) for name in ENTRIES}
        return next(known[one.worker] for one in header.candidates if one.worker in known)

    def directory(self) -> Directory:
        return Directory(
            gateway=self.gateway,
            fee_bps=self.fee_bps,
            default_max_output_tokens=self.default_output,
            deadline_s=900,
            now=NOW,
            workers=self.entries,
            collateral={collateral_digest(COLLATERAL): COLLATERAL},
        )

    def reply(self, received: Received) -> Reply:
        if (instead := self.instead(self, received)) is not None:
            return instead
        if received.path == "/v1/confidential/workers":
            return Reply(200, "application/json", [msgspec.json.encode(self.directory())])
        if received.path == "/v1/models":
            models = {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
            return Reply(200, "application/json", [msgspec.json.encode(models)])
        if received.path != "/v1/chat/completions":
            return plain_error(404, "not_found")
        opened = open_request(received.body, self.pick(received.body))
        self.opened.append(opened)
        labels = {"x-bombyx-worker": opened.keys.id, "x-request-id": "req-1", **self.labels}
        return Reply(200, SEALED_STREAM, self.relay(answer(opened, self.script)), labels)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        received = Received(
            scope["method"], scope["path"], scope["query_string"].decode(), headers, body
        )
        self.received.append(received)
        reply = self.reply(received)
        names = {"content-type": reply.content_type, **reply.headers}
        raw = [(name.encode(), value.encode()) for name, value in names.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        watch = asyncio.create_task(self._watch(receive))
        for piece in reply.pieces:
            if self.left.is_set():
                break
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(self.pause)
        watch.cancel()
        if reply.breaks:
            raise ConnectionResetError
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, receive: Any) -> None:
        await receive()
        self.left.set()


@contextlib.asynccontextmanager
async def serve(app: Any, sockets: list[socket.socket] | None = None) -> AsyncIterator[str]:
    """An ASGI application on a port of its own, or on sockets given; gives its origin."""
    listening = sockets or [socket.create_server(("127.0.0.1", 0), backlog=64)]
    config = uvicorn.Config(
        app, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=listening))
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        for one in listening:
            one.close()
