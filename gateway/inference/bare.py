"""The bare tier: a stock SDK straight at the gateway, which seals on its behalf (SPEC 15).

The gateway sees plain text here, and says so in every answer (`x-bombyx-tier: bare`). Everything
else is as in the sealed tier: claims, attempts, statements, receipts.
"""

import os
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Any

import msgspec

from bombyx.chat.body import RequestHead, encode_body, parse_body, request_head, write_output_limit
from bombyx.chat.breaking import break_event
from bombyx.chat.paths import CHAT_PATH
from bombyx.chat.size import max_input_bound
from bombyx.chat.surface import admit
from bombyx.envelope.documents import ResponseHead
from bombyx.envelope.header import Candidate, Header, hash_header
from bombyx.envelope.plaintext import PlaintextHead, pack
from bombyx.envelope.request import auth_document, commitment, seal_frames
from bombyx.errors import (
    AlreadyAnswered,
    BadAnswer,
    BombyxError,
    Draining,
    EngineFailed,
    NoCandidate,
    Overloaded,
    RelayInterrupted,
    RemoteError,
    UnsupportedValue,
    WrongMediaType,
    envelope,
)
from bombyx.money.cost import worst_case
from bombyx.money.settlement import Claim
from bombyx.signing import Kind
from gateway.context import Context, unix_seconds
from gateway.inference.answer import Answer, Phase
from gateway.inference.exchange import ClientGone, Exchange
from gateway.inference.job import Job, Target
from gateway.inference.passages import BarePassage
from gateway.inference.retries import Retry, bind, retry_of
from gateway.inference.router import Picked
from gateway.inference.run import Run
from gateway.inference.sealed import (
    leave,
    refuse_while_draining,
    with_receipt,
)
from gateway.inference.silence import Watch
from gateway.inference.stream import Pipe
from gateway.inference.use import begin_use, end_use
from gateway.inference.wire import (
    RETRY_AFTER_MS,
    NotRun,
    bearer,
    media_type,
    respond_error,
    respond_unforeseen,
)
from gateway.processes.forward import bare_elsewhere, forward
from gateway.routing.route import ROUTE_HEADER, Route, parse_route

JSON_TYPE = b"application/json"
MAX_WHOLE_BYTES = 64 * 2**20
"""Of an answer that is not streamed, which must be held: far above any that models give."""
MAX_ATTEMPTS = 3
"""Workers that a bare request is tried at, as many as a sealed one has candidates."""
_ID_BYTES = 16


async def serve_bare(context: Context, exchange: Exchange) -> None:
    """One bare request, from the key check to the last byte."""
    size = 0
    try:
        key = await context.key_ring.authenticate(bearer(exchange.headers))
        _check_type(exchange)
        limit = context.settings.max_request_mb * 2**20
        raw = await exchange.read(limit=limit, budget=context.budget)
        size = len(raw)
        path = exchange.path
        parsed = parse_body(raw)
        body = admit(path, parsed)
        asked = request_head(path, parsed)
        to = bare_elsewhere(context, asked.model, exchange, unix_seconds())
        if to and await forward(context, exchange, raw, to=to):
            return
        await begin_use(context, key, asked.model, exchange)
        retry = retry_of(exchange, key.account, raw)
        route = parse_route(exchange.header(ROUTE_HEADER))
        request = _Request(key.account, path, raw, body, asked, retry, route)
        try:
            await _serve(context, request, exchange)
        except Draining as error:
            to = ()
            if error.unclaimed:
                to = bare_elsewhere(context, asked.model, exchange, unix_seconds())
            if not await forward(context, exchange, raw, to=to):
                raise
    except ClientGone:
        return
    except AlreadyAnswered as error:
        respond_error(exchange, await with_receipt(context, error))
    except BombyxError as error:
        respond_error(exchange, error)
    except Exception as error:  # noqa: BLE001 - a boundary: a bug here is answered in our shape too
        respond_unforeseen(exchange, error)
    finally:
        end_use(exchange)
        context.budget.give(size)


def _check_type(exchange: Exchange) -> None:
    if media_type(exchange.headers) != JSON_TYPE:
        raise WrongMediaType("send application/json, or application/vnd.bombyx.sealed")


