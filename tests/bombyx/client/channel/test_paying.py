"""A channel pays for sealed requests (SPEC 7.9): books first, vouchers when due, receipts count."""

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from bombyx.client.channel.payer import Payer
from bombyx.client.channel.records import decode_books
from bombyx.client.channel.store import BOOKS
from bombyx.client.channel.wallet import Wallet
from bombyx.client.session import Session
from bombyx.client.sidecar import Place, Sidecar
from bombyx.client.sidecar_guard import Keys
from bombyx.client.sidecar_server import loopback_sockets
from bombyx.client.transport_httpx2 import DEFAULT_TIMEOUT, sealed_client
from bombyx.client.upstream_aiohttp import open_pool
from bombyx.envelope.request import parse_request
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.spending import Caps
from tests.bombyx.client.channel.conftest import CAPS, Connect, paying_session
from tests.bombyx.client.channel.till import Till
from tests.bombyx.client.conftest import Clock, Heard
from tests.bombyx.client.peer import Peer, Received, Reply, lost_note, plain_error, problem, serve
from tests.factories import MODEL

ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "canary"}]}
SHORT: dict[str, Any] = {**ASK, "max_tokens": 64}


def cost_of(received: Received) -> int:
    return int(parse_request(received.body)[0].header.header.max_cost_nano)


async def test_a_voucher_goes_along_when_it_is_due_and_not_otherwise(
    sdk: AsyncOpenAI, peer: Peer, till: Till, payer: Payer
) -> None:
    for _ in range(4):
        await sdk.chat.completions.create(**SHORT)
    cost = cost_of(peer.posts[0])
    assert "x-bombyx-voucher" in peer.posts[0].headers
    assert int(till.vouchers[0].amount) == 4 * cost
    assert len(till.vouchers) < 4
    assert payer.purse.inflight == {}


async def test_a_sidecar_pays_for_an_sdk_that_knows_nothing(
    session: Session, origin: str, till: Till, payer: Payer
) -> None:
    with loopback_sockets(0) as sockets:
        port = sockets[0].getsockname()[1]
        async with open_pool(origin) as pool:
            app = Sidecar(session, Place(port, Keys("side-token", "sk-test"), origin), pool)
            async with (
                serve(app, sockets) as url,
                AsyncOpenAI(base_url=f"{url}/v1", api_key="side-token", max_retries=0) as sdk,
            ):
                await sdk.chat.completions.create(**SHORT)
                till.row = ChannelRow(deposited=10_000_000)
                await sdk.chat.completions.create(**SHORT)
                till.refuse = ["voucher_required"] * 2
                with pytest.raises(openai.APIStatusError) as caught:
                    await sdk.chat.completions.create(**SHORT)
    assert caught.value.code == "payment_refused"
    assert payer.purse.proven > 0


async def test_the_blocking_sdk_pays_too(
    session: Session, origin: str, till: Till, payer: Payer
) -> None:
    http = sealed_client(session, timeout=DEFAULT_TIMEOUT, transport=None)
    sdk = OpenAI(base_url=f"{origin}/v1", api_key="sk-test", http_client=http, max_retries=0)

    def ask() -> None:
        sdk.chat.completions.create(**SHORT)

    await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(4)))
    sdk.close()
    assert not payer.is_closed  # the session is not this client's alone
    assert payer.purse.inflight == {}
    assert payer.purse.proven > 0


async def test_receipts_prove_what_was_spent(
    sdk: AsyncOpenAI, till: Till, payer: Payer, heard: Heard
) -> None:
    stream = await sdk.chat.completions.create(**SHORT, stream=True)
    async for _ in stream:
        pass
    await sdk.chat.completions.create(**SHORT)
    charged = sum(int(one.receipt.statement.charge_nano) for one in heard.receipts)
    assert payer.purse.proven == charged > 0
    assert payer.purse.spent_today == charged
    assert payer.purse.inflight == {}


