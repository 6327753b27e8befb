"""A payer's books between requests: late receipts, repetitions, and what is refused (SPEC 7.9)."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncOpenAI

from bombyx import canonical
from bombyx.client.channel import payer as payer_module
from bombyx.client.channel.asked import Asked, asked_of, encode_asked, verify_late
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.paying import HINT
from bombyx.client.disputes import Dispute
from bombyx.client.session import Session
from bombyx.errors import BadReceipt
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.receipt import Receipt
from tests.bombyx.client.channel.conftest import Connect
from tests.bombyx.client.channel.test_paying import SHORT
from tests.bombyx.client.channel.till import Till
from tests.bombyx.client.conftest import Clock, Heard, new_session
from tests.bombyx.client.peer import Peer, Received, Reply, plain_error
from tests.bombyx.money.channel import parties
from tests.factories import hex_of, receipts, seed, worker


async def lost(sdk: AsyncOpenAI, peer: Peer, heard: Heard) -> Dispute:
    """An answer that broke off behind its receipt."""
    peer.relay = lambda frames: frames[:-1]
    with pytest.raises(openai.APIStatusError):
        await sdk.chat.completions.create(**SHORT)
    peer.relay = lambda frames: frames
    return heard.disputes[-1]


def forged(dispute: Dispute, change: Callable[[Receipt], Receipt]) -> bytes:
    return canonical.encode(change(canonical.decode(dispute.received, Receipt)))


@pytest.mark.spec("7.9-c")
async def test_only_genuine_receipts_of_the_request_count(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, heard: Heard
) -> None:
    dispute = await lost(sdk, peer, heard)
    asked = asked_of(dispute.sealed)
    told = canonical.decode(dispute.received, Receipt)
    assert verify_late(asked, dispute.received) == told.statement
    again = msgspec.json.decode(encode_asked(asked), type=Asked)
    assert verify_late(again, dispute.received) == told.statement
    stranger = worker("stranger")

    def by_stranger(receipt: Receipt) -> Receipt:
        statement = msgspec.structs.replace(receipt.statement, worker=stranger.id)
        return receipts([statement], stranger.receipt)[0]

    def of_another_life(receipt: Receipt) -> Receipt:
        of = next(one for one in ("a", "b") if worker(one).id == receipt.statement.worker)
        statement = msgspec.structs.replace(receipt.statement, boot=hex_of("life", 16))
        return receipts([statement], worker(of).receipt)[0]

    def dearer(receipt: Receipt) -> Receipt:
        statement = msgspec.structs.replace(receipt.statement, charge_nano="1")
        return msgspec.structs.replace(receipt, statement=statement)

    c = dispute.sealed.request.c
    for wrong in (by_stranger, of_another_life, dearer):
        document = forged(dispute, wrong)
        with pytest.raises(BadReceipt):
            verify_late(asked, document)
        assert not payer.late(c, document)
    assert not payer.late(c, b"{}")
    assert payer.purse.proven == 0
    assert payer.late(c, dispute.received)
    assert payer.purse.proven == int(told.statement.charge_nano)
    assert payer.late(c, dispute.received)
    assert payer.purse.proven == int(told.statement.charge_nano)


async def test_one_key_at_once_is_one_request(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, heard: Heard
) -> None:
    peer.pause = 0.02
    again: dict[str, Any] = {"extra_headers": {"Idempotency-Key": "both"}}
    first = asyncio.create_task(sdk.chat.completions.create(**SHORT, **again))
    while not peer.posts:
        await asyncio.sleep(0.001)
    second = asyncio.create_task(sdk.chat.completions.create(**SHORT, **again))
    await asyncio.gather(first, second)
    assert payer.purse.proven == int(heard.receipts[0].receipt.statement.charge_nano)
    assert payer._running == {}


async def test_it_remembers_a_bounded_number_of_settled_requests(
    sdk: AsyncOpenAI, till: Till, payer: Payer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payer_module, "REMEMBERED", 2)
    for _ in range(4):
        await sdk.chat.completions.create(**SHORT)
    assert len(payer._settled) == 2


async def test_a_deposit_that_is_used_up_is_an_error_before_anything_is_sent(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer
) -> None:
    payer.change(lambda purse: replace(purse, proven=purse.deposited)).result()
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**SHORT)
    assert (caught.value.status_code, caught.value.code) == (402, "deposit_too_low")
    assert peer.posts == []


async def test_a_gateway_that_shows_no_register_leaves_the_deposit_unseen(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer
) -> None:
    def no_register(peer: Peer, received: Received) -> Reply | None:
        if received.path == "/v1/channels":
            return plain_error(404, "not_found")
        return till(peer, received)

    peer.instead = no_register
    till.row = ChannelRow()
    with pytest.raises(openai.APIStatusError, match="topup"):
        await sdk.chat.completions.create(**SHORT)
    assert payer.purse.inflight == {}


async def test_a_second_402_without_terms_is_the_gateways_word(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer
) -> None:
    def turns(peer: Peer, received: Received) -> Reply | None:
        till.silent = len(peer.posts) > 1
        return till(peer, received)

    peer.instead = turns
    till.refuse = ["voucher_required", "insufficient_quota"]
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**SHORT)
    assert caught.value.code == "insufficient_quota"
    assert payer.purse.inflight == {}


async def test_a_client_without_a_wallet_learns_what_to_do_in_one_sentence(
    peer: Peer, clock: Clock, heard: Heard, connect: Connect, till: Till
) -> None:
    without: Session = new_session(clock, heard)
    sdk = connect(without)

    def refused(body: bytes) -> None:
        peer.instead = lambda _, one: (
            Reply(402, "application/json", [body]) if one.method == "POST" else None
        )

    error = {"message": "the request may cost more than there is", "code": "insufficient_quota"}
    terms = msgspec.to_builtins(parties.terms(ChannelRow(), 5))
    refused(canonical.encode({"error": error, "payment": terms}))
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**SHORT)
    assert caught.value.status_code == 402
    assert str(caught.value.message).endswith(HINT)
    for payment in ({}, {"payment": {"v": "?"}}):
        refused(canonical.encode({"error": error, **payment}))
        with pytest.raises(openai.APIStatusError) as caught:
            await sdk.chat.completions.create(**SHORT)
        assert HINT not in str(caught.value.message)


def test_secrets_and_amounts_are_not_in_reprs(payer: Payer) -> None:
    shown = f"{payer!r} {payer.store!r} {payer.store.signer!r}"
    assert payer.store.name in shown
    assert seed("session key").hex() not in shown
