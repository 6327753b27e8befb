"""A request runs once however often it is sent (SPEC 14); refusals are proof or nothing."""

from collections.abc import Sequence
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from openai import AsyncOpenAI

from bombyx.client.effects import ClearRequest
from bombyx.client.retries import KEPT_SECONDS, MAX_KEPT, MAX_KEPT_BYTES, Retries, name_call
from bombyx.client.session import Session
from bombyx.client.transport_httpx2 import DEFAULT_TIMEOUT, sealed_async_client
from bombyx.envelope.request import parse_request
from bombyx.errors import IdempotencyConflict
from bombyx.link.documents import SignedRefusal
from bombyx.signing import Role, Signer
from tests.bombyx.client.conftest import Clock
from tests.bombyx.client.peer import (
    Peer,
    Received,
    Reply,
    entry,
    lost_note,
    plain_error,
    problem,
)
from tests.factories import MODEL, NOW, hex_of, refusal, seed, signed_offer, worker

ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}


def commitments(peer: Peer) -> list[str]:
    return [parse_request(post.body)[0].c.hex() for post in peer.posts]


def sent_away(received: Received, code: str = "no_candidate", **changes: Any) -> Reply | None:
    """Every POST is sent away with the gateway's genuine note, but for what the test changes."""
    if received.method != "POST":
        return None
    c = parse_request(received.body)[0].c.hex()
    return problem(422, code, lost=lost_note(**{"c": c, **changes}))


def first(peer: Peer, received: Received, reply: Reply | None) -> Reply | None:
    """Only the first POST is answered so."""
    return reply if received.method == "POST" and len(peer.posts) == 1 else None


@pytest.fixture
def patient(sdk: AsyncOpenAI) -> AsyncOpenAI:
    return sdk.with_options(max_retries=2)


@pytest.mark.spec("14.1-a")
@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_a_retry_of_the_sdk_sends_the_same_bytes(
    patient: AsyncOpenAI, peer: Peer, status: int
) -> None:
    reply = plain_error(status, "busy")
    reply.headers["retry-after-ms"] = "1"
    peer.instead = lambda peer, got: first(peer, got, reply)
    await patient.chat.completions.create(**ASK)
    assert len(peer.posts) == 2
    assert peer.posts[0].body == peer.posts[1].body


async def test_a_retry_after_a_broken_answer_sends_the_same_bytes(
    patient: AsyncOpenAI, peer: Peer
) -> None:
    honest = peer.relay
    peer.relay = lambda frames: frames[:1] if len(peer.posts) == 1 else honest(frames)
    await patient.chat.completions.create(**ASK)
    assert len(peer.posts) == 2
    assert len(set(commitments(peer))) == 1


@pytest.mark.spec("2.9-f")
async def test_a_new_call_with_the_same_body_is_a_new_request(sdk: AsyncOpenAI, peer: Peer) -> None:
    for _ in range(2):
        await sdk.chat.completions.create(**ASK)
    assert len(set(commitments(peer))) == 2


async def test_an_idempotency_key_names_the_request(
    sdk: AsyncOpenAI, peer: Peer, clock: Clock
) -> None:
    key = {"Idempotency-Key": "k-1"}
    for _ in range(2):
        await sdk.chat.completions.create(**ASK, extra_headers=key)
    assert len(set(commitments(peer))) == 1
    with pytest.raises(openai.ConflictError) as caught:
        await sdk.chat.completions.create(**ASK, temperature=0.5, extra_headers=key)
    assert caught.value.code == "idempotency_conflict"
    clock.now += KEPT_SECONDS
    await sdk.chat.completions.create(**ASK, extra_headers=key)
    assert len(set(commitments(peer))) == 2


