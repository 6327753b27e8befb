"""What stands between an `open` frame and the engine: SPEC 4, in its order.

1 header and time, 2 own candidate, 3 key and commitment, 4 auth, 5 replay, 6 frames, 7 body,
8 credit. The first rule that fails decides; the worker signs which one it was and whose fault.
Steps 1 to 6 run without a pause, so that of two copies of a request one at most comes through.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from bombyx.chat.body import Body
from bombyx.envelope.header import Header, check_issued_at, parse_header
from bombyx.envelope.keys import expand
from bombyx.envelope.plaintext import Plaintext
from bombyx.envelope.request import (
    RequestKeys,
    check_auth,
    check_commitment,
    open_frames,
    unwrap,
)
from bombyx.envelope.response import Padding
from bombyx.errors import (
    BombyxError,
    CannotOpen,
    ClockAhead,
    ModelNotFound,
    NoCandidate,
    ReplayedRequest,
    RequestTimeout,
    StaleCandidate,
    TooLarge,
    Unpaid,
    WrongGateway,
)
from bombyx.link.documents import SignedRefusal
from bombyx.link.open import Open, SessionKey
from bombyx.money.cost import Rates
from bombyx.money.offer import Offer
from bombyx.units import MAX_SKEW_SECONDS, Nano
from worker.blame import Blamed, Refused, blame, sign_refusal
from worker.clock import Clock
from worker.engine.port import Engine
from worker.identity import Boot, Generation, Generations
from worker.limits import Terms, limit
from worker.seen import Seen
from worker.sessions import Sessions

MAX_REQUEST_BYTES = 32 * 2**20
"""Sealed frames of one request: some photographs as data URLs."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who hands a request over: the gateway at the other end of a link, and the link's keyset."""

    gateway: str
    worker: str
    sessions: Sessions


@dataclass(frozen=True, slots=True, repr=False)
class Admitted:
    """A request that may run; `deadline` in unix seconds, `max_output` over all choices.

    `body` is the engine's, `asked` the client's own, whose form the answer takes.
    """

    header: Header
    h: bytes
    c: bytes
    keys: RequestKeys
    generation: Generation
    offer: Offer
    rates: Rates
    offer_hash: str
    req_ct_hash: bytes
    ticket: bytes
    deadline: int
    body: Body
    asked: Body
    max_output: int
    worst: Nano
    cache_salt: str
    padding: Padding


@dataclass(slots=True, repr=False)
class _Case:
    """What is known of a request so far, for the refusal that it may end in."""

    request: Open
    worker: str
    header: Header | None = None
    h: bytes | None = None
    is_recorded: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class _Opened:
    generation: Generation
    offer: Offer
    offer_hash: str
    keys: RequestKeys
    req_ct_hash: bytes
    plaintext: Plaintext


Reserve = Callable[[str, Nano], None]
"""Step 8, `(gateway, worst)`: raises `Unpaid`, `WorkerBusy` or `Draining`."""


