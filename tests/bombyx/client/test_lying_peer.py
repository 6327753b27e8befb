"""A gateway or worker that lies is caught by name, and learns nothing (SPEC 3.9, 13)."""

from collections.abc import Callable
from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncOpenAI

from bombyx.client.session import Session
from bombyx.client.transport_httpx2 import DEFAULT_TIMEOUT, sealed_async_client
from bombyx.envelope.request import parse_request
from bombyx.money.offer import offer_hash
from bombyx.money.statement import Statement, Status
from tests.bombyx.client.conftest import Clock, Heard, new_session
from tests.bombyx.client.peer import (
    ANSWER,
    NOTHING,
    SEALED_STREAM,
    Peer,
    Received,
    Reply,
    answer,
    entry,
    note,
    open_request,
)
from tests.factories import (
    MODEL,
    NOW,
    hex_of,
    keyset,
    offer,
    priced,
    seed,
    signed_offer,
    worker,
)

PROMPT = "canary-prompt: tell me of the silkworm"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
change = msgspec.structs.replace


async def streamed(sdk: AsyncOpenAI, words: list[str | None]) -> None:
    """Ask for a stream and take what comes."""
    async for chunk in await sdk.chat.completions.create(**ASK, stream=True):
        words += [choice.delta.content for choice in chunk.choices]


def drop_end(frames: list[bytes]) -> list[bytes]:
    return frames[:-1]


def drop_usage(frames: list[bytes]) -> list[bytes]:
    return [*frames[:-2], frames[-1]]


def drop_data(frames: list[bytes]) -> list[bytes]:
    return [frames[0], *frames[2:]]


def swap_usage(frames: list[bytes]) -> list[bytes]:
    """One changed byte inside the clear receipt."""
    usage = frames[-2].replace(b'"prompt":100', b'"prompt":101')
    assert usage != frames[-2]
    return [*frames[:-2], usage, frames[-1]]


def go_on(frames: list[bytes]) -> list[bytes]:
    return [*frames, frames[-1]]


def interrupt(frames: list[bytes]) -> list[bytes]:
    return [*frames[:2], note()]


def nothing(_frames: list[bytes]) -> list[bytes]:
    return []


RELAYS: list[tuple[Callable[[list[bytes]], list[bytes]], str]] = [
    (drop_end, "truncated"),
    (drop_usage, "bad_answer"),
    (drop_data, "bad_answer"),
    (swap_usage, "bad_answer"),
    (go_on, "bad_answer"),
    (interrupt, "relay_interrupted"),
    (nothing, "truncated"),
]


@pytest.mark.spec("3.9-d")
@pytest.mark.parametrize(("relay", "code"), RELAYS)
async def test_a_tampered_answer_is_never_shown_as_whole(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard, relay: Any, code: str
) -> None:
    peer.relay = relay
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert (caught.value.status_code, caught.value.code) == (502, code)
    assert ANSWER not in str(caught.value)
    assert [told.code for told in heard.disputes] == [code]
    assert heard.receipts == []
    assert not peer.saw("canary")


@pytest.mark.spec("3.9-c")
@pytest.mark.parametrize(("relay", "code"), RELAYS)
async def test_a_tampered_stream_ends_in_an_error_event(
    sdk: AsyncOpenAI, peer: Peer, relay: Any, code: str
) -> None:
    peer.relay = relay
    with pytest.raises(openai.APIError) as caught:
        await streamed(sdk, [])
    assert caught.value.code == code


