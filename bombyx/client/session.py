"""The sealed client, without I/O (SPEC 2, 3, 14): what to send, and what to believe.

`exchange` answers one request of an SDK as a generator of effects. Requests are sealed to
`VerifiedWorker`s and to nobody else, and what cannot be sealed is refused: this module is the only
one that calls `seal_request`, and there is no way past it to a clear body.
"""

import dataclasses
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from bombyx.attestation.policy import Policy
from bombyx.client.affinity import beginning
from bombyx.client.answer import Listeners, deliver
from bombyx.client.channel import paying
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.paying import settled_after
from bombyx.client.channel.wallet import Wallet, Wanted
from bombyx.client.choice import Draw
from bombyx.client.disputes import Dispute
from bombyx.client.effects import (
    Begin,
    ClearRequest,
    Effect,
    Emit,
    Head,
    Headers,
    Reply,
    Send,
    Steps,
    Wait,
    read,
    read_all,
    send,
)
from bombyx.client.finding import Finder, Found, own_headers
from bombyx.client.identity import Identity, Shard
from bombyx.client.limits import Limits, limits
from bombyx.client.outcome import proven, read_outcome, verify_outcome
from bombyx.client.receipts import Sealed, VerifiedAnswer
from bombyx.client.refusals import (
    MAX_ERROR_BYTES,
    RENEWABLE,
    GatewayError,
    Problem,
    check_proofs,
    check_renewable,
    crowded,
    gateway_error,
    local_error,
    passed_on,
    read_problem,
)
from bombyx.client.retries import CallName, Kept, Retries, name_call
from bombyx.client.routes import Call, is_clear, read_call
from bombyx.client.waivers import Waiver
from bombyx.envelope.header import MAX_FEE_BPS, Candidate, Header, hash_header
from bombyx.envelope.keys import SECRET_BYTES, PublicSealingKey
from bombyx.envelope.plaintext import PlaintextHead
from bombyx.envelope.request import Entropy, seal_request
from bombyx.envelope.response import Padding
from bombyx.errors import BadAnswer, BadReceipt, BombyxError
from bombyx.units import Nano