async def test_books_are_on_disk_before_a_voucher_leaves(
    sdk: AsyncOpenAI, peer: Peer, till: Till, payer: Payer
) -> None:
    on_disk = []

    def look(peer: Peer, received: Received) -> Reply | None:
        if received.method == "POST":
            data = (payer.store.folder / BOOKS).read_bytes()
            on_disk.append(decode_books(data, payer.store.name))
        return till(peer, received)

    peer.instead = look
    await asyncio.gather(*(sdk.chat.completions.create(**SHORT) for _ in range(8)))
    commitments = [parse_request(one.body)[0].c for one in peer.posts]
    for purse, c, one in zip(on_disk, commitments, peer.posts, strict=True):
        assert c in purse.inflight
        if "x-bombyx-voucher" in one.headers:
            assert purse.signed_max >= max(int(v.amount) for v in till.vouchers[:1])
    assert payer.purse.signed_max >= till.highest


async def test_what_it_signs_beyond_its_proofs_stays_within_the_cap(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer
) -> None:
    peer.pause = 0.01
    answers = await asyncio.gather(
        *(sdk.chat.completions.create(**SHORT) for _ in range(12)), return_exceptions=True
    )
    assert not [one for one in answers if isinstance(one, Exception)]
    assert till.highest <= payer.purse.proven + CAPS.max_inflight


async def test_a_request_beyond_the_cap_is_refused_here(
    peer: Peer, till: Till, root: Path, funded: Path, clock: Clock, heard: Heard, connect: Connect
) -> None:
    wallet = Wallet(root, Caps(max_inflight=10, max_daily=10**9, max_deposit=10**9), clock=clock)
    sdk = connect(paying_session(clock, heard, wallet))
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**SHORT)
    assert (caught.value.status_code, caught.value.code) == (402, "inflight_cap")
    assert peer.posts == []
    wallet.close()


async def test_a_gateway_that_forgot_the_voucher_gets_it_again_once(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer
) -> None:
    await sdk.chat.completions.create(**SHORT)
    signed = payer.purse.signed_max
    till.row = ChannelRow(deposited=10_000_000)
    await sdk.chat.completions.create(**SHORT)
    assert [int(one.amount) for one in till.vouchers] == [signed, signed]
    assert len(peer.posts) == 3
    assert peer.posts[1].body == peer.posts[2].body


async def test_a_second_402_ends_the_request_and_frees_its_headroom(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer
) -> None:
    till.refuse = ["voucher_required"] * 5
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**SHORT)
    assert caught.value.code == "payment_refused"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert payer.purse.inflight == {}


async def test_a_retry_that_was_answered_counts_once(
    sdk: AsyncOpenAI, till: Till, payer: Payer, heard: Heard
) -> None:
    again: dict[str, Any] = {"extra_headers": {"Idempotency-Key": "one"}}
    await sdk.chat.completions.create(**SHORT, **again)
    proven = payer.purse.proven
    await sdk.chat.completions.create(**SHORT, **again)
    assert len(heard.receipts) == 2
    assert payer.purse.proven == proven
    assert payer.purse.inflight == {}


async def test_a_request_that_provably_never_ran_costs_nothing(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer
) -> None:
    def refuse_once(peer: Peer, received: Received) -> Reply | None:
        if received.method == "POST" and len(peer.posts) == 1:
            c = parse_request(received.body)[0].c.hex()
            return problem(422, "no_candidate", lost=lost_note(c))
        return till(peer, received)

    peer.instead = refuse_once
    await sdk.chat.completions.create(**SHORT)
    assert payer.purse.inflight == {}
    assert payer.purse.lapsed == {}
    assert payer.purse.spent_today == payer.purse.proven