@pytest.mark.spec("3.5-b")
async def test_the_gateways_word_on_a_broken_stream_is_called_unauthenticated(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    peer.relay = interrupt
    with pytest.raises(openai.APIError, match="unauthenticated"):
        await streamed(sdk, [])


def altered(**fields: Any) -> Callable[[Statement], Statement]:
    return lambda told: change(told, **fields)


def dearer(told: Statement) -> Statement:
    """Prices that nobody offered, with amounts that follow from them."""
    return priced(change(told, prices=change(told.prices, completion="900000")))


def hungry(told: Statement) -> Statement:
    """More output than the header allows."""
    return priced(change(told, tokens=change(told.tokens, completion=10_000)))


STATEMENTS: list[Any] = [
    dearer,
    hungry,
    altered(charge_nano="1"),
    altered(c=hex_of("other c")),
    altered(h=hex_of("other h")),
    altered(id=hex_of("other", 16)),
    altered(payer=hex_of("foreign payer")),
    altered(gateway=hex_of("other gateway")),
    altered(worker=worker("b").id),
    altered(boot=hex_of("other boot", 16)),
    altered(model="other-model"),
    altered(tier="bare"),
    altered(fee_bps=9999),
    altered(offer=hex_of("other offer")),
    altered(weights=hex_of("other weights")),
    altered(engine=hex_of("other engine")),
    altered(req_ct_hash=hex_of("other request")),
    altered(resp_ct_hash=hex_of("other answer")),
    altered(resp_ct_bytes=1),
]


@pytest.mark.spec("3.9-a")
@pytest.mark.parametrize("statement", STATEMENTS)
async def test_a_receipt_for_anything_else_is_refused(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard, statement: Any
) -> None:
    peer.entries = [entry(worker("a"))]
    peer.script.statement = statement
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "bad_receipt"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert b"statement" in heard.disputes[0].received
    assert heard.receipts == []


@pytest.mark.spec("3.9-a")
async def test_a_receipt_signed_by_another_worker_is_refused(sdk: AsyncOpenAI, peer: Peer) -> None:
    peer.entries = [entry(worker("a"))]
    peer.script.signer = "b"
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "bad_receipt"


@pytest.mark.spec("3.9-a")
@pytest.mark.parametrize("status", [Status.PARTIAL, Status.ABORTED])
async def test_an_answer_is_complete_only_with_a_final_statement(
    sdk: AsyncOpenAI, peer: Peer, status: Status
) -> None:
    peer.script.status = status
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "bad_receipt"


async def test_an_old_answer_to_another_request_does_not_open(sdk: AsyncOpenAI, peer: Peer) -> None:
    kept: list[list[bytes]] = []

    def replay(frames: list[bytes]) -> list[bytes]:
        kept.append(frames)
        return kept[0]

    peer.relay = replay
    await sdk.chat.completions.create(**ASK)
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "bad_answer"


@pytest.mark.spec("3.8-a")
async def test_an_answer_by_a_worker_that_was_not_asked_does_not_open(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    """The gateway hands the request's secret of one worker to nobody; it can only make one up."""

    def forge(frames: list[bytes]) -> list[bytes]:
        opened = peer.opened[-1]
        opened.secret = type(opened.secret)(opened.secret.dek, seed("made up"))
        return answer(opened, peer.script)

    peer.relay = forge
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "bad_answer"


FORGED = msgspec.json.encode(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": NOW,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "forged"}}],
    }
)


@pytest.mark.spec("15-b", "18-c")
@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(200, "application/json", [FORGED]), 502),
        (Reply(200, "text/event-stream", [b"data: [DONE]\n\n"]), 502),
        (Reply(204, SEALED_STREAM, []), 502),
        (Reply(307, "text/plain", [], {"location": "http://127.0.0.1:9/v1/elsewhere"}), 502),
        (Reply(301, "text/plain", [], {"location": "http://127.0.0.1:9/v1/elsewhere"}), 502),
    ],
)
async def test_a_clear_or_redirected_answer_is_not_the_models(
    sdk: AsyncOpenAI, peer: Peer, reply: Reply, status: int
) -> None:
    peer.instead = lambda _peer, got: reply if got.method == "POST" else None
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert (caught.value.status_code, caught.value.code) == (status, "bad_answer")
    assert len(peer.posts) == 1
    assert not peer.saw("canary")


async def test_a_redirected_get_is_not_followed(sdk: AsyncOpenAI, peer: Peer) -> None:
    reply = Reply(302, "text/plain", [], {"location": "http://127.0.0.1:9/v1/models"})
    peer.instead = lambda _peer, _got: reply
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.models.list()
    assert caught.value.code == "bad_answer"


def unverified(peer: Peer) -> None:
    """The quote names another keyset."""
    honest, stranger = entry(worker("a")), worker("c")
    offers = [signed_offer(stranger)]
    peer.entries = [change(honest, keyset=stranger.keyset, offers=offers)]


def expired(peer: Peer) -> None:
    old = worker("a").keyset
    peer.entries = [change(entry(worker("a")), keyset=change(old, not_after=NOW - 1))]


def foreign_weights(peer: Peer) -> None:
    model = change(keyset("a").models[0], weights=hex_of("evil"))
    told = change(worker("a").keyset, models=[model])
    peer.entries = [change(entry(worker("a")), keyset=told)]