class _Request(msgspec.Struct, frozen=True):
    """A bare request as it came and as its engine will get it."""

    account: str
    path: str
    raw: bytes
    body: dict[str, object]
    asked: RequestHead
    retry: Retry | None
    route: Route


async def _serve(context: Context, request: _Request, exchange: Exchange) -> None:
    """Try workers in turn; each attempt is a claim of its own, since its commitment is new."""
    refuse_while_draining(context)
    tried: set[str] = set()
    failure: BombyxError = NoCandidate("no worker answered the request")
    for _ in range(MAX_ATTEMPTS):
        picked = _pick(context, request, tried)
        if picked is None and tried:
            raise _shown(failure)
        if picked is None:
            picked = await _pick_in_turn(context, request, exchange)
        tried.add(picked.listed.worker)
        begun = await context.dispatcher.begin(_seal(context, request, picked), exchange)
        if request.retry is not None:
            await bind(context, request.retry, begun)
        run = begun.run
        exchange.watch(partial(leave, run))
        try:
            if not run.readers:
                context.dispatcher.abandon(begun)
                return
            answer = await context.dispatcher.answer(begun)
        except (NotRun, RemoteError) as error:
            if error.status == HTTPStatus.BAD_REQUEST or exchange.disconnected:
                raise
            failure = error
        else:
            # From here on it is billed as signed: no other worker is asked.
            await _respond(context, run, answer, request, exchange)
            return
        finally:
            if not exchange.disconnected:
                run.readers -= 1
            context.dispatcher.finish(run)
    raise _shown(failure)


def _shown(failure: BombyxError) -> BombyxError:
    """A stock SDK cannot seal anew, but it can wait and try again."""
    if failure.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return Overloaded("no worker takes the request now", retry_after_ms=RETRY_AFTER_MS)
    return failure


def _pick(context: Context, request: _Request, tried: set[str]) -> Picked | None:
    """A free worker not tried yet; None when there is none left."""
    asked = request.asked
    return context.dispatcher.router.pick(
        asked.model, route=request.route, tried=tried, max_output=asked.max_output
    )


async def _pick_in_turn(context: Context, request: _Request, exchange: Exchange) -> Picked:
    """The next one that comes free for this request."""
    asked = request.asked
    return await context.dispatcher.router.pick_in_turn(
        request.account,
        asked.model,
        route=request.route,
        max_output=asked.max_output,
        exchange=exchange,
    )


def _seal(context: Context, request: _Request, picked: Picked) -> Job:
    """To the one worker that was picked; gives its slot back where that fails."""
    try:
        return _sealed_to(context, request, picked)
    except BaseException:
        picked.listed.link.release(request.asked.model)
        raise


def _sealed_to(context: Context, request: _Request, picked: Picked) -> Job:
    listed, quote = picked.listed, picked.quote
    settings, record, asked = context.settings, quote.record, request.asked
    max_output = asked.max_output or settings.default_max_output_tokens
    max_input = max_input_bound(
        request.body,
        bytes_factor=record.bytes_factor,
        overhead=record.overhead,
        max_image_tokens=record.max_image_tokens,
    )
    try:
        cost = worst_case(
            max_input=max_input, max_output=max_output, rates=quote.rates, fee_bps=settings.fee_bps
        )
    except ValueError:
        raise UnsupportedValue(
            "so many tokens cost more than there is", param="max_tokens"
        ) from None
    hashed = hash_header(
        Header(
            v="bombyx/1",
            id=os.urandom(_ID_BYTES).hex(),
            gateway=context.gateway,
            method="POST",
            path=request.path,
            model=asked.model,
            stream=asked.stream,
            tier="bare",
            payer=context.keys.payer.public_hex,
            issued_at=unix_seconds(),
            max_input_tokens=max_input,
            max_output_tokens=max_output,
            max_cost_nano=str(cost.charge),
            fee_bps=settings.fee_bps,
            candidates=[Candidate(worker=listed.worker, key_id=listed.key_id, offer=quote.hash)],
        )
    )
    session_key, keys = context.sessions.next_keys(listed)
    plain = pack(PlaintextHead(content_type="application/json"), _content(request, max_output))
    frames = seal_frames(keys.dek, hashed.h, plain)
    req_ct_hash = sha256(frames)
    c = commitment(keys.dek, hashed.h, req_ct_hash.digest())
    claim = Claim(
        c=c.hex(),
        h=hashed.h.hex(),
        id=hashed.header.id,
        payer=hashed.header.payer,
        gateway=context.gateway,
        tier="bare",
        model=asked.model,
        fee_bps=settings.fee_bps,
        reserve=cost.charge,
        max_input_tokens=max_input,
        max_output_tokens=max_output,
        req_ct_hash=req_ct_hash.hexdigest(),
        deadline_ms=0,
        attempts=(),
    )
    target = Target(
        index=0,
        listed=listed,
        quote=quote,
        key=lambda: session_key,
        passage=lambda: BarePassage(hashed.h, listed.worker, keys.response_secret),
    )
    auth = context.keys.payer.sign(Kind.REQUEST, auth_document(c))
    return Job(
        request.account,
        claim,
        hashed.raw,
        auth,
        frames,
        asked.stream,
        [target],
        request.route,
        holds_slot=True,
        told=picked.told,
    )