SEALED_REQUEST = "application/vnd.bombyx.sealed"
SEALED_STREAM = "application/vnd.bombyx.sealed-stream"
_ID_BYTES = 16
_OK, _REDIRECT, _ERROR, _UNPROCESSABLE = 200, 300, 400, 422
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "trailer"})
_parsed_key = lru_cache(maxsize=1024)(PublicSealingKey.from_bytes)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user sets: who hears of receipts, and the most one request may cost (nano).

    `padding` is what answers are sized by; `affinity` lets a gateway see which of 16 shards a
    request belongs to, for the sake of a cached prefix.
    """

    listeners: Listeners = field(default_factory=Listeners)
    max_cost: Nano | None = None
    padding: Padding = Padding.BUCKET
    affinity: bool = True


class Session:
    """One policy, one identity, and what is remembered between requests. Shared by threads.

    `clock` gives unix seconds, `draw` random bytes; `wallet` pays by channel where it has one for
    the gateway.
    """

    def __init__(
        self,
        policy: Policy,
        identity: Identity,
        *,
        clock: Callable[[], int],
        draw: Draw,
        wishes: Wishes | None = None,
        wallet: Wallet | None = None,
    ) -> None:
        self._finder = Finder(policy, clock=clock, draw=draw)
        self._identity = identity
        self._clock = clock
        self._draw = draw
        self._wishes = wishes or Wishes()
        self._wallet = wallet
        self._listeners = _with_books(self._wishes.listeners, wallet)
        self._retries: Retries[Sealed] = Retries()

    @contextmanager
    def paying(self, origin: str) -> Iterator[None]:
        """Hold the channels of a gateway's URL for as long as this lasts, and give all back after.

        Raises `SetupError` where another process has one.
        """
        try:
            if self._wallet is not None:
                self._wallet.open_for(origin)
            yield
        finally:
            self.close()

    def close(self) -> None:
        """Give back what it pays from, once nothing is asked through it any more; may block."""
        if self._wallet is not None:
            self._wallet.close()

    def exchange(self, request: ClearRequest) -> Steps:
        """Answer one request; every refusal and failure becomes an answer too."""
        try:
            if is_clear(request):
                yield from _pass_on(request)
            else:
                yield from self._answer(read_call(request))
        except GatewayError as error:
            yield from error.answer(request.path)
        except BombyxError as error:
            yield from local_error(error, request.path)

    def _answer(self, call: Call) -> Steps:
        """Seal, or take up again what a failed call sealed; at most one renewal (SPEC 14.3)."""
        name = name_call(call.request)
        kept = self._retries.take(name, now=self._clock())
        if kept is None:
            kept = yield from self._seal(call, name, fresh=False)
        answered = False
        try:
            head = yield from self._send(call.request, kept.sealed)
            if head.status == _UNPROCESSABLE:
                yield from self._prove_that_nothing_is_billed(head, kept)
                renewed = yield from self._seal(call, name, fresh=True)
                self._ended(kept.sealed)
                kept = renewed
                head = yield from self._send(call.request, kept.sealed)
            answered = yield from self._receive(head, kept)
        finally:
            self._ended(kept.sealed)
            self._retries.release(kept, answered=answered)

    def _send(self, request: ClearRequest, sealed: Sealed) -> Generator[Effect, Reply, Head]:
        """Send, and pay where the request names a channel."""
        payer = self._payer_of(sealed)
        if payer is None or self._wallet is None:
            return (yield from _post(request, sealed))
        return (
            yield from paying.post_paid(
                payer,
                request,
                sealed,
                lambda voucher: _post(request, sealed, voucher),
                funder=self._wallet.funder,
            )
        )

    def _payer_of(self, sealed: Sealed) -> Payer | None:
        return None if self._wallet is None else self._wallet.payer_of(sealed)

    def _ended(self, sealed: Sealed) -> None:
        payer = self._payer_of(sealed)
        if payer is not None:
            payer.ended(sealed.request.c)

    def _turned_away(self, head: Head, sealed: Sealed) -> None:
        payer = self._payer_of(sealed)
        if payer is not None and paying.is_turned_away(head.status):
            payer.turned_away(sealed.request.c)

    def _prove_that_nothing_is_billed(self, head: Head, kept: Kept[Sealed]) -> Steps:
        """Return only if the request may be sealed anew (SPEC 14.3); it is forgotten then.

        Raises `UnprovenRefusal` when the proof does not hold, `GatewayError` for another 422.
        """
        body = yield from read_all(MAX_ERROR_BYTES)
        if self._waived(head, body, kept) is None:
            raise gateway_error(head, body)

    def _waived(self, head: Head, body: bytes, kept: Kept[Sealed]) -> Problem | None:
        """What ends the request for good, so that it is not sent again; None: nothing does.

        Raises `UnprovenRefusal` when what it shows as proof is none.
        """
        problem = read_problem(head, body)
        check_proofs(problem, kept.sealed)
        if head.status != _UNPROCESSABLE or problem.code not in RENEWABLE:
            return None
        check_renewable(problem, kept.sealed)
        listen = self._wishes.listeners.on_waived
        if listen is not None and not isinstance(problem.lost, UnsetType):
            listen(Waiver(kept.sealed, problem.lost))
        payer = self._payer_of(kept.sealed)
        if payer is not None:
            payer.never_ran(kept.sealed.request.c)
        self._retries.forget(kept)
        return problem

    def _receive(self, head: Head, kept: Kept[Sealed]) -> Generator[Effect, Reply, bool]:
        sealed = kept.sealed
        if head.status >= _ERROR:
            body = yield from read_all(MAX_ERROR_BYTES)
            waived = self._waived(head, body, kept)
            if waived is not None and (error := crowded(waived)) is not None:
                raise error
            self._check_outcome(head, body, sealed)
            self._turned_away(head, sealed)
            raise gateway_error(head, body, hint=paying.hint(head, body, sealed))
        encoding = head.header("content-encoding")
        if head.status != _OK or head.media_type != SEALED_STREAM or encoding:
            raise BadAnswer(f"the gateway's answer ({head.status}) is not sealed; it is not shown")
        return (yield from deliver(sealed, passed_on(head), self._listeners))

    def _check_outcome(self, head: Head, body: bytes, sealed: Sealed) -> None:
        """Raise what a receipt in the gateway's answer proves, or that it proves nothing."""
        document = read_outcome(head.status, body)
        if document is None:
            return
        listeners = self._listeners
        try:
            answer = verify_outcome(sealed, document)
        except BadReceipt as error:
            if listeners.on_dispute is not None:
                listeners.on_dispute(Dispute(sealed, error.code, document, None))
            raise
        if listeners.on_receipt is not None:
            listeners.on_receipt(answer)
        raise proven(answer)

    def _seal(
        self, call: Call, name: CallName, *, fresh: bool
    ) -> Generator[Effect, Reply, Kept[Sealed]]:
        shard = self._shard(call)
        # Who refused a moment ago is not drawn again only because he was drawn before.
        pin = b"" if fresh or shard is None else shard.pin
        found = yield from self._finder.find(call, fresh=fresh, pin=pin)
        channel = yield from self._channel(call, found)
        sealed = self._seal_to(call, found, shard, channel)
        size = len(sealed.encoded)
        return self._retries.keep(name, sealed, size=size, now=self._clock())

    def _shard(self, call: Call) -> Shard | None:
        if not self._wishes.affinity:
            return None
        return self._identity.shard(call.request.header("authorization"), beginning(call.body))

    def _channel(self, call: Call, found: Found) -> Generator[Effect, Reply, Payer | None]:
        """The channel that pays this request; opened now where there is none and that is wished."""
        if self._wallet is None:
            return None
        authorization = call.request.header("authorization")
        identity = found.directory.gateway
        key = self._identity.payer(identity, authorization).public_hex
        payer = self._wallet.find(identity, key)
        if payer is None and self._wallet.funder is not None:
            wanted = Wanted(identity, key, call.request.origin, authorization)
            opening = self._wallet.funder.open(wanted, self._wallet)
            yield Wait(opening.done)
            opening.result()
            payer = self._wallet.find(identity, key)
        return payer

    def _seal_to(
        self, call: Call, found: Found, shard: Shard | None, channel: Payer | None
    ) -> Sealed:
        """Seal the body as it came to the workers found; their offers fix what it can cost."""
        authorization = call.request.header("authorization")
        payer = self._identity.payer(found.directory.gateway, authorization)
        header = self._header(call, found, payer.public_hex, self._limits(call, found))
        if shard is not None:
            header = replace(header, cache_shard=shard.name)
        if channel is not None:
            header = replace(header, channel=channel.name)
        wishes = self._wishes
        request = seal_request(
            hash_header(header),
            PlaintextHead(
                content_type="application/json",
                padding="exact" if wishes.padding is Padding.EXACT else UNSET,
                user_cache_secret=self._identity.cache_secret.hex(),
            ),
            call.request.body,
            keys=[_parsed_key(one.worker.hpke_key()[1]) for one in found.chosen],
            payer=payer,
            entropy=Entropy(
                self._draw(SECRET_BYTES), tuple(self._draw(SECRET_BYTES) for _ in found.chosen)
            ),
        )
        chosen = {one.worker.worker_id: one for one in found.chosen}
        body = b"" if wishes.listeners.on_transcript is None else call.request.body
        return Sealed(
            request,
            request.encode(),
            chosen,
            call.head.stream,
            padding=wishes.padding,
            deadline=header.issued_at + settled_after(found.directory.deadline_s),
            body=body,
        )

    def _limits(self, call: Call, found: Found) -> Limits:
        directory = found.directory
        if directory.fee_bps > MAX_FEE_BPS:
            raise BadAnswer("the gateway asks for a fee beyond the whole amount")
        return limits(
            call,
            [one.terms for one in found.chosen],
            fee_bps=directory.fee_bps,
            default_output=directory.default_max_output_tokens,
            cap=self._wishes.max_cost,
        )

    def _header(self, call: Call, found: Found, payer: str, limit: Limits) -> Header:
        return Header(
            v="bombyx/1",
            id=self._draw(_ID_BYTES).hex(),
            gateway=found.directory.gateway,
            method="POST",
            path=call.request.path,
            model=call.head.model,
            stream=call.head.stream,
            tier="sealed",
            payer=payer,
            issued_at=self._clock(),
            max_input_tokens=limit.max_input,
            max_output_tokens=limit.max_output,
            max_cost_nano=str(limit.max_cost),
            fee_bps=found.directory.fee_bps,
            candidates=[
                Candidate(
                    worker=one.worker.worker_id,
                    key_id=one.worker.hpke_key()[0],
                    offer=one.offer_hash,
                )
                for one in found.chosen
            ],
        )


