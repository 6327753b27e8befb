"""`POST` with a sealed body: parsed as far as the clear header, relayed blind (SPEC 2, 3)."""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from http import HTTPStatus

from msgspec import UNSET

from bombyx.envelope.header import (
    Candidate,
    HashedHeader,
    Header,
    check_issued_at,
)
from bombyx.envelope.request import RequestHead, parse_request
from bombyx.errors import (
    AlreadyAnswered,
    BombyxError,
    CommitmentConflict,
    Draining,
    InProgress,
    MalformedHeader,
    NoCandidate,
    RelayInterrupted,
    WrongFee,
    WrongGateway,
)
from bombyx.link.open import WrappedKey
from bombyx.units import MAX_SKEW_SECONDS
from gateway.channels.till import VOUCHER_HEADER, Payment
from gateway.context import Context, unix_seconds
from gateway.inference.answer import Answer, Phase
from gateway.inference.exchange import ClientGone, Exchange
from gateway.inference.job import Job, Target
from gateway.inference.passages import SealedPassage
from gateway.inference.relay_note import note_frame
from gateway.inference.run import Kept, Run
from gateway.inference.silence import Watch
from gateway.inference.stream import Pipe
from gateway.inference.use import begin_use, end_use
from gateway.inference.waiver import claim_of, waive
from gateway.inference.wire import bearer, not_taken, respond_error, respond_unforeseen
from gateway.metering.rows import Disposition, StoredKey
from gateway.processes.forward import forward, sealed_elsewhere
from gateway.processes.neighbours import Neighbour
from gateway.routing.route import ROUTE_HEADER, Route, parse_route

SEALED_TYPE = b"application/vnd.bombyx.sealed"
STREAM_TYPE = b"application/vnd.bombyx.sealed-stream"
_STREAM_HEADERS = (
    (b"content-type", STREAM_TYPE),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
    (b"x-bombyx-tier", b"sealed"),
)


async def serve_sealed(context: Context, exchange: Exchange) -> None:
    """One sealed request, from the key check to the last frame."""
    size, head = 0, None
    try:
        key = await context.key_ring.authenticate(bearer(exchange.headers))
        limit = context.settings.max_request_mb * 2**20
        body = await exchange.read(limit=limit, budget=context.budget)
        size = len(body)
        head, frames = parse_request(body)
        check_header(context, head.header, exchange.path)
        to = _elsewhere(context, head, exchange)
        if to and await forward(context, exchange, body, to=to):
            return
        try:
            await _run_or_join(context, head, frames, key=key, exchange=exchange)
        except Draining as error:
            to = _elsewhere(context, head, exchange) if error.unclaimed else ()
            if not await forward(context, exchange, body, to=to):
                raise
    except ClientGone:
        return
    except BombyxError as error:
        if error.status == HTTPStatus.PAYMENT_REQUIRED:
            cost = int(head.header.header.max_cost_nano) if head is not None else 0
            error = context.till.explained(error, cost)
        respond_error(exchange, error)
    except Exception as error:  # noqa: BLE001 - a boundary: a bug here is answered in our shape too
        respond_unforeseen(exchange, error)
    finally:
        end_use(exchange)
        context.budget.give(size)


def _elsewhere(context: Context, head: RequestHead, exchange: Exchange) -> Sequence[Neighbour]:
    """Who can take it when no candidate is linked here; what runs here is joined here."""
    if not context.neighbours.known or context.runs.get(head.c.hex()) is not None:
        return ()
    workers = [candidate.worker for candidate in head.header.header.candidates]
    return sealed_elsewhere(context, workers, exchange)


async def _run_or_join(
    context: Context, head: RequestHead, frames: bytes, *, key: StoredKey, exchange: Exchange
) -> None:
    """One run for a commitment, however often and at once its bytes come."""
    c, account = head.c.hex(), key.account
    payment: Payment | None = None
    running = context.runs.get(c)
    if running is None:
        check_issued_at(head.header.header.issued_at, unix_seconds())
        await context.payers.check(head.header.header.payer, account)
        await begin_use(context, key, head.header.header.model, exchange)
        if head.header.header.channel is not UNSET:
            payment = await _payment(context, head.header.header, account, exchange)
        running = context.runs.get(c)  # another connection may have come meanwhile
    if running is not None:
        if (running.account, running.h) != (account, head.header.h.hex()):
            raise CommitmentConflict("the commitment is claimed for another request")
        if isinstance(running, Kept):
            _repeat(running, exchange)
        else:
            await _share(context, running, exchange)
        return
    refuse_while_draining(context)
    try:
        try:
            check_fee(context, head.header)
            route = parse_route(exchange.header(ROUTE_HEADER))
            job = sealed_job(context, head, frames, account=account, route=route, payment=payment)
            await _serve(context, job, exchange)
        except (NoCandidate, WrongFee) as refused:
            # A client seals anew after these, so they must not hide that the request ran before.
            raise await waive(context, head, frames, account=account, refused=refused) from None
    except AlreadyAnswered as error:
        raise await with_receipt(context, error) from None


