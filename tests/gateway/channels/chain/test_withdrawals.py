"""What a key may take back, and who asks twice or at once (SPEC 7.11)."""

import asyncio

import pytest
from sqlalchemy.dialects import sqlite

from bombyx.errors import Forbidden, IdempotencyConflict, InsufficientQuota
from gateway.accounts.repository import Accounts
from gateway.channels.chain.withdrawals import LEAST, paid_from
from gateway.channels.treasury import Withdrawal
from gateway.database import create_engine
from tests.gateway.channels.chain.fixtures import Gate
from tests.gateway.metering.samples import execute, fund, posted
from tests.ton.channels.parties import GRAM
from tests.ton.wallet.fixtures import SOMEBODY
from ton.codec.cells import raw
from ton.wallet.outbox import State
from ton.wallet.outgoing import Outgoing

ELSEWHERE = raw(SOMEBODY)


def home(gate: Gate) -> str:
    """Where deposits of these tests come from."""
    return raw(gate.parties.client.address)


async def back(
    gate: Gate, amount: int, txn: str, *, account: str = "alice", to: str = ""
) -> Withdrawal:
    return await gate.parts.treasury.withdraw_to_payer(
        account, to=to or home(gate), amount=amount, txn=txn, actor="key"
    )


async def anywhere(gate: Gate, amount: int, txn: str, *, to: str) -> Withdrawal:
    return await gate.parts.treasury.withdraw("alice", to=to, amount=amount, txn=txn, actor="boss")


async def paid_in(gate: Gate, amount: int = 2 * GRAM) -> None:
    """An account with much credit, of which so much came from `home`."""
    engine = create_engine(gate.url)
    await Accounts(engine).credit("alice", 50 * GRAM, txn="much")
    await engine.dispose()
    await gate.pay(amount, "alice")
    await gate.rounds()


@pytest.mark.spec("7.11-c")
async def test_a_key_takes_no_more_than_came_from_there_and_did_not_go_back(gate: Gate) -> None:
    await paid_in(gate)
    with pytest.raises(Forbidden):
        await back(gate, 2 * GRAM + 1, "1")
    await back(gate, GRAM, "1")
    await gate.rounds(3)
    with pytest.raises(Forbidden):
        await back(gate, GRAM + 1, "2")
    await back(gate, GRAM, "2")
    with pytest.raises(Forbidden):
        await back(gate, LEAST, "3")
    await gate.pay(LEAST, "alice")
    await gate.rounds()
    await back(gate, LEAST, "3")


@pytest.mark.spec("7.11-c")
async def test_what_an_administrator_sent_there_counts_and_elsewhere_does_not(gate: Gate) -> None:
    await paid_in(gate)
    await anywhere(gate, 9 * GRAM, "away", to=ELSEWHERE)
    with pytest.raises(Forbidden):
        await back(gate, LEAST, "thief", to=ELSEWHERE)
    await anywhere(gate, GRAM, "home", to=gate.parties.client.address.to_str())
    with pytest.raises(Forbidden):
        await back(gate, GRAM + 1, "1")
    await back(gate, GRAM, "1")
    # An administrator is bound by the balance alone: from then on nothing is left for keys.
    await anywhere(gate, 5 * GRAM, "more", to=home(gate))
    await gate.pay(GRAM, "alice")
    await gate.rounds()
    with pytest.raises(Forbidden):
        await back(gate, LEAST, "2")


@pytest.mark.spec("7.11-c")
async def test_what_came_for_another_account_is_no_other_s(gate: Gate) -> None:
    await paid_in(gate)
    await fund(gate.url, "mallory", 5 * GRAM)
    with pytest.raises(Forbidden):
        await back(gate, LEAST, "1", account="mallory")
    await gate.pay(LEAST, "mallory")
    await gate.rounds()
    with pytest.raises(Forbidden):
        await back(gate, LEAST + 1, "1", account="mallory")
    await back(gate, LEAST, "1", account="mallory")


