"""Prepaid deposits by memo and withdrawals: each once, to the nano."""

import asyncio
from functools import partial

import pytest

from bombyx.errors import Forbidden, IdempotencyConflict, InsufficientQuota, NotFound, RequestError
from gateway.channels.chain.withdrawals import LEAST
from gateway.channels.rows import chain_account
from gateway.channels.treasury import Withdrawal
from tests.gateway.channels.chain.fixtures import SLOT, Gate
from tests.gateway.metering.samples import execute, fund, posted
from tests.ton.channels.parties import GRAM
from tests.ton.wallet.fixtures import SOMEBODY
from ton.codec.cells import raw
from ton.settings import DEVNET


async def withdraw(
    gate: Gate, account: str, *, amount: int, txn: str = "1", to: str = raw(SOMEBODY)
) -> Withdrawal:
    return await gate.parts.treasury.withdraw(account, to=to, amount=amount, txn=txn, actor="key")


async def test_money_with_an_account_s_name_is_its_deposit_once(gate: Gate) -> None:
    before = await posted(gate.url, "alice")
    await gate.pay(2 * GRAM, "alice")
    await gate.pay(GRAM, " alice\n")
    for _ in range(3):
        await gate.rounds()
        await execute(gate.url, "DELETE FROM chain_cursor WHERE reader = 'nobody'")
    assert await posted(gate.url, "alice") == before + 3 * GRAM
    assert await posted(gate.url, chain_account(DEVNET)) == -3 * GRAM


@pytest.mark.spec("7.11-a")
async def test_a_history_that_is_read_again_books_nothing_again(gate: Gate) -> None:
    (start,) = await execute(gate.url, "SELECT lt, hash FROM chain_cursor WHERE reader='deposits'")
    before = await posted(gate.url, "alice")
    await gate.pay(GRAM, "alice")
    await gate.rounds()
    await execute(
        gate.url,
        "UPDATE chain_cursor SET lt = :lt, hash = :hash WHERE reader = 'deposits'",
        lt=start[0],
        hash=start[1],
    )
    await gate.rounds()
    assert await posted(gate.url, "alice") == before + GRAM


@pytest.mark.parametrize("memo", ["bob", "issuance", "", None, "x" * 300])
async def test_money_without_an_account_s_name_waits_for_a_person(
    gate: Gate, memo: str | None
) -> None:
    await gate.pay(GRAM, memo)
    await gate.pay(1_000, memo)
    await gate.rounds(2)
    rows = await execute(gate.url, "SELECT detail FROM audit_log WHERE action='deposit.unmatched'")
    assert len(rows) == 1
    assert f'"amount_nano":"{GRAM}"' in rows[0][0]


async def test_change_and_payouts_are_no_deposits(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    await gate.rounds(4)
    rows = await execute(gate.url, "SELECT id FROM audit_log WHERE action = 'deposit.unmatched'")
    assert rows == []


async def test_a_withdrawal_is_booked_and_sent_once(gate: Gate) -> None:
    await gate.pay(2 * GRAM, "alice")
    await gate.rounds()
    to = SOMEBODY
    ask = partial(gate.parts.treasury.withdraw, "alice", to=raw(SOMEBODY), actor="key")
    before, held = gate.parties.devnet.account(raw(to)).balance, await posted(gate.url, "alice")
    first = await ask(amount=GRAM, txn="one")
    assert first.state == "queued"
    assert await ask(amount=GRAM, txn="one") == first
    await gate.rounds(3)
    assert gate.parties.devnet.account(raw(to)).balance == before + GRAM
    done = await gate.parts.treasury.withdrawal("alice", "one")
    assert (done.state, len(done.transaction)) == ("sent", 64)
    assert await posted(gate.url, "alice") == held - GRAM
    with pytest.raises(IdempotencyConflict):
        await ask(amount=GRAM + 1, txn="one")


@pytest.mark.spec("7.11-b")
async def test_withdrawals_at_once_take_no_more_than_there_is(gate: Gate) -> None:
    await gate.pay(GRAM, "alice")
    await gate.rounds()
    asked = [withdraw(gate, "alice", amount=GRAM, txn=str(number)) for number in range(3)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, InsufficientQuota) for one in done) == 2


async def test_what_a_process_holds_is_not_withdrawn(gate: Gate) -> None:
    await fund(gate.url, "carol", 2 * LEAST)
    await gate.store.grant("carol", SLOT, epoch=gate.epoch, need=LEAST, processes=1)
    with pytest.raises(InsufficientQuota):
        await withdraw(gate, "carol", amount=2 * LEAST)
    rows = await execute(gate.url, "SELECT recall FROM account WHERE id = 'carol'")
    assert rows[0][0]


async def test_a_withdrawal_that_the_wallet_could_not_send_is_queued_again(gate: Gate) -> None:
    await gate.pay(GRAM, "alice")
    await gate.rounds()
    await withdraw(gate, "alice", amount=GRAM, txn="one")
    await execute(gate.url, "UPDATE chain_order SET state = 'skipped'")
    await gate.rounds(3)
    assert (await gate.parts.treasury.withdrawal("alice", "one")).state == "sent"


async def test_what_cannot_be_withdrawn_is_refused(gate: Gate) -> None:
    with pytest.raises(RequestError, match="at least"):
        await withdraw(gate, "alice", amount=LEAST - 1, txn="1")
    for nobody in ("nobody", "issuance"):
        with pytest.raises(NotFound):
            await withdraw(gate, nobody, amount=LEAST, txn="1")
    with pytest.raises(NotFound):
        await gate.parts.treasury.withdrawal("alice", "nothing")
    for address in ("nowhere", "-1:" + "11" * 32):
        with pytest.raises(RequestError):
            await withdraw(gate, "alice", amount=LEAST, to=address)


@pytest.mark.spec("7.11-c")
async def test_a_key_withdraws_only_to_where_the_money_came_from(gate: Gate) -> None:
    back = partial(gate.parts.treasury.withdraw_to_payer, "alice", amount=GRAM, actor="key")
    home = raw(gate.parties.client.address)
    with pytest.raises(Forbidden):
        await back(to=home, txn="1")
    await gate.pay(2 * GRAM, "alice")
    await gate.rounds()
    with pytest.raises(Forbidden):
        await back(to=raw(SOMEBODY), txn="1")
    assert (await back(to=gate.parties.client.address.to_str(), txn="1")).to == home