class Admission:
    """The rules with what they consult; one for all links of a worker."""

    def __init__(
        self,
        boot: Boot,
        generations: Generations,
        *,
        seen: Seen,
        engine: Engine,
        reserve: Reserve,
        clock: Clock,
    ) -> None:
        self._boot = boot
        self._generations = generations
        self._seen = seen
        self._engine = engine
        self._reserve = reserve
        self._clock = clock

    async def admit(self, request: Open, frames: bytes, *, peer: Peer) -> Admitted:
        """All eight steps; raises `Refused` with a signed refusal."""
        case = _Case(request, peer.worker)
        try:
            opened = self._open(case, frames, peer)
            return await self._finish(case, opened, peer)
        except Blamed as blamed:
            asked = case.header.model if case.header is not None else ""
            model = asked if asked in self._generations.current.models else ""
            raise Refused(self._sign(case, blamed, peer), model=model) from None

    def _open(self, case: _Case, frames: bytes, peer: Peer) -> _Opened:
        now = self._clock() // 1000
        header, h = self._step_1_header(case, frames, peer, now)
        generation, offer, name = self._step_2_candidate(header, peer, now)
        req_ct_hash = hashlib.sha256(frames).digest()
        keys = self._step_3_keys(case.request, header, h, generation, peer, now)
        c = case.request.c
        with blame("unattributed"):
            check_commitment(keys, h=h, c=c, req_ct_hash=req_ct_hash)
            check_auth(c, case.request.auth, bytes.fromhex(header.payer))  # step 4
        self._step_5_replay(case, header, now)
        with blame("client"):
            plaintext = open_frames(keys.dek, h, frames)  # step 6
        return _Opened(generation, offer, name, keys, req_ct_hash, plaintext)

    def _step_1_header(
        self, case: _Case, frames: bytes, peer: Peer, now: int
    ) -> tuple[Header, bytes]:
        with blame("gateway"):
            hashed = parse_header(case.request.header)
            case.header, case.h = hashed.header, hashed.h
            if hashed.header.gateway != peer.gateway:
                raise WrongGateway("the request is meant for another gateway")
            if case.request.deadline <= now:
                raise RequestTimeout("the request's deadline has passed")
        with blame("client"):
            if len(frames) > MAX_REQUEST_BYTES:
                raise TooLarge("the sealed request is too large for this worker")
        with blame("unattributed"):
            check_issued_at(hashed.header.issued_at, now)
            if hashed.header.issued_at <= self._seen.floor:
                raise ReplayedRequest("the request is older than what this worker remembers")
        return hashed.header, hashed.h

    def _step_2_candidate(
        self, header: Header, peer: Peer, now: int
    ) -> tuple[Generation, Offer, str]:
        own = [one for one in header.candidates if one.worker == peer.worker]
        with blame("gateway"):
            if not own:
                raise NoCandidate("the request was not sealed to this worker")
        with blame("unattributed"):
            generation = self._generations.admissible(peer.worker, now)
            if generation is None or own[0].key_id != generation.key_id:
                raise StaleCandidate("the request was sealed to a key that is no longer current")
            offer = generation.offers.live(own[0].offer, now)
            if offer is None:
                raise StaleCandidate("the request names an offer that is no longer good")
        with blame("client"):
            if offer.model != header.model:
                raise ModelNotFound("the offer is for another model", param="model")
        return generation, offer, own[0].offer

    def _step_3_keys(
        self,
        request: Open,
        header: Header,
        h: bytes,
        generation: Generation,
        peer: Peer,
        now: int,
    ) -> RequestKeys:
        key = request.key
        if isinstance(key, SessionKey):
            return self._session_keys(key, header, peer, now)
        with blame("unattributed"):
            worker = bytes.fromhex(generation.worker)
            return unwrap(key.wrap, generation.sealing_key, worker=worker, h=h, c=request.c)

    def _session_keys(self, key: SessionKey, header: Header, peer: Peer, now: int) -> RequestKeys:
        with blame("gateway"):
            if header.tier != "bare":
                raise CannotOpen("a session carries requests of the bare tier only")
            return peer.sessions.keys(key, now)

    def _step_5_replay(self, case: _Case, header: Header, now: int) -> None:
        try:
            self._seen.insert(case.request.c, issued_at=header.issued_at, now=now)
        except ReplayedRequest as error:
            raise Blamed(error, "gateway") from None
        except BombyxError as error:
            raise Blamed(error, "worker") from None
        case.is_recorded = True

    async def _finish(self, case: _Case, opened: _Opened, peer: Peer) -> Admitted:
        header, h = case.header, case.h
        if header is None or h is None:
            raise ValueError("an opened request has a header")
        rates = Rates.of(opened.offer.prices)
        terms = Terms(header, rates, opened.generation.models[header.model])
        limited = await limit(opened.plaintext, terms, engine=self._engine)
        self._step_8_credit(peer.gateway, limited.worst)
        return Admitted(
            header=header,
            h=h,
            c=case.request.c,
            keys=opened.keys,
            generation=opened.generation,
            offer=opened.offer,
            rates=rates,
            offer_hash=opened.offer_hash,
            req_ct_hash=opened.req_ct_hash,
            ticket=case.request.ticket,
            deadline=case.request.deadline,
            body=limited.body,
            asked=limited.asked,
            max_output=limited.max_output,
            worst=limited.worst,
            cache_salt=self._cache_salt(header, opened.plaintext),
            padding=_padding(opened.plaintext),
        )

    def _step_8_credit(self, gateway: str, worst: Nano) -> None:
        try:
            self._reserve(gateway, worst)
        except Unpaid as error:
            raise Blamed(error, "gateway") from None
        except BombyxError as error:
            raise Blamed(error, "worker") from None

    def _cache_salt(self, header: Header, plaintext: Plaintext) -> str:
        """SPEC 12: never shared between payers, nor between users of one payer."""
        secret = plaintext.head.user_cache_secret
        if not isinstance(secret, str):
            return secrets.token_hex(32)
        who = bytes.fromhex(header.payer) + bytes.fromhex(secret)
        return expand(self._boot.cache_secret, b"cache" + who + header.model.encode()).hex()

    def _sign(self, case: _Case, blamed: Blamed, peer: Peer) -> SignedRefusal:
        return sign_refusal(
            blamed,
            self._boot.receipt,
            worker=case.worker,
            gateway=peer.gateway,
            c=case.request.c if self._may_name(case, blamed) else None,
            h=case.h,
            at=self._clock(),
        )

    def _may_name(self, case: _Case, blamed: Blamed) -> bool:
        """Whether the refusal may name `c`, by which it proves that nothing ran or will run here.

        So `c` is recorded first. One that was known before may have run, and is not named.
        """
        if case.header is None:
            return False
        if case.is_recorded:
            return True
        if isinstance(blamed.error, ClockAhead):
            # Not recorded and no proof: the code says so.
            return case.request.c not in self._seen
        now = self._clock() // 1000
        if case.header.issued_at > now + MAX_SKEW_SECONDS:
            return False  # recorded, it would stay until then, and a few million fill the store
        try:
            self._seen.insert(case.request.c, issued_at=case.header.issued_at, now=now)
        except BombyxError:
            return False
        return True


def _padding(plaintext: Plaintext) -> Padding:
    """SPEC 3.7: the user's own wish, which nobody on the way can see or change."""
    return Padding.EXACT if plaintext.head.padding == "exact" else Padding.BUCKET
