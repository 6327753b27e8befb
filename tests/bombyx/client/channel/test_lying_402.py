"""Whatever a 402 says, nothing more is signed than the client's own books give (SPEC 7.8, 7.9)."""

from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncOpenAI

from bombyx.client.channel.payer import Payer
from bombyx.client.channel.wallet import Wallet
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.terms import Books, PaymentTerms
from tests.bombyx.client.channel.conftest import CAPS, PAYER
from tests.bombyx.client.channel.test_paying import SHORT
from tests.bombyx.client.channel.till import Lie, Till
from tests.bombyx.client.conftest import Clock, Heard
from tests.bombyx.client.peer import Peer, Received, Reply
from tests.bombyx.money.channel import parties
from tests.factories import GATEWAY, hex_of


def books(**changes: Any) -> Lie:
    """Other numbers in the books of a 402."""

    def lie(terms: PaymentTerms) -> PaymentTerms:
        offer = terms.accepts[0]
        assert isinstance(offer.books, Books)
        told = msgspec.structs.replace(offer.books, **changes)
        offers = [msgspec.structs.replace(offer, books=told)]
        return msgspec.structs.replace(terms, accepts=offers)

    return lie


def offer(**changes: Any) -> Lie:
    """Another offer in a 402."""

    def lie(terms: PaymentTerms) -> PaymentTerms:
        offers = [msgspec.structs.replace(terms.accepts[0], **changes)]
        return msgspec.structs.replace(terms, accepts=offers)

    return lie


def forged(amount: int) -> Lie:
    signature = parties.STRANGER.sign(parties.CHANNEL.template, amount).hex()
    return books(ceiling=str(amount), signature=signature)


async def refused(sdk: AsyncOpenAI) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(**SHORT)
    return caught.value


UNUSABLE: list[tuple[str, Lie]] = [
    ("another channel", books(channel=hex_of("channel"))),
    ("another account", offer(pay_to=hex_of("account"))),
    ("another key", offer(gateway_key=hex_of("key"))),
    ("another network", offer(network="tvm:-3")),
    ("another price", offer(amount="1000000")),
    ("a need that is no sum", books(need="999999")),
    ("no books at all", offer(books=msgspec.UNSET)),
]


@pytest.mark.spec("7.8-b")
@pytest.mark.parametrize("lie", [one for _, one in UNUSABLE], ids=[name for name, _ in UNUSABLE])
async def test_terms_of_something_else_are_refused_and_nothing_is_signed(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, lie: Lie
) -> None:
    till.lie, till.refuse = lie, ["voucher_required"]
    signed = payer.purse.signed_max
    error = await refused(sdk)
    assert error.code == "terms_refused"
    assert len(peer.posts) == 1
    assert payer.purse.signed_max - signed <= 4 * 100
    assert payer.purse.inflight == {}
    assert not payer.purse.alarm


HALTING: list[tuple[str, Lie]] = [
    ("a ceiling without a signature", books(ceiling="5000", signature=msgspec.UNSET)),
    ("a ceiling that a stranger signed", forged(5_000)),
]


@pytest.mark.spec("7.9-f")
@pytest.mark.parametrize("lie", [one for _, one in HALTING], ids=[name for name, _ in HALTING])
async def test_a_proven_lie_halts_the_channel_and_says_how_to_get_out(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, wallet: Wallet, clock: Clock, lie: Lie
) -> None:
    till.lie, till.refuse = lie, ["voucher_required"]
    error = await refused(sdk)
    assert error.code == "gateway_lied"
    assert f"bombyx channel close {payer.store.name} --alone" in str(error)
    signed, sent = payer.purse.signed_max, len(peer.posts)
    till.lie = lambda terms: terms
    error = await refused(sdk)
    assert error.code == "channel_halted"
    assert "--alone" in str(error)
    assert (payer.purse.signed_max, len(peer.posts)) == (signed, sent)
    wallet.close()
    again = Wallet(wallet.root, CAPS, clock=clock)
    (reopened,) = again.open_for("http://gateway")
    assert reopened.purse.alarm == "gateway_lied"
    again.close()


@pytest.mark.spec("7.9-f")
async def test_charges_that_nobody_asked_for_halt_the_channel(
    sdk: AsyncOpenAI, till: Till, payer: Payer
) -> None:
    await sdk.chat.completions.create(**SHORT)

    def invented(terms: PaymentTerms) -> PaymentTerms:
        offer = terms.accepts[0]
        assert isinstance(offer.books, Books)
        need = 10**6 + int(offer.books.reserved) + int(offer.amount)
        told = msgspec.structs.replace(offer.books, charged=str(10**6), need=str(need))
        return msgspec.structs.replace(terms, accepts=[msgspec.structs.replace(offer, books=told)])

    till.lie, till.refuse = invented, ["voucher_required"]
    signed = till.highest
    assert (await refused(sdk)).code == "gateway_lied"
    assert till.highest == signed


@pytest.mark.spec("7.9-e")
async def test_a_402_that_repeats_itself_raises_nothing(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer
) -> None:
    till.refuse = ["voucher_required"] * 50
    for _ in range(5):
        await refused(sdk)
    assert till.highest <= payer.purse.proven + 4 * 100
    assert len(peer.posts) <= 10


async def test_charges_of_lost_answers_are_settled_by_their_receipts(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, heard: Heard, clock: Clock
) -> None:
    peer.relay = lambda frames: frames[:-1]
    for _ in range(3):
        await refused(sdk)
    peer.relay = lambda frames: frames
    clock.now += 600 + 900 + 1
    await sdk.chat.completions.create(**SHORT)
    assert len(payer.purse.lapsed) == 3
    charge = payer.purse.proven
    # It settled all four, and has the voucher of an older time.
    old = parties.ceiling(4 * charge + 10)
    till.row = ChannelRow(deposited=10_000_000, charged=4 * charge, ceiling=old)
    sent = till.highest
    payer.taken(10**9)
    assert (await refused(sdk)).code == "unproven_charges"
    assert not payer.purse.alarm
    till.receipts = {one.sealed.request.c.hex(): one.received for one in heard.disputes}
    await sdk.chat.completions.create(**SHORT)
    assert len(payer.purse.lapsed) == 1
    assert payer.purse.proven == 5 * charge
    assert till.highest == sent


async def test_nonsense_in_place_of_terms_is_refused(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer
) -> None:
    bodies = [b'{"payment":{}}', b'{"payment":7}', b'{"payment": {"v":"bombyx-402/1"} }']
    for body in bodies:

        def told(_: Peer, one: Received, body: bytes = body) -> Reply | None:
            if one.method != "POST":
                return None
            return Reply(402, "application/json", [body])

        peer.instead = told
        assert (await refused(sdk)).code == "terms_refused"
    peer.instead = lambda _, one: (
        Reply(402, "application/json", [b"\xff"]) if one.method == "POST" else None
    )
    assert (await refused(sdk)).status_code == 402
    assert payer.purse.inflight == {}


async def test_a_gateway_that_lied_gets_no_second_channel_by_itself(
    wallet: Wallet, payer: Payer, till: Till, sdk: AsyncOpenAI
) -> None:
    till.lie, till.refuse = forged(5_000), ["voucher_required"]
    await refused(sdk)
    with pytest.raises(Exception, match="lied"):
        wallet.find(GATEWAY.public_hex, PAYER)
