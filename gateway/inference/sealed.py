"""`POST` with a sealed body: parsed as far as the clear header, relayed blind (SPEC 2, 3)."""

import secrets
from collections.abc import Callable
from functools import partial
from hashlib import sha256

from bombyx.envelope.header import Candidate, HashedHeader, check_issued_at
from bombyx.envelope.request import RequestHead, parse_request
from bombyx.errors import (
    BombyxError,
    CommitmentConflict,
    InProgress,
    MalformedHeader,
    NoCandidate,
    WrongFee,
    WrongGateway,
)
from bombyx.link.open import WrappedKey
from bombyx.money.settlement import Claim
from bombyx.units import Nano
from gateway.context import Context, unix_seconds
from gateway.inference.answer import Answer, Phase
from gateway.inference.dispatcher import Job, Target
from gateway.inference.passages import SealedPassage
from gateway.inference.relay_note import note_frame
from gateway.inference.run import Run
from gateway.inference.stream import Watch, copy
from gateway.inference.wire import (
    ClientGone,
    Receive,
    Scope,
    Send,
    bearer,
    read_body,
    respond_error,
)

SEALED_TYPE = b"application/vnd.bombyx.sealed"
STREAM_TYPE = b"application/vnd.bombyx.sealed-stream"


async def serve_sealed(context: Context, scope: Scope, receive: Receive, send: Send) -> None:
    """One sealed request, from the key check to the last frame."""
    request_id = b"req_" + secrets.token_hex(12).encode()
    budget, size = context.budget, 0
    try:
        key = await context.key_ring.authenticate(bearer(scope))
        limit = context.settings.max_request_mb * 2**20
        body = await read_body(receive, limit=limit, budget=budget)
        size = len(body)
        head, frames = parse_request(body)
        check_header(context, head.header, scope["path"])
        running = context.runs.get(head.c.hex())
        if running is not None:
            await _join(running, head, key.account, (receive, send, request_id))
            return
        await context.payers.check(head.header.header.payer, key.account)
        job = sealed_job(context, head, frames, key.account)
        await _serve(context, job, (receive, send, request_id))
    except ClientGone:
        return
    except BombyxError as error:
        await respond_error(send, error, request_id=request_id)
    finally:
        budget.give(size)


_Wire = tuple[Receive, Send, bytes]


async def _serve(context: Context, job: Job, wire: _Wire) -> None:
    begun = await context.dispatcher.begin(job)
    run = begun.run
    watch = Watch(wire[0], partial(leave, run))
    try:
        answer = await context.dispatcher.answer(begun)
        await _stream(run, answer, watch, wire)
    finally:
        watch.stop()
        if not watch.gone:
            run.readers -= 1
        context.dispatcher.finish(run)


async def _join(run: Run, head: RequestHead, account: str, wire: _Wire) -> None:
    """The same bytes again: read the running or kept answer from its first frame."""
    if (run.account, run.claim.h) != (account, head.header.h.hex()):
        raise CommitmentConflict("the commitment is claimed for another request")
    if not run.joinable:
        raise InProgress("the same request runs, and its answer is too long to be joined")
    run.readers += 1
    watch = Watch(wire[0], partial(leave, run))
    try:
        while (answer := run.answer) is None or answer.phase is Phase.WAITING:
            await run.attempted(answer)
        await _stream(run, answer, watch, wire)
    finally:
        watch.stop()
        if not watch.gone:
            run.readers -= 1


async def _stream(run: Run, answer: Answer, watch: Watch, wire: _Wire) -> None:
    """Frames to one client; a broken answer ends with a note, never with a bare close."""
    _, send, request_id = wire
    listed = run.listed
    if listed is None:
        raise NoCandidate("the request was not run")
    headers = [
        (b"content-type", STREAM_TYPE),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
        (b"x-request-id", request_id),
        (b"x-bombyx-tier", b"sealed"),
        (b"x-bombyx-id", run.claim.id.encode()),
        (b"x-bombyx-worker", listed.worker.encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    consumed: Callable[[int], None] = partial(listed.link.consumed, answer)
    if not await copy(answer, send, watch=watch, consumed=consumed):
        return
    tail = b"" if answer.passage.ended else note_frame(answer.failure)
    await send({"type": "http.response.body", "body": tail, "more_body": False})


def leave(run: Run) -> None:
    """A reader hung up; with the last one the worker is told to stop (SPEC 6.5)."""
    run.readers -= 1
    answer, listed = run.answer, run.listed
    if answer is None or listed is None:
        return
    if run.readers <= 0 and answer.phase is not Phase.OVER:
        listed.link.reset(answer, "client_gone")
    answer.poke()


def check_header(context: Context, header: HashedHeader, path: str) -> None:
    """What the gateway itself must hold against a header (SPEC 2.1, 4)."""
    clear = header.header
    if clear.gateway != context.gateway:
        raise WrongGateway("the header names another gateway", param="gateway")
    if clear.path != path or clear.tier != "sealed":
        raise MalformedHeader("the header names another path or tier", param="path")
    if clear.fee_bps != context.settings.fee_bps:
        raise WrongFee(
            f"the fee is {context.settings.fee_bps} basis points: fetch the directory again",
            param="fee_bps",
        )
    check_issued_at(clear.issued_at, unix_seconds())


def sealed_job(context: Context, head: RequestHead, frames: bytes, account: str) -> Job:
    """What the dispatcher needs; raises `NoCandidate` when no candidate is linked here."""
    header = head.header.header
    claim = Claim(
        c=head.c.hex(),
        h=head.header.h.hex(),
        id=header.id,
        payer=header.payer,
        gateway=header.gateway,
        tier=header.tier,
        model=header.model,
        fee_bps=header.fee_bps,
        reserve=Nano(int(header.max_cost_nano)),
        max_input_tokens=header.max_input_tokens,
        max_output_tokens=header.max_output_tokens,
        req_ct_hash=sha256(frames).hexdigest(),
        deadline_ms=0,
        attempts=(),
    )
    targets = [
        target
        for index, candidate in enumerate(header.candidates)
        if (target := _target(context, head, index, candidate)) is not None
    ]
    if not targets:
        raise NoCandidate("none of the chosen workers is linked: fetch the directory again")
    return Job(account, claim, head.header.raw, head.auth, frames, header.stream, targets)


def _target(context: Context, head: RequestHead, index: int, candidate: Candidate) -> Target | None:
    listed = context.registry.get(candidate.worker)
    quote = listed.quotes.get(candidate.offer) if listed is not None else None
    if listed is None or quote is None or quote.offer.model != head.header.header.model:
        return None
    return Target(
        index=index,
        listed=listed,
        quote=quote,
        key=lambda: WrappedKey(head.wraps[index]),
        passage=lambda: SealedPassage(head.header.h),
    )