@pytest.mark.spec("7.11-c")
async def test_keys_that_ask_at_once_do_not_pass_it_together(gate: Gate) -> None:
    await paid_in(gate)
    async with gate.another() as other:
        sides = [gate.parts.treasury, other.treasury]
        asked = [
            sides[at % 2].withdraw_to_payer(
                "alice", to=home(gate), amount=GRAM, txn=f"{at}", actor="key"
            )
            for at in range(6)
        ]
        done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, Withdrawal) for one in done) == 2
    assert sum(isinstance(one, Forbidden) for one in done) == 4
    assert len(await execute(gate.url, "SELECT id FROM chain_order")) == 2


@pytest.mark.spec("7.11-b")
@pytest.mark.parametrize("free", [True, False], ids=["anywhere", "a key"])
async def test_one_withdrawal_that_is_asked_for_twice_at_once_is_one(
    gate: Gate, free: bool
) -> None:
    await paid_in(gate)
    before = await posted(gate.url, "alice")
    async with gate.another() as other:
        asked = []
        for side in (gate.parts.treasury, other.treasury) * 2:
            ask = side.withdraw if free else side.withdraw_to_payer
            asked.append(ask("alice", to=home(gate), amount=2 * GRAM, txn="same", actor="k"))
        done = await asyncio.gather(*asked)
    assert len(set(done)) == 1
    assert (done[0].amount, done[0].state) == (2 * GRAM, "queued")
    assert await posted(gate.url, "alice") == before - 2 * GRAM
    await gate.rounds(3)
    # Asked once more, it is the same one, sent by now; the bound does not count it twice.
    again = await (back if not free else anywhere)(gate, 2 * GRAM, "same", to=home(gate))
    assert again.state == "sent"


@pytest.mark.spec("7.11-b")
async def test_of_two_amounts_under_one_name_the_first_counts(gate: Gate) -> None:
    await paid_in(gate)
    before = await posted(gate.url, "alice")
    async with gate.another() as other:
        asked = [
            side.withdraw_to_payer("alice", to=home(gate), amount=amount, txn="same", actor="k")
            for side, amount in ((gate.parts.treasury, GRAM), (other.treasury, GRAM + 1))
        ]
        done = await asyncio.gather(*asked, return_exceptions=True)
    (won,) = [one for one in done if isinstance(one, Withdrawal)]
    assert sum(isinstance(one, IdempotencyConflict) for one in done) == 1
    assert await posted(gate.url, "alice") == before - won.amount
    with pytest.raises(IdempotencyConflict):
        await anywhere(gate, won.amount, "same", to=ELSEWHERE)


async def test_what_came_from_there_and_was_spent_is_not_there_to_withdraw(gate: Gate) -> None:
    await gate.pay(2 * GRAM, "alice")
    await gate.rounds()
    await anywhere(gate, GRAM, "spent", to=ELSEWHERE)
    with pytest.raises(InsufficientQuota):
        await back(gate, 2 * GRAM, "1")


async def test_money_leaves_for_the_address_that_was_checked(gate: Gate) -> None:
    await paid_in(gate)
    await back(gate, GRAM, "1", to=gate.parties.client.address.to_str())
    await gate.rounds(3)
    order = await gate.parts.task.outbox.get("withdrawal:alice:1")
    assert order is not None
    sent = Outgoing(gate.parties.client.address, GRAM, bounce=False)
    assert (order.outgoing, order.state) == (sent, State.SENT)


async def test_what_came_from_an_address_is_found_beside_millions_of_charges(gate: Gate) -> None:
    """Asked under the account's lock; SQLite tells its plan also for an empty table."""
    if gate.url.startswith("postgresql"):
        rows = await execute(
            gate.url, "SELECT indexname FROM pg_indexes WHERE indexname = 'ix_ledger_entry_moved'"
        )
        assert len(rows) == 1
        return
    query = paid_from("alice", raw(SOMEBODY))
    told = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    plan = await execute(gate.url, f"EXPLAIN QUERY PLAN {told}")
    assert "USING INDEX ix_ledger_entry_moved (account=? AND ref=?)" in str(plan[0])
