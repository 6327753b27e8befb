"""SPEC 4, rule by rule: who is refused, with which code, whose fault, and whether `c` is named."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
from msgspec import UNSET, structs

from bombyx.chat.body import encode_body
from bombyx.envelope import request
from bombyx.envelope.header import Candidate, hash_header
from bombyx.envelope.keys import PublicSealingKey, decode_public_key
from bombyx.envelope.plaintext import PlaintextHead, pack
from bombyx.envelope.request import (
    SealedRequest,
    auth_document,
    commitment,
    seal_frames,
)
from bombyx.envelope.session import request_keys, session_info, wrap_session
from bombyx.errors import CannotOpen, EngineFailed, Unpaid, WorkerBusy
from bombyx.link.documents import Refusal, SessionStart
from bombyx.link.open import Open, SessionKey
from bombyx.money.offer import Prices
from bombyx.signing import Kind, Role, Signer, verify
from bombyx.units import Nano
from tests.worker.sealing import GATEWAY, Listing, chat, make_header, make_open, seal
from worker.admission import MAX_REQUEST_BYTES, Admission, Admitted, Peer
from worker.attest.simulated import SimulatedQuoter
from worker.blame import Refused
from worker.engine.scripted import Scripted, ScriptedEngine
from worker.identity import ADMISSIBLE_SECONDS, Boot, Generations, new_generation
from worker.offers import OFFER_SECONDS
from worker.seen import Seen
from worker.sessions import Sessions

NOW = 1_800_000_000
PRICES = Prices(prompt="1000000", cached="500000", completion="3000000", reasoning="3000000")


@dataclass
class Bench:
    """An admission with its surroundings, and a clock to turn."""

    boot: Boot
    generations: Generations
    seen: Seen
    peer: Peer
    listing: Listing
    admission: Admission
    now: int = NOW
    reserved: int = 0
    reserve_error: Exception | None = None

    def reserve(self, gateway: str, worst: Nano) -> None:
        assert gateway == GATEWAY.public_hex
        if self.reserve_error is not None:
            raise self.reserve_error
        self.reserved += worst

    async def admit(
        self, sealed: SealedRequest, *, frames: bytes | None = None, **changes: Any
    ) -> Admitted:
        request = make_open(sealed, now=self.now, **changes)
        return await self.submit(request, sealed.frames if frames is None else frames)

    async def submit(self, request: Open, frames: bytes) -> Admitted:
        return await self.admission.admit(request, frames, peer=self.peer)

    async def refused(self, sealed: SealedRequest, **changes: Any) -> Refusal:
        """The refusal of a request, its signature checked."""
        with pytest.raises(Refused) as caught:
            await self.admit(sealed, **changes)
        signed = caught.value.signed
        key = bytes.fromhex(self.listing.keyset.receipt_key)
        verify(Kind.REFUSAL, signed.refusal, bytes.fromhex(signed.signature), key)
        assert signed.refusal.worker == self.peer.worker
        assert signed.refusal.gateway == GATEWAY.public_hex
        return signed.refusal

    def seal(self, text: str = "say: hi", **changes: Any) -> SealedRequest:
        body = changes.pop("body", None) or chat(text)
        return seal(self.listing, body, now=changes.pop("issued_at", self.now), **changes)


@pytest.fixture
async def bench(quoter: SimulatedQuoter) -> Bench:
    boot = Boot.fresh()
    engine = ScriptedEngine(Scripted(context=4096))
    first = await new_generation(boot, quoter, models=engine.models(), payout="unset", now=NOW - 60)
    offers = first.offers.publish(
        {"scripted": PRICES},
        worker=first.worker,
        signer=boot.link,
        max_concurrency=4,
        not_after=2**40,
        now=NOW,
    )
    generations, seen = Generations(first), Seen()
    peer = Peer(GATEWAY.public_hex, first.worker, Sessions(gateway=GATEWAY.public_hex))
    bench: Bench
    admission = Admission(
        boot,
        generations,
        seen=seen,
        engine=engine,
        reserve=lambda gateway, worst: bench.reserve(gateway, worst),  # noqa: PLW0108 - made below
        clock=lambda: bench.now * 1000,
    )
    bench = Bench(boot, generations, seen, peer, Listing(first.keyset, offers), admission)
    return bench


async def test_a_good_request_is_admitted_with_its_worst_case_reserved(bench: Bench) -> None:
    sealed = bench.seal(max_output_tokens=10)
    admitted = await bench.admit(sealed)
    assert admitted.body["max_tokens"] == admitted.max_output == 10
    prompt = await ScriptedEngine().count_prompt("/v1/chat/completions", admitted.body)
    assert prompt is not None
    assert bench.reserved == admitted.worst == prompt + 30
    assert sealed.c in bench.seen


def named(refusal: Refusal, sealed: SealedRequest) -> bool:
    return refusal.c == sealed.c.hex()


# --- 1: header and time --------------------------------------------------------------------------


@pytest.mark.spec("4.1-a")
async def test_1_a_header_that_is_not_canonical_is_refused_without_c_and_h(bench: Bench) -> None:
    sealed = bench.seal()
    refusal = await bench.refused(sealed, header=sealed.header.raw + b" ")
    assert (refusal.code, refusal.fault) == ("malformed_header", "gateway")
    assert (refusal.c, refusal.h) == (UNSET, UNSET)
    assert len(bench.seen) == 0


@pytest.mark.spec("2.1-c", "4.1-a")
async def test_1_a_request_for_another_gateway_is_refused(bench: Bench) -> None:
    sealed = bench.seal(gateway="ab" * 32)
    refusal = await bench.refused(sealed)
    assert (refusal.code, refusal.fault) == ("wrong_gateway", "gateway")
    assert named(refusal, sealed)
    assert refusal.h == sealed.header.h.hex()


@pytest.mark.spec("4.1-a")
async def test_1_a_deadline_in_the_past_is_refused(bench: Bench) -> None:
    refusal = await bench.refused(bench.seal(), deadline=NOW)
    assert (refusal.code, refusal.fault) == ("request_timeout", "gateway")


@pytest.mark.spec("4.1-b")
async def test_1_too_many_frames_are_refused(bench: Bench) -> None:
    refusal = await bench.refused(bench.seal(), frames=bytes(MAX_REQUEST_BYTES + 1))
    assert (refusal.code, refusal.fault) == ("request_too_large", "client")


@pytest.mark.parametrize("late", [300, -300])
async def test_1_a_skew_of_300_seconds_is_admitted(bench: Bench, late: int) -> None:
    await bench.admit(bench.seal(issued_at=NOW - late))


@pytest.mark.spec("4.1-c")
async def test_1_a_request_older_than_300_seconds_is_refused(bench: Bench) -> None:
    sealed = bench.seal(issued_at=NOW - 301)
    refusal = await bench.refused(sealed)
    assert (refusal.code, refusal.fault) == ("clock_skew", "unattributed")
    assert named(refusal, sealed)
    assert sealed.c in bench.seen


@pytest.mark.spec("4-d", "4.1-c")
async def test_1_a_request_from_the_future_is_refused_and_not_inserted(bench: Bench) -> None:
    sealed = bench.seal(issued_at=NOW + 301)
    refusal = await bench.refused(sealed)
    assert (refusal.code, refusal.fault) == ("clock_ahead", "unattributed")
    assert named(refusal, sealed)
    assert sealed.c not in bench.seen
    bench.now += 2
    await bench.admit(sealed)


@pytest.mark.spec("4-c", "4.1-c")
async def test_1_a_request_up_to_the_floor_is_refused_without_naming_c(bench: Bench) -> None:
    bench.seen.floor = NOW
    refusal = await bench.refused(bench.seal())
    assert (refusal.code, refusal.c) == ("replayed", UNSET)


@pytest.mark.spec("4-f")
async def test_1_a_clock_set_back_does_not_reopen_old_requests(bench: Bench) -> None:
    sealed = bench.seal()
    await bench.admit(sealed)
    bench.now += 1000
    later = bench.generations.current.offers.publish(
        {"scripted": PRICES},
        worker=bench.peer.worker,
        signer=bench.boot.link,
        max_concurrency=4,
        not_after=2**40,
        now=bench.now,
    )
    await bench.admit(seal(Listing(bench.listing.keyset, later), chat("say: x"), now=bench.now))
    assert sealed.c not in bench.seen
    bench.now = NOW
    assert (await bench.refused(sealed)).code == "replayed"


# --- 2: own candidate ----------------------------------------------------------------------------


def other_candidate() -> Candidate:
    return Candidate(worker="cd" * 32, key_id="ef" * 16, offer="01" * 32)


@pytest.mark.spec("4.2-a")
async def test_2_a_request_sealed_to_others_is_refused(bench: Bench) -> None:
    sealed = bench.seal(candidates=[other_candidate()])
    refusal = await bench.refused(sealed)
    assert (refusal.code, refusal.fault) == ("no_candidate", "gateway")
    assert named(refusal, sealed)
    assert sealed.c in bench.seen


@pytest.mark.spec("4.2-b")
async def test_2_a_key_that_is_not_current_is_refused(bench: Bench) -> None:
    own = make_header(bench.listing, chat("x"), now=NOW).candidates[0]
    sealed = bench.seal(candidates=[structs.replace(own, key_id="ef" * 16)])
    assert (await bench.refused(sealed)).code == "stale_candidate"


@pytest.mark.spec("4.2-b")
async def test_2_an_offer_never_made_is_refused(bench: Bench) -> None:
    own = make_header(bench.listing, chat("x"), now=NOW).candidates[0]
    sealed = bench.seal(candidates=[structs.replace(own, offer="01" * 32)])
    assert (await bench.refused(sealed)).code == "stale_candidate"


@pytest.mark.spec("2.1-e")
async def test_2_an_offer_is_honoured_to_its_last_second(bench: Bench) -> None:
    bench.now = NOW + OFFER_SECONDS
    await bench.admit(bench.seal())
    bench.now += 1
    refusal = await bench.refused(bench.seal("say: later"))
    assert (refusal.code, refusal.fault) == ("stale_candidate", "unattributed")


@pytest.mark.spec("4.2-c")
async def test_2_an_offer_for_another_model_is_refused(bench: Bench) -> None:
    refusal = await bench.refused(bench.seal(model="other"))
    assert (refusal.code, refusal.fault) == ("model_not_found", "client")


@pytest.mark.spec("4-h")
async def test_2_the_keyset_before_is_admissible_for_15_minutes(
    bench: Bench, quoter: SimulatedQuoter
) -> None:
    models = ScriptedEngine().models()
    new = await new_generation(bench.boot, quoter, models=models, payout="unset", now=NOW)
    old = bench.generations.current
    bench.generations.rotate(new, NOW)
    await bench.admit(bench.seal())
    assert bench.generations.admissible(old.worker, NOW + ADMISSIBLE_SECONDS) is old
    assert bench.generations.admissible(old.worker, NOW + ADMISSIBLE_SECONDS + 1) is None
    assert bench.generations.admissible(new.worker, NOW) is new
    assert bench.generations.admissible(new.worker, new.keyset.not_after + 1) is None


@pytest.mark.spec("4-h")
async def test_2_no_offer_outlives_its_keyset(bench: Bench) -> None:
    assert OFFER_SECONDS < ADMISSIBLE_SECONDS
    assert bench.listing.offers[0].offer.valid_until - NOW >= 120


# --- 3: key and commitment -----------------------------------------------------------------------


@pytest.mark.spec("4.3-a")
async def test_3_a_wrap_for_other_keys_is_refused(bench: Bench) -> None:
    sealed, other = bench.seal(), bench.seal()
    refusal = await bench.refused(sealed, key=make_open(other, now=NOW).key)
    assert (refusal.code, refusal.fault) == ("cannot_open", "unattributed")
    assert named(refusal, sealed)


@pytest.mark.spec("4.3-a")
async def test_3_frames_that_the_commitment_does_not_cover_are_refused(bench: Bench) -> None:
    sealed = bench.seal()
    swapped = bytes([*sealed.frames[:-1], sealed.frames[-1] ^ 1])
    refusal = await bench.refused(sealed, frames=swapped)
    assert (refusal.code, refusal.fault) == ("cannot_open", "unattributed")


async def test_3_a_header_altered_on_the_way_is_refused(bench: Bench) -> None:
    sealed = bench.seal()
    altered = hash_header(structs.replace(sealed.header.header, max_cost_nano="999999999"))
    refusal = await bench.refused(sealed, header=altered.raw)
    assert refusal.code == "cannot_open"
    assert refusal.h == altered.h.hex() != sealed.header.h.hex()


# --- 4: auth -------------------------------------------------------------------------------------


@pytest.mark.spec("2.7-a", "4.4-a")
async def test_4_a_payer_that_did_not_sign_is_refused_unattributed(bench: Bench) -> None:
    sealed = bench.seal()
    stranger = Signer(Role.PAYER, b"\x55" * 32)
    auth = stranger.sign(Kind.REQUEST, {"c": sealed.c.hex()})
    refusal = await bench.refused(sealed, auth=auth)
    assert (refusal.code, refusal.fault) == ("bad_auth", "unattributed")
    assert named(refusal, sealed)
    assert (await bench.refused(sealed)).code == "replayed"


# --- 5: replay -----------------------------------------------------------------------------------


@pytest.mark.spec("4-c", "4.5-a")
async def test_5_a_commitment_is_taken_once_and_the_second_refusal_proves_nothing(
    bench: Bench,
) -> None:
    sealed = bench.seal()
    await bench.admit(sealed)
    refusal = await bench.refused(sealed)
    assert (refusal.code, refusal.fault, refusal.c) == ("replayed", "gateway", UNSET)


@pytest.mark.spec("4.5-b")
async def test_5_two_at_the_same_time_are_one(bench: Bench) -> None:
    sealed = bench.seal()
    both = await asyncio.gather(bench.admit(sealed), bench.admit(sealed), return_exceptions=True)
    assert sorted(type(one).__name__ for one in both) == ["Admitted", "Refused"]


@pytest.mark.spec("4-c", "4.5-a")
async def test_5_a_refused_request_is_never_executed(bench: Bench) -> None:
    sealed = bench.seal(raw=b"no json")
    assert named(await bench.refused(sealed), sealed)
    assert (await bench.refused(sealed)).code == "replayed"


@pytest.mark.spec("4-c")
async def test_5_a_request_that_ran_gets_no_proof_from_another_rule(bench: Bench) -> None:
    """A gateway that hands an executed request over again must not gain a refusal naming it."""
    sealed = bench.seal()
    await bench.admit(sealed)
    bench.now += 301
    refusal = await bench.refused(sealed)
    assert (refusal.code, refusal.c) == ("clock_skew", UNSET)


@pytest.mark.spec("4-e")
async def test_5_a_full_store_is_busy_and_names_no_c(bench: Bench) -> None:
    bench.seen._capacity = 0
    refusal = await bench.refused(bench.seal())
    assert (refusal.code, refusal.fault, refusal.c) == ("busy", "worker", UNSET)


# --- 6 and 7: frames and body --------------------------------------------------------------------


BAD_BODIES: list[tuple[str, Callable[[Bench], SealedRequest], str]] = [
    ("no json", lambda b: b.seal(raw=b"nonsense"), "invalid_json"),
    ("duplicate key", lambda b: b.seal(raw=b'{"model":"scripted","model":"x"}'), "invalid_json"),
    ("no json type", lambda b: b.seal(content_type="text/plain"), "unsupported_media_type"),
    (
        "other model",
        lambda b: b.seal(raw=b'{"model":"x","stream":true,"messages":[]}'),
        "header_mismatch",
    ),
    ("other stream", lambda b: b.seal(stream=False), "header_mismatch"),
    ("unknown field", lambda b: b.seal(body=chat("x", magic=1)), "unsupported_parameter"),
    ("long prompt", lambda b: b.seal("a b c d e f", max_input_tokens=3), "context_length_exceeded"),
    ("beyond context", lambda b: b.seal("w " * 5000), "context_length_exceeded"),
    ("no money for output", lambda b: b.seal(max_cost_nano="4"), "cost_cap_exceeded"),
]


@pytest.mark.spec("2.6-a", "4.7-a")
@pytest.mark.parametrize(
    ("make", "code"), [case[1:] for case in BAD_BODIES], ids=[case[0] for case in BAD_BODIES]
)
async def test_7_a_bad_body_is_the_client_s_fault(
    bench: Bench, make: Callable[[Bench], SealedRequest], code: str
) -> None:
    sealed = make(bench)
    refusal = await bench.refused(sealed)
    assert (refusal.code, refusal.fault) == (code, "client")
    assert named(refusal, sealed)
    assert bench.reserved == 0


@pytest.mark.spec("4.6-a")
async def test_6_padding_that_is_not_zero_is_the_client_s_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dirty(head: Any, body: bytes) -> bytes:
        return pack(head, body)[:-1] + b"\x01"

    monkeypatch.setattr(request, "pack", dirty)
    sealed = bench.seal()
    refusal = await bench.refused(sealed)
    assert (refusal.code, refusal.fault) == ("malformed_sealed_request", "client")
    assert named(refusal, sealed)


@pytest.mark.spec("2.6-b")
async def test_7_the_limit_is_the_least_of_body_header_money_and_context(bench: Bench) -> None:
    async def limit(**changes: Any) -> int:
        return (await bench.admit(bench.seal(**changes))).max_output

    assert await limit(body=chat("x", max_tokens=7)) == 7
    assert await limit(max_output_tokens=9) == 9
    # 30 and a fee of 5 %: the prompt's 4 tokens cost 4, and 8 of output 24.
    assert await limit(max_cost_nano="32") == 8
    prompt_left = await limit(max_output_tokens=100_000)
    assert prompt_left < 4096
    assert await limit(body=chat("x", n=3), max_output_tokens=10) == 10


async def test_7_choices_share_the_total(bench: Bench) -> None:
    admitted = await bench.admit(bench.seal(body=chat("x", n=3), max_output_tokens=10))
    assert admitted.body["max_tokens"] == 3


async def test_7_an_engine_that_cannot_count_is_the_worker_s_fault(bench: Bench) -> None:
    class Broken(ScriptedEngine):
        async def count_prompt(self, path: str, body: Any) -> int | None:
            raise EngineFailed("broken")

    bench.admission._engine = Broken()
    refusal = await bench.refused(bench.seal())
    assert (refusal.code, refusal.fault) == ("engine_failed", "worker")


async def test_7_an_engine_without_a_tokenizer_is_bounded_by_bytes(bench: Bench) -> None:
    class Blind(ScriptedEngine):
        async def count_prompt(self, path: str, body: Any) -> int | None:
            return None

    bench.admission._engine = Blind()
    sealed = bench.seal(max_output_tokens=100)
    admitted = await bench.admit(sealed)
    assert admitted.max_output == 100
    assert admitted.worst == sealed.header.header.max_input_tokens + 300
    close = await bench.admit(bench.seal("w" * 5000, max_output_tokens=100))
    assert close.max_output == 16


# --- 8: credit -----------------------------------------------------------------------------------


@pytest.mark.spec("4.8-a", "8.3-a")
@pytest.mark.parametrize(
    ("error", "code", "fault"),
    [(Unpaid("x"), "gateway_unpaid", "gateway"), (WorkerBusy("x"), "busy", "worker")],
)
async def test_8_a_gateway_beyond_its_credit_and_a_full_worker_refuse(
    bench: Bench, error: Exception, code: str, fault: str
) -> None:
    bench.reserve_error = error
    sealed = bench.seal()
    refusal = await bench.refused(sealed)
    assert (refusal.code, refusal.fault) == (code, fault)
    assert named(refusal, sealed)


# --- 12: cache salt ------------------------------------------------------------------------------


@pytest.mark.spec("12-a")
async def test_12_the_cache_salt_is_the_user_s_own(bench: Bench) -> None:
    async def salt(**changes: Any) -> str:
        return (await bench.admit(bench.seal(**changes))).cache_salt

    one, two = "11" * 32, "22" * 32
    assert await salt(cache_secret=one) == await salt(cache_secret=one)
    assert await salt(cache_secret=one) != await salt(cache_secret=two)
    assert await salt() != await salt()


# --- 15: bare sessions ---------------------------------------------------------------------------


SESSION = b"\x0a" * 16
SECRET = b"\x0b" * 32


def start_session(bench: Bench, name: bytes = SESSION, **changes: Any) -> None:
    key = bench.listing.keyset.hpke[0]
    info = session_info(bytes.fromhex(bench.listing.worker), GATEWAY.public_key, name)
    blob = wrap_session(PublicSealingKey.from_bytes(decode_public_key(key.pk)), SECRET, info)
    start = SessionStart(session=name.hex(), key_id=key.id, wrapped=blob.hex())
    start = structs.replace(start, **changes)
    bench.peer.sessions.start(start, bench.generations.current, bench.now)


def bare(bench: Bench, counter: int, tier: str = "bare") -> tuple[Open, bytes]:
    """A request under the session, sealed as a gateway does it."""

    payer = Signer(Role.PAYER, b"\x66" * 32)
    body = chat("say: bare")
    header = hash_header(
        make_header(bench.listing, body, now=bench.now, tier=tier, payer=payer.public_hex)
    )
    keys = request_keys(SECRET, counter)
    head = PlaintextHead(content_type="application/json")
    frames = seal_frames(keys.dek, header.h, pack(head, encode_body(body)))
    c = commitment(keys.dek, header.h, sha256(frames).digest())
    auth = payer.sign(Kind.REQUEST, auth_document(c))
    key = SessionKey(SESSION, counter)
    return Open(bench.now + 1500, os.urandom(8), header.raw, c, auth, key), frames


async def refused_bare(bench: Bench, request: Open, frames: bytes) -> Refusal:
    with pytest.raises(Refused) as caught:
        await bench.submit(request, frames)
    return caught.value.signed.refusal


async def test_15_a_session_carries_bare_requests_out_of_order(bench: Bench) -> None:
    start_session(bench)
    for counter in (3, 0, 1):
        admitted = await bench.submit(*bare(bench, counter))
        assert admitted.header.tier == "bare"


@pytest.mark.spec("15-e")
async def test_15_a_counter_is_taken_once(bench: Bench) -> None:
    start_session(bench)
    await bench.submit(*bare(bench, 0))
    refusal = await refused_bare(bench, *bare(bench, 0))
    assert (refusal.code, refusal.fault) == ("replayed", "gateway")


@pytest.mark.spec("15-f")
async def test_15_a_sealed_header_under_a_session_is_refused(bench: Bench) -> None:
    start_session(bench)
    refusal = await refused_bare(bench, *bare(bench, 0, tier="sealed"))
    assert (refusal.code, refusal.fault) == ("cannot_open", "gateway")


async def test_15_an_unknown_or_ended_session_is_refused(bench: Bench) -> None:
    assert (await refused_bare(bench, *bare(bench, 0))).code == "cannot_open"
    start_session(bench)
    bench.now += 600
    assert (await refused_bare(bench, *bare(bench, 1))).code == "cannot_open"


@pytest.mark.spec("15-c")
async def test_15_sessions_are_bound_to_key_place_and_number(bench: Bench) -> None:
    with pytest.raises(CannotOpen):
        start_session(bench, key_id="ef" * 16)
    with pytest.raises(CannotOpen):
        start_session(bench, session="0c" * 16)
    for number in range(16):
        start_session(bench, bytes([number]) * 16)
    with pytest.raises(CannotOpen):
        start_session(bench, bytes([99]) * 16)


def test_no_promise_is_made_that_a_keyset_cannot_keep(bench: Bench) -> None:
    def publish(left: int) -> list[int]:
        book = bench.generations.current.offers
        offers = book.publish(
            {"scripted": PRICES},
            worker=bench.peer.worker,
            signer=bench.boot.link,
            max_concurrency=4,
            not_after=NOW + left,
            now=NOW,
        )
        return [one.offer.valid_until - NOW for one in offers]

    assert publish(10_000) == [OFFER_SECONDS]
    assert publish(130) == [130]
    assert publish(119) == []
