"""Attacks on money: they need no network, so that each is played here, and says what held."""

import asyncio

import aiohttp
import pytest

from bombyx.attack.attacks import channels, closings, payouts, tills, vouchers
from bombyx.attack.defence import Defence
from bombyx.attack.means.parties import Parties, tried
from bombyx.attack.means.till import till
from bombyx.attack.record import Attack, Result
from bombyx.attack.run import all_attacks, run_one
from bombyx.attack.target import Need, Target
from bombyx.errors import VoucherForged
from tests.bombyx.money.channel import parties as honest

MODULES = {one.__name__ for one in (channels, closings, payouts, tills, vouchers)}
MONEY = [one for one in all_attacks() if one.run.__module__ in MODULES]
DEFENCES = {
    Defence.ACCEPTANCE,
    Defence.CHANNEL_ADDRESS,
    Defence.CHARGED_ONLY,
    Defence.CLOSING,
    Defence.DISK_FIRST,
    Defence.OWN_BOOKS,
    Defence.TERMS,
    Defence.TOMBSTONE,
    Defence.TOP_UP,
    Defence.VOUCHER,
    Defence.WORKER_CREDIT,
}


@pytest.mark.parametrize("attack", MONEY, ids=lambda attack: attack.name)
def test_an_attack_on_money_is_defeated_for_the_reason_it_names(attack: Attack) -> None:
    async def play() -> None:
        async with aiohttp.ClientSession() as http:
            outcome = await run_one(attack, Target(http))
        assert outcome.result is Result.DEFEATED, outcome.observed
        code, colon, _ = attack.expected.partition(":")
        assert not colon or code in outcome.observed

    asyncio.run(play())


def test_they_need_this_library_alone_and_cover_each_defence_of_money() -> None:
    assert {one.needs for one in MONEY} == {frozenset({Need.LIBRARY})}
    assert {one.defence for one in MONEY} == DEFENCES


def test_a_lie_shows_nothing_where_the_honest_form_is_refused_too() -> None:
    def refuse() -> None:
        raise VoucherForged("refused")

    assert tried(lambda: 1, lambda: 1, got="taken").won
    assert not tried(lambda: 1, refuse, got="taken").won
    with pytest.raises(ValueError, match="voucher_forged"):
        tried(refuse, refuse, got="taken")


def test_the_kits_own_channels_are_channels() -> None:
    made = Parties()
    channel = made.channel
    channel.check_payer_signed(5, bytes.fromhex(made.voucher(5).signature))
    assert made.offer(5).code == honest.offer(5).code


def test_an_honest_till_is_paid() -> None:
    with till(lambda _, __: (200, [])) as ours:
        one = ours.sealed()
        assert ours.ask(one) == "200"
        ours.payer.prove(ours.statement(one))
        assert ours.payer.purse.inflight == {}
        assert ours.highest >= ours.payer.purse.proven > 0