def _content(request: _Request, max_output: int) -> bytes:
    """What is sealed: other paths go as they came, since the worker answers in their form."""
    if request.path != CHAT_PATH:
        return request.raw
    return encode_body(write_output_limit(request.body, max_output))


async def _respond(
    context: Context, run: Run, answer: Answer, request: _Request, exchange: Exchange
) -> None:
    """Plain text to the client: as it comes for a stream, whole otherwise."""
    passage = answer.passage
    if not isinstance(passage, BarePassage) or passage.head is None or run.listed is None:
        raise EngineFailed("the worker's answer had no head")
    status = passage.head.status
    headers = [
        (b"content-type", _content_type(passage.head)),
        (b"x-bombyx-tier", b"bare"),
        (b"x-bombyx-id", run.claim.id.encode()),
        (b"x-bombyx-worker", run.listed.worker.encode()),
    ]
    if run.told:
        headers.append((ROUTE_HEADER, run.told))
    consumed = partial(run.listed.link.consumed, answer)
    if request.asked.stream and status == HTTPStatus.OK:
        exchange.begin(status, [*headers, (b"cache-control", b"no-cache")])
        pipe = Pipe(answer, exchange, consumed)
        watch = Watch(context.silence, pipe, exchange, run.listed, beats=True)
        try:
            rest = await pipe.run()
        finally:
            watch.stop()
        if rest is not None:
            exchange.end(rest + _tail(answer, passage, request.path))
        return
    body = await _whole(answer, passage, exchange, consumed)
    exchange.begin(status, headers)
    exchange.end(body)


def _content_type(head: ResponseHead) -> bytes:
    """All that a worker says of its answer's form; other headers are the gateway's to set."""
    found = (value for name, value in head.headers if name.lower() == "content-type")
    return next(found, "application/json").encode()


def _tail(answer: Answer, passage: BarePassage, path: str) -> bytes:
    """Nothing after a whole answer; an error event after a broken one."""
    if passage.error is not None:
        return break_event(path, _error_object(passage.error))
    if passage.ended:
        return b""
    error = answer.failure or RelayInterrupted("the answer broke off")
    return break_event(path, envelope(error)["error"])


def _error_object(raw: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return envelope(BadAnswer("the worker's error is no JSON object"))["error"]


async def _whole(
    answer: Answer, passage: BarePassage, exchange: Exchange, consumed: Callable[[int], None]
) -> bytes:
    while not (answer.phase is Phase.OVER or exchange.disconnected):
        if answer.size > MAX_WHOLE_BYTES:
            break
        if more := answer.credit(answer.received):
            consumed(more)
        await answer.changed()
    if answer.size > MAX_WHOLE_BYTES:
        answer.on_over(BadAnswer("the answer is longer than any that a model gives"))
    if passage.error is not None:
        raise EngineFailed("the model engine failed while it answered")
    if not passage.ended:
        raise answer.failure or RelayInterrupted("the answer broke off")
    return b"".join(answer.chunks)