async def test_another_key_of_the_gateway_never_meets_the_request(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    key = {"Idempotency-Key": "k-1"}
    await sdk.chat.completions.create(**ASK, extra_headers=key)
    await sdk.with_options(api_key="sk-other").chat.completions.create(**ASK, extra_headers=key)
    assert len(set(commitments(peer))) == 2
    payers = {parse_request(post.body)[0].header.header.payer for post in peer.posts}
    assert len(payers) == 2


@pytest.mark.spec("14.3-a")
async def test_after_a_rotation_the_request_is_sealed_anew_once(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    peer.instead = lambda peer, got: first(peer, got, sent_away(got))
    await sdk.chat.completions.create(**ASK)
    assert len(set(commitments(peer))) == 2
    paths = [one.path for one in peer.received]
    assert paths.count("/v1/confidential/workers") == 2


@pytest.mark.spec("14.3-a")
async def test_a_second_422_is_the_answer(sdk: AsyncOpenAI, peer: Peer) -> None:
    peer.instead = lambda _peer, got: sent_away(got)
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "no_candidate"
    assert len(peer.posts) == 2


async def test_what_was_given_up_is_not_sent_again_for_an_idempotency_key(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    """It can never run: the caller's next try, after both were sent away, is a new request."""
    peer.instead = lambda peer, got: sent_away(got) if len(peer.posts) < 3 else None
    key = {"Idempotency-Key": "k-1"}
    with pytest.raises(openai.UnprocessableEntityError):
        await sdk.chat.completions.create(**ASK, extra_headers=key)
    await sdk.chat.completions.create(**ASK, extra_headers=key)
    assert len(set(commitments(peer))) == 3


async def test_a_new_fee_is_read_and_the_request_sealed_anew(sdk: AsyncOpenAI, peer: Peer) -> None:
    await sdk.chat.completions.create(**ASK)
    peer.fee_bps = 300
    peer.instead = lambda peer, got: sent_away(got, "wrong_fee") if len(peer.posts) == 2 else None
    await sdk.chat.completions.create(**ASK)
    assert parse_request(peer.posts[-1].body)[0].header.header.fee_bps == 300


def refusals(received: Received, names: Sequence[str], **changes: Any) -> list[SignedRefusal]:
    """Genuine refusals of a request by workers, but for what the test changes."""
    head = parse_request(received.body)[0]
    told = {"c": head.c.hex(), "h": head.header.h.hex(), **changes}
    return [refusal(worker(name), **told) for name in names]


@pytest.mark.spec("14.3-a")
async def test_signed_refusals_of_all_workers_allow_a_new_seal(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    peer.instead = lambda peer, got: (
        first(peer, got, problem(422, "no_candidate", refusals(got, "ab")))
        if got.method == "POST"
        else None
    )
    await sdk.chat.completions.create(**ASK)
    assert len(set(commitments(peer))) == 2


def forged(received: Received) -> list[SignedRefusal]:
    return [msgspec.structs.replace(refusals(received, "a")[0], signature="00" * 64)]


NOTES: list[dict[str, Any]] = [
    {"c": hex_of("other request")},
    {"gateway": Signer(Role.GATEWAY, seed("other gateway"))},
]


@pytest.mark.spec("14.3-b")
@pytest.mark.parametrize("changes", NOTES)
async def test_a_note_that_is_not_of_this_request_and_gateway_proves_nothing(
    sdk: AsyncOpenAI, peer: Peer, changes: dict[str, Any]
) -> None:
    peer.instead = lambda _peer, got: sent_away(got, **changes)
    await unproven(sdk, peer)


@pytest.mark.spec("14.3-b")
async def test_a_note_with_anothers_signature_proves_nothing(sdk: AsyncOpenAI, peer: Peer) -> None:
    def lie(_peer: Peer, got: Received) -> Reply | None:
        if got.method != "POST":
            return None
        genuine = lost_note(parse_request(got.body)[0].c.hex())
        lost = msgspec.structs.replace(genuine.lost, at=genuine.lost.at + 1)
        altered = msgspec.structs.replace(genuine, lost=lost)
        # Refusals of all would do alone; what is shown must hold all the same.
        return problem(422, "no_candidate", refusals(got, "ab"), altered)

    peer.instead = lie
    await unproven(sdk, peer)


@pytest.mark.spec("14.3-a")
@pytest.mark.parametrize("code", ["no_candidate", "wrong_fee"])
@pytest.mark.parametrize("names", ["", "a", "b"])
async def test_one_candidate_may_have_run_what_the_others_refused(
    sdk: AsyncOpenAI, peer: Peer, names: str, code: str
) -> None:
    peer.instead = lambda _peer, got: (
        problem(422, code, refusals(got, names)) if got.method == "POST" else None
    )
    await unproven(sdk, peer)


async def unproven(sdk: AsyncOpenAI, peer: Peer) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "unproven_refusal"
    assert len(set(commitments(peer))) == len(peer.posts) == 1


UNPROVEN: list[Any] = [
    forged,
    lambda got: refusals(got, "a", h=hex_of("altered header")),
    lambda got: refusals(got, "a", c=hex_of("other request")),
    lambda got: refusals(got, "a", gateway=hex_of("other gateway")),
    lambda got: refusals(got, "c"),
    lambda got: refusals(got, "ab")[:1] + forged(got),
]


@pytest.mark.spec("14.3-b")
@pytest.mark.parametrize("make", UNPROVEN)
@pytest.mark.parametrize("status", [400, 422])
async def test_a_refusal_that_proves_nothing_never_leads_to_a_new_seal(
    patient: AsyncOpenAI, peer: Peer, make: Any, status: int
) -> None:
    """The SDK may retry: then the same bytes go, which cannot run twice."""
    peer.instead = lambda peer, got: (
        problem(status, "no_candidate", make(got)) if got.method == "POST" else None
    )
    with pytest.raises(openai.InternalServerError) as caught:
        await patient.with_options(max_retries=1).chat.completions.create(**ASK)
    assert caught.value.code == "unproven_refusal"
    assert len(peer.posts) == 2
    assert len(set(commitments(peer))) == 1


@pytest.mark.spec("14.3-b", "4-d")
async def test_a_worker_with_a_slow_clock_proves_nothing(sdk: AsyncOpenAI, peer: Peer) -> None:
    peer.instead = lambda _peer, got: (
        problem(422, "no_candidate", refusals(got, "a", code="clock_ahead"))
        if got.method == "POST"
        else None
    )
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "clock_ahead"
    assert len(peer.posts) == 1


async def test_a_clients_fault_is_shown_as_such(sdk: AsyncOpenAI, peer: Peer) -> None:
    peer.instead = lambda _peer, got: (
        problem(400, "header_mismatch", refusals(got, "a", fault="client"))
        if got.method == "POST"
        else None
    )
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "header_mismatch"
    assert len(peer.posts) == 1


@pytest.mark.parametrize(
    "reply",
    [
        problem(422, "something_else"),
        plain_error(422, "no_candidate"),
    ],
)
async def test_another_422_is_an_answer_like_any_error(
    sdk: AsyncOpenAI, peer: Peer, reply: Reply
) -> None:
    peer.instead = lambda _peer, got: reply if got.method == "POST" else None
    with pytest.raises(openai.UnprocessableEntityError):
        await sdk.chat.completions.create(**ASK)
    assert len(peer.posts) == 1


async def test_a_problem_that_cannot_be_read_proves_nothing(sdk: AsyncOpenAI, peer: Peer) -> None:
    reply = Reply(422, "application/problem+json", [b'{"refusals":[1]}'])
    peer.instead = lambda _peer, got: reply if got.method == "POST" else None
    with pytest.raises(openai.InternalServerError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "unproven_refusal"


async def test_a_directory_is_remembered_for_a_minute(
    sdk: AsyncOpenAI, peer: Peer, clock: Clock
) -> None:
    for later in (0, 59, 1):
        clock.now += later
        await sdk.chat.completions.create(**ASK)
    assert [one.path for one in peer.received].count("/v1/confidential/workers") == 2


@pytest.mark.spec("13.1-b")
async def test_a_remembered_directory_whose_offers_ran_out_is_fetched_again(
    sdk: AsyncOpenAI, peer: Peer, clock: Clock
) -> None:
    peer.entries = [entry(worker("a"), offers=[signed_offer(worker("a"), valid_until=NOW + 40)])]
    await sdk.chat.completions.create(**ASK)
    peer.entries = [entry(worker("b"))]
    clock.now += 30
    await sdk.chat.completions.create(**ASK)
    assert [opened.keys.id for opened in peer.opened] == [worker("a").id, worker("b").id]


# --- The store itself. ---------------------------------------------------------------------------


def request(body: bytes = b"{}", **headers: str) -> ClearRequest:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return ClearRequest("POST", "http://g", "/v1/chat/completions", "", pairs, body)


RETRY: Any = {"x_stainless_retry_count": "1"}


def test_a_running_request_is_not_taken_up_by_an_equal_calls_retry() -> None:
    store: Retries[str] = Retries()
    running = store.keep(name_call(request()), "running", size=1, now=0)
    failed = store.keep(name_call(request()), "failed", size=1, now=0)
    store.release(failed, answered=False)
    taken = store.take(name_call(request(**RETRY)), now=1)
    assert taken is not None
    assert taken.sealed == "failed"
    assert store.take(name_call(request(**RETRY)), now=1) is None
    store.release(running, answered=True)
    assert store.take(name_call(request(**RETRY)), now=1) is None


def test_a_first_call_takes_nothing_up() -> None:
    store: Retries[str] = Retries()
    store.release(store.keep(name_call(request()), "old", size=1, now=0), answered=False)
    assert store.take(name_call(request()), now=1) is None
    assert store.take(name_call(request(b"[]", **RETRY)), now=1) is None
    assert store.take(name_call(request(**RETRY)), now=KEPT_SECONDS) is None


@pytest.mark.spec("14.1-b")
def test_a_key_with_another_body_is_refused() -> None:
    store: Retries[str] = Retries()
    store.keep(name_call(request(idempotency_key="k")), "one", size=1, now=0)
    with pytest.raises(IdempotencyConflict):
        store.take(name_call(request(b"[]", idempotency_key="k")), now=1)


@pytest.mark.parametrize(("count", "size"), [(MAX_KEPT, 1), (4, MAX_KEPT_BYTES // 4)])
def test_the_store_is_bounded_and_drops_the_oldest(count: int, size: int) -> None:
    store: Retries[int] = Retries()
    for number in range(count + 1):
        name = name_call(request(str(number).encode()))
        store.release(store.keep(name, number, size=size, now=0), answered=False)
    assert store.take(name_call(request(b"0", **RETRY)), now=1) is None
    assert store.take(name_call(request(b"1", **RETRY)), now=1) is not None


@pytest.mark.spec("14.1-a")
async def test_a_retry_after_a_lost_connection_sends_the_same_bytes(session: Session) -> None:
    """The first request may have arrived: only the same bytes are safe."""
    peer = Peer()

    def network(request: httpx2.Request) -> httpx2.Response:
        received = Received(
            request.method, request.url.path, "", dict(request.headers), request.content
        )
        peer.received.append(received)
        if len(peer.posts) == 1 and request.method == "POST":
            raise httpx2.ReadError("reset by peer")
        reply = peer.reply(received)
        headers = {"content-type": reply.content_type}
        return httpx2.Response(reply.status, headers=headers, content=b"".join(reply.pieces))

    client = sealed_async_client(
        session, timeout=DEFAULT_TIMEOUT, transport=httpx2.MockTransport(network)
    )
    async with AsyncOpenAI(base_url="http://g/v1", api_key="k", http_client=client) as sdk:
        await sdk.chat.completions.create(**ASK)
    assert len(peer.posts) == 2
    assert len(set(commitments(peer))) == 1
