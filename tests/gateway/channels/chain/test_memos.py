"""What strangers write on their transfers: nothing of it stops the history from being read."""

import pytest
from pytoniq_core import Cell, begin_cell

from tests.gateway.channels.chain.fixtures import Gate
from tests.gateway.metering.samples import execute, posted
from tests.ton.channels.parties import GRAM
from ton.codec.messages import Excesses, Payout

ODD = ["\0", "alice\0", "a\x1blice", "\u202ealice", "alice\u2028bob", "ALICE", "Alice", "x" * 300]
ENCRYPTED = 0x2167DA4B


def foreign(op: int) -> Cell:
    cell: Cell = begin_cell().store_uint(op, 32).store_uint(7, 64).store_uint(1, 8).end_cell()
    return cell


@pytest.mark.spec("7.11-a", "7.11-f")
async def test_odd_memos_book_nothing_are_noted_once_and_stop_no_later_deposit(gate: Gate) -> None:
    before = await posted(gate.url, "alice")
    (start,) = await execute(gate.url, "SELECT lt, hash FROM chain_cursor WHERE reader='deposits'")
    for memo in ODD:
        await gate.pay(GRAM, memo)
    await gate.pay(2 * GRAM, "alice")
    await gate.rounds()
    assert await posted(gate.url, "alice") == before + 2 * GRAM
    assert gate.troubles() == set()
    noted = await gate.audited("deposit.unmatched")
    assert [one["memo"] for one in noted] == [memo[:128] for memo in ODD]
    assert {one["op"] for one in noted} == {""}
    # As after a crash before the place in the history was kept.
    await execute(
        gate.url,
        "UPDATE chain_cursor SET lt = :lt, hash = :hash WHERE reader = 'deposits'",
        lt=start[0],
        hash=start[1],
    )
    await gate.rounds()
    assert await gate.audited("deposit.unmatched") == noted
    assert await posted(gate.url, "alice") == before + 2 * GRAM


async def test_money_of_another_form_is_noted_with_how_it_begins(gate: Gate) -> None:
    short: Cell = begin_cell().store_uint(5, 3).end_cell()
    bodies = [foreign(ENCRYPTED), foreign(0x0F8A7EA5), short, Excesses(1).cell()]
    for body in [*bodies, Payout(1, 5).cell()]:
        await gate.pay(GRAM, body=body)
    await gate.rounds()
    noted = await gate.audited("deposit.unmatched")
    # The last two are what a channel answers; these came from somebody else.
    ops = ["2167da4b", "0f8a7ea5", "", "d53276db", "50430101"]
    assert [one["op"] for one in noted] == ops
    assert {(one["amount_nano"], one["memo"]) for one in noted} == {(str(GRAM), "")}


async def test_what_our_channels_answer_is_noted_nowhere(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    await gate.rounds(3)
    await gate.parts.task.close_channel(gate.id, actor="boss")
    await gate.rounds(3)
    assert (await gate.row()).row.closed
    assert await gate.audited("deposit.unmatched") == []


async def test_one_deposit_that_cannot_be_booked_holds_none_before_it_back(gate: Gate) -> None:
    """What comes after it waits, for its place in the history is the proof that it was read."""
    begun = await execute(gate.url, "SELECT lt FROM chain_cursor WHERE reader='deposits'")
    await gate.pay(GRAM, "nobody")
    await gate.pay(GRAM, "alice")
    before = await posted(gate.url, "alice")
    await execute(
        gate.url, "UPDATE account SET posted = posted + :m WHERE id='alice'", m=9 * 10**18
    )
    await gate.rounds(3)
    assert "channel_books" in gate.troubles()
    assert await execute(gate.url, "SELECT lt FROM chain_cursor WHERE reader='deposits'") != begun
    assert len(await gate.audited("deposit.unmatched")) == 1
    await execute(
        gate.url, "UPDATE account SET posted = posted - :m WHERE id='alice'", m=9 * 10**18
    )
    await gate.rounds()
    assert await posted(gate.url, "alice") == before + GRAM
    assert gate.troubles() == set()