async def test_a_lost_answer_stays_in_flight_until_its_deadline_and_then_lapses(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, clock: Clock
) -> None:
    peer.instead = lambda _, one: plain_error(502, "link_lost") if one.method == "POST" else None
    with pytest.raises(openai.APIStatusError):
        await sdk.chat.completions.create(**SHORT)
    peer.instead = till
    (c,) = payer.purse.inflight
    await sdk.chat.completions.create(**SHORT)
    assert till.asked == []
    clock.now += 600 + 900 + 1
    await sdk.chat.completions.create(**SHORT)
    assert till.asked == [c.hex()]
    assert list(payer.purse.lapsed) == [c]


async def test_a_receipt_that_comes_late_counts_also_after_a_restart(
    sdk: AsyncOpenAI,
    till: Till,
    wallet: Wallet,
    payer: Payer,
    peer: Peer,
    clock: Clock,
    heard: Heard,
    connect: Connect,
) -> None:
    peer.relay = lambda frames: frames[:-1]
    with pytest.raises(openai.APIStatusError):
        await sdk.chat.completions.create(**SHORT)
    (dispute,) = heard.disputes
    (c,) = payer.purse.inflight
    till.receipts[c.hex()] = dispute.received
    wallet.close()
    again = Wallet(wallet.root, CAPS, clock=clock)
    peer.relay = lambda frames: frames
    clock.now += 600 + 900 + 1
    await connect(paying_session(clock, heard, again)).chat.completions.create(**SHORT)
    (reopened,) = again.open_for("http://gateway")
    assert till.asked == [c.hex()]
    assert c not in reopened.purse.inflight
    assert c not in reopened.purse.lapsed
    assert reopened.purse.proven == 2 * int(heard.receipts[-1].receipt.statement.charge_nano)
    again.close()


async def test_headroom_of_lost_answers_comes_back_by_their_receipts(
    till: Till, root: Path, funded: Path, peer: Peer, clock: Clock, heard: Heard, connect: Connect
) -> None:
    caps = Caps(max_inflight=1_000, max_daily=10**9, max_deposit=10**9)
    wallet = Wallet(root, caps, clock=clock)
    sdk = connect(paying_session(clock, heard, wallet))
    peer.relay = lambda frames: frames[:-1]
    with pytest.raises(openai.APIStatusError):
        await sdk.chat.completions.create(**SHORT)
    cost = cost_of(peer.posts[0])
    (payer,) = wallet.open_for("http://gateway")
    payer.caps = Caps(max_inflight=cost + 10, max_daily=10**9, max_deposit=10**9)
    (c,) = payer.purse.inflight
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**SHORT)
    assert caught.value.code == "inflight_cap"
    clock.now += 11
    till.receipts[c.hex()] = heard.disputes[0].received
    peer.relay = lambda frames: frames
    await sdk.chat.completions.create(**SHORT)
    assert till.asked == [c.hex(), c.hex()]
    assert payer.purse.inflight == {}
    wallet.close()


async def test_a_deposit_that_the_gateway_did_not_see_yet_is_shown_to_it(
    sdk: AsyncOpenAI, till: Till, payer: Payer
) -> None:
    till.row, till.deposit_seen = ChannelRow(), 10_000_000
    await sdk.chat.completions.create(**SHORT)
    assert till.registered == 1
    till.row, till.deposit_seen = ChannelRow(), 0
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**SHORT)
    assert caught.value.code == "deposit_too_low"
    assert "bombyx channel topup" in str(caught.value)
    assert payer.purse.inflight == {}


async def test_a_402_without_terms_is_passed_on_as_it_is(
    sdk: AsyncOpenAI, till: Till, payer: Payer
) -> None:
    till.refuse, till.silent = ["insufficient_quota"], True
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**SHORT)
    assert (caught.value.status_code, caught.value.code) == (402, "insufficient_quota")
    assert payer.purse.inflight == {}


async def test_a_closing_channel_is_used_no_more(
    sdk: AsyncOpenAI, till: Till, payer: Payer, wallet: Wallet
) -> None:
    till.refuse = ["channel_closing"]
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**SHORT)
    assert caught.value.code == "channel_closing"
    assert payer.purse.closing
    assert wallet.find(payer.store.record.identity, payer.store.record.payer) is None
