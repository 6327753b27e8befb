"""A payout channel that an operator asks for: the least deposit is enough (SPEC 8.4)."""

import pytest

from bombyx.errors import DepositCap, NotFound
from bombyx.money.channel.payout import LEAST_DEPOSIT
from tests.gateway.metering.samples import execute
from tests.gateway.payouts.chain_side import Side
from tests.gateway.payouts.test_cap import keeper_of


async def test_an_operator_s_word_opens_one_for_whoever_is_owed_a_nano(side: Side) -> None:
    await side.payouts.meet("w1", side.owner, side.key)
    await side.earn(1)
    await side.rounds(4)
    assert await side.payouts.alive() == []
    for _ in range(2):
        await side.parts.task.pay_owner(side.owner, actor="boss")
        await side.rounds(4)
    (stored,) = await side.payouts.alive()
    assert (stored.ordered, stored.deposited) == (LEAST_DEPOSIT, LEAST_DEPOSIT)
    stored, _ = await side.vouch()
    assert stored.vouched == 1
    keeper_of(side).most = 0
    await side.parts.task.pay_owner(side.owner, actor="boss")  # it is there: the cap is no matter
    rows = await execute(side.url, "SELECT actor, target FROM audit_log WHERE action='payout.open'")
    assert [tuple(row) for row in rows] == [("boss", side.owner)]


async def test_whom_no_channel_can_pay_is_named(side: Side) -> None:
    with pytest.raises(NotFound, match="no worker of this owner"):
        await side.parts.task.pay_owner(side.owner, actor="boss")
    await side.payouts.meet("w1", "local:worker-1", side.key)
    with pytest.raises(NotFound, match="no worker of this owner"):
        await side.parts.task.pay_owner("local:worker-1", actor="boss")


async def test_nobody_s_word_passes_the_cap(side: Side) -> None:
    await side.payouts.meet("w1", side.owner, side.key)
    keeper_of(side).most = LEAST_DEPOSIT - 1
    with pytest.raises(DepositCap):
        await side.parts.task.pay_owner(side.owner, actor="boss")
    assert await side.payouts.alive() == []