def _with_books(listeners: Listeners, wallet: Wallet | None) -> Listeners:
    """The user's listeners, after the wallet's books have heard of an answer."""
    if wallet is None:
        return listeners
    heard, told = wallet.heard, listeners.on_receipt

    def on_receipt(answer: VerifiedAnswer) -> None:
        heard(answer)
        if told is not None:
            told(answer)

    return dataclasses.replace(listeners, on_receipt=on_receipt)


def _post(
    request: ClearRequest, sealed: Sealed, extra: Headers = ()
) -> Generator[Effect, Reply, Head]:
    own = (("content-type", SEALED_REQUEST), ("accept", SEALED_STREAM))
    headers = (*own_headers(request), *own, *extra)
    return (yield from send(Send("POST", request.origin + request.path, headers, sealed.encoded)))


def _pass_on(request: ClearRequest) -> Steps:
    """A request without secrets, as it is; a redirect would carry the key elsewhere."""
    query = f"?{request.query}" if request.query else ""
    kept = tuple(pair for pair in request.headers if pair[0] not in {*_HOP_BY_HOP, "host"})
    head = yield from send(Send("GET", f"{request.origin}{request.path}{query}", kept))
    if _REDIRECT <= head.status < _ERROR:
        raise BadAnswer(f"the gateway answered with a redirect ({head.status})")
    headers = tuple(pair for pair in head.headers if pair[0] not in _HOP_BY_HOP)
    yield Begin(head.status, headers)
    while piece := (yield from read()):
        yield Emit(piece)