def stale_offer(peer: Peer) -> None:
    peer.entries = [entry(worker("a"), offers=[signed_offer(worker("a"), valid_until=NOW)])]


def forged_offer(peer: Peer) -> None:
    """Another price under the old signature."""
    honest = signed_offer(worker("a"))
    prices = change(honest.offer.prices, prompt="1")
    peer.entries = [
        entry(worker("a"), offers=[change(honest, offer=change(honest.offer, prices=prices))])
    ]


def foreign_offer(peer: Peer) -> None:
    peer.entries = [entry(worker("a"), offers=[signed_offer(worker("b"))])]


@pytest.mark.spec("1.7-c", "17.1-c")
@pytest.mark.parametrize(
    "lie",
    [unverified, expired, foreign_weights, stale_offer, forged_offer, foreign_offer],
)
async def test_nothing_is_sent_unless_a_worker_passes_the_policy(
    sdk: AsyncOpenAI, peer: Peer, lie: Callable[[Peer], None]
) -> None:
    lie(peer)
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "no_verified_worker"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert peer.posts == []


async def test_a_model_that_no_worker_is_listed_for_is_not_found(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    peer.entries = []
    with pytest.raises(openai.NotFoundError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert peer.posts == []
    assert not peer.saw("canary")


async def test_a_refused_worker_is_left_out_and_another_serves(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    unverified(peer)
    peer.entries.append(entry(worker("b")))
    await sdk.chat.completions.create(**ASK)
    candidates = peer.opened[0].head.header.header.candidates
    assert [candidate.worker for candidate in candidates] == [worker("b").id]


@pytest.mark.spec("1.7-c")
async def test_a_gateway_that_the_policy_does_not_pin_is_refused(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    peer.gateway = hex_of("strange gateway")
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "gateway_refused"
    assert peer.posts == []


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b"x" * 100])
async def test_a_directory_that_is_none_is_refused(
    sdk: AsyncOpenAI, peer: Peer, body: bytes
) -> None:
    peer.instead = lambda _peer, _got: Reply(200, "application/json", [body])
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "bad_answer"


async def test_a_fee_beyond_everything_is_refused(sdk: AsyncOpenAI, peer: Peer) -> None:
    peer.fee_bps = 10_001
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "bad_answer"


@pytest.mark.spec("13.1-c")
async def test_a_verification_does_not_outlive_its_keyset(
    sdk: AsyncOpenAI, peer: Peer, clock: Clock
) -> None:
    late = signed_offer(worker("a"), valid_until=NOW + 10**6)
    peer.entries = [entry(worker("a"), offers=[late])]
    await sdk.chat.completions.create(**ASK)
    clock.now = worker("a").keyset.not_after
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "no_verified_worker"
    assert len(peer.posts) == 1


async def test_a_workers_error_before_any_token_is_shown_as_its_own(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard
) -> None:
    peer.script.head_status = 400
    peer.script.error = {"message": "too long", "code": "context_length_exceeded", "param": None}
    peer.script.tokens = NOTHING
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.chat.completions.create(**ASK, stream=stream)
        assert caught.value.code == "context_length_exceeded"
        assert caught.value.response.headers["x-bombyx-tier"] == "sealed"
    assert [told.receipt.statement.charge_nano for told in heard.receipts] == ["0", "0"]


async def test_a_workers_error_amid_its_answer_is_billed_and_shown(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard
) -> None:
    peer.script.error = {"message": "the engine died", "code": "engine_failed", "type": "x"}
    peer.script.error_at = 2
    words: list[str | None] = []
    with pytest.raises(openai.APIError, match="the engine died"):
        await streamed(sdk, words)
    assert words == ["The ", "silkworm "]
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert (caught.value.status_code, caught.value.code) == (502, "engine_failed")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert {told.receipt.statement.status for told in heard.receipts} == {Status.ABORTED}


@pytest.mark.spec("3.8-c")
async def test_an_answer_in_another_form_than_asked_is_refused(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    peer.script.content_type = "text/event-stream"
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "bad_answer"


async def test_the_gateways_own_errors_pass_as_errors(sdk: AsyncOpenAI, peer: Peer) -> None:
    error = {"message": "no money", "type": "insufficient_quota", "code": "insufficient_quota"}
    body = msgspec.json.encode({"error": {**error, "secret": "x"}})
    headers = {"x-should-retry": "false", "x-bombyx-tier": "sealed", "retry-after": "3"}
    peer.instead = lambda _peer, got: (
        Reply(402, "application/json", [body], headers) if got.method == "POST" else None
    )
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert (caught.value.status_code, caught.value.code) == (402, "insufficient_quota")
    shown = caught.value.response.headers
    assert shown["x-should-retry"] == "false"
    assert shown["retry-after"] == "3"
    assert "x-bombyx-tier" not in shown


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"error":"text"}', b'{"detail":"x"}'])
async def test_errors_in_other_shapes_are_given_openais(
    sdk: AsyncOpenAI, peer: Peer, body: bytes
) -> None:
    peer.instead = lambda _peer, _got: Reply(503, "text/html", [body])
    with pytest.raises(openai.InternalServerError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert caught.value.code == "upstream_failed"
    assert "503" in caught.value.message


@pytest.mark.spec("11-e")
async def test_what_lies_below_a_sealed_path_is_not_served_and_never_leaves(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.compact(model=MODEL, input="canary")
    with pytest.raises(openai.NotFoundError) as caught:
        await sdk.post("/messages/batches", body=ASK, cast_to=object)
    told = caught.value.response.json()
    assert (told["type"], told["error"]["type"]) == ("error", "not_found_error")
    assert peer.received == []


@pytest.mark.spec("11-e")
@pytest.mark.parametrize(
    "call",
    [
        lambda sdk: sdk.images.generate(model=MODEL, prompt="canary"),
        lambda sdk: sdk.moderations.create(model=MODEL, input="canary"),
        lambda sdk: sdk.files.delete("canary-file"),
        lambda sdk: sdk.chat.completions.create(**ASK, extra_query={"q": "canary"}),
        lambda sdk: sdk.with_options(
            base_url=str(sdk.base_url).replace("/v1/", "/")
        ).chat.completions.create(**ASK),
    ],
)
async def test_what_cannot_be_sealed_never_leaves(sdk: AsyncOpenAI, peer: Peer, call: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await call(sdk)
    assert caught.value.code == "not_sealable"
    assert peer.received == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"model":"m","model":"n"}', "invalid_json"),
        (b"canary", "invalid_json"),
        (b'{"messages":[]}', "invalid_request"),
        (b'{"model":"m","n":17}', "unsupported_value"),
    ],
)
async def test_a_malformed_body_is_refused_here(
    session: Session, origin: str, peer: Peer, body: bytes, code: str
) -> None:
    url, headers = f"{origin}/v1/chat/completions", {"content-type": "application/json"}
    async with sealed_async_client(session, timeout=DEFAULT_TIMEOUT, transport=None) as client:
        answer = await client.post(url, content=body, headers=headers)
        other = await client.post(url, content=body, headers={"content-type": "text/plain"})
        zipped = await client.post(
            url, content=body, headers={**headers, "content-encoding": "gzip"}
        )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert (other.status_code, zipped.status_code) == (415, 400)
    assert peer.received == []


@pytest.mark.spec("2.5-c")
async def test_the_users_own_cap_is_kept(
    clock: Clock, heard: Heard, origin: str, peer: Peer
) -> None:
    session = new_session(clock, heard, max_cost=10_000)
    url = f"{origin}/v1/chat/completions"
    async with sealed_async_client(session, timeout=DEFAULT_TIMEOUT, transport=None) as client:
        within = await client.post(url, json=ASK)
        beyond = await client.post(url, json={**ASK, "max_tokens": 10_000_000})
        absurd = await client.post(url, json={**ASK, "max_tokens": 2**48})
    header = peer.opened[0].head.header.header
    assert int(header.max_cost_nano) <= 10_000
    assert within.status_code == 200
    for refused in (beyond, absurd):
        assert refused.json()["error"]["code"] == "cost_cap_exceeded"


async def test_the_request_names_exactly_what_the_client_verified(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    await sdk.chat.completions.create(**ASK)
    header = parse_request(peer.posts[0].body)[0].header.header
    known = {worker(name).id: worker(name) for name in ("a", "b")}
    assert {one.worker for one in header.candidates} == set(known)
    for one in header.candidates:
        assert one.offer == offer_hash(offer(known[one.worker]))
    assert header.issued_at == NOW
    again: Received = peer.posts[0]
    assert open_request(again.body, worker("a")).body["messages"][0]["content"] == PROMPT