async def _payment(context: Context, header: Header, account: str, exchange: Exchange) -> Payment:
    """Before the last look for a run: it may ask the database."""
    name, voucher = str(header.channel), exchange.header(VOUCHER_HEADER)
    return await context.till.payment(name, account, voucher=voucher)


async def with_receipt(context: Context, error: BombyxError) -> BombyxError:
    """The outcome of an earlier run, with its receipt where it has one."""
    if isinstance(error, AlreadyAnswered):
        for stored in await context.store.receipts_of(error.c):
            if stored.disposition is Disposition.BILLED:
                error.receipt = stored.document
    return error


def refuse_while_draining(context: Context) -> None:
    """Raises `Draining` once the process takes nothing new."""
    if context.draining:
        raise not_taken()


async def _serve(context: Context, job: Job, exchange: Exchange) -> None:
    dispatcher = context.dispatcher
    begun = await dispatcher.begin(job, exchange)
    run = begun.run
    exchange.watch(partial(leave, run))
    try:
        if run.readers:
            await _stream(context, run, await dispatcher.answer(begun), exchange)
        else:
            dispatcher.abandon(begun)
    finally:
        if not exchange.disconnected:
            run.readers -= 1
        dispatcher.finish(run)


async def _share(context: Context, run: Run, exchange: Exchange) -> None:
    """Join a run; where it waited in vain for a worker, join what then writes its note."""
    try:
        await _join(context, run, exchange)
    except NoCandidate:
        closing = context.runs.get(run.claim.c)
        if not isinstance(closing, Run):
            raise InProgress("the same request was just given up: ask for its receipt") from None
        await _join(context, closing, exchange)


async def _join(context: Context, run: Run, exchange: Exchange) -> None:
    """The same bytes again: read the running answer from its first frame."""
    if not run.joinable:
        raise InProgress("the same request runs, and its answer is too long to be joined")
    run.readers += 1
    exchange.watch(partial(leave, run))
    try:
        await _stream(context, run, await run.decided(), exchange)
    finally:
        if not exchange.disconnected:
            run.readers -= 1
        context.dispatcher.finish(run)


def _repeat(kept: Kept, exchange: Exchange) -> None:
    """The same bytes again after the end: the kept answer as a whole."""
    _begin(exchange, id=kept.id, worker=kept.worker)
    exchange.end(b"".join(kept.body))


async def _stream(context: Context, run: Run, answer: Answer, exchange: Exchange) -> None:
    """Frames to one client; a broken answer ends with a note, never with a bare close."""
    listed = run.listed
    if listed is None or not answer.answered:
        raise answer.failure or RelayInterrupted("the worker gave the request up")
    _begin(exchange, id=run.claim.id, worker=listed.worker, told=run.told)
    consumed: Callable[[int], None] = partial(listed.link.consumed, answer)
    pipe = Pipe(answer, exchange, consumed)
    watch = Watch(context.silence, pipe, exchange, listed, beats=False)
    try:
        rest = await pipe.run()
    finally:
        watch.stop()
    if rest is not None:
        exchange.end(rest if answer.passage.ended else rest + note_frame(answer.failure))


def _begin(exchange: Exchange, *, id: str, worker: str, told: bytes = b"") -> None:  # noqa: A002 - SPEC
    named = [(b"x-bombyx-id", id.encode()), (b"x-bombyx-worker", worker.encode())]
    if told:
        named.append((ROUTE_HEADER, told))
    exchange.begin(200, [*_STREAM_HEADERS, *named])


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


def check_fee(context: Context, header: HashedHeader) -> None:
    """Raises `WrongFee` for another fee than ours."""
    if header.header.fee_bps != context.settings.fee_bps:
        raise WrongFee(
            f"the fee is {context.settings.fee_bps} basis points: fetch the directory again",
            param="fee_bps",
        )


def sealed_job(
    context: Context,
    head: RequestHead,
    frames: bytes,
    *,
    account: str,
    route: Route,
    payment: Payment | None = None,
) -> Job:
    """What the dispatcher needs; raises `NoCandidate` when no candidate is linked here."""
    header = head.header.header
    targets = [
        target
        for index, candidate in enumerate(header.candidates)
        if (target := _target(context, head, index, candidate)) is not None
    ]
    if not targets:
        raise NoCandidate("none of the chosen workers is linked: fetch the directory again")
    shard = header.cache_shard if isinstance(header.cache_shard, str) else ""
    return Job(
        account,
        claim_of(head, frames),
        head.header.raw,
        head.auth,
        frames,
        header.stream,
        targets,
        route,
        sha256(bytes.fromhex(header.payer) + shard.encode()).digest() if shard else b"",
        header.issued_at + MAX_SKEW_SECONDS,
        payment=payment,
    )


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
