"""Books that are an old copy: a channel halts, once, and serves again when a person has looked."""

import asyncio

import pytest

from bombyx.errors import ChannelClosed, ChannelNotFound, ChannelRolledBack, CloseInFlight
from gateway.channels.repository import Channels
from gateway.channels.rows import channel_account
from gateway.database import create_engine
from tests.gateway.channels.chain.fixtures import LOST_S, Gate
from tests.gateway.metering.samples import execute, posted
from tests.ton.channels.parties import GRAM, HOUR
from ton.channels import orders

SOME = GRAM // 100


async def old_copy(gate: Gate, *, charged: int = SOME) -> None:
    """These books forget what was charged since, the claim of it and the vouchers for it."""
    await gate.begin()
    await gate.charge(charged)
    voucher = (await gate.row()).row.ceiling
    before = await posted(gate.url, channel_account(gate.id))
    await gate.charge(GRAM)
    await gate.rounds(3)
    assert (await gate.parties.look()).claimed == charged + GRAM
    # No row of the ledger can be taken away: the forgotten charge is booked back instead.
    await execute(
        gate.url,
        "UPDATE channel SET claimed = 0, charged = :c, ceiling = :c, ceiling_signature = :s",
        c=charged,
        s=voucher.signature,
    )
    gone = before - await posted(gate.url, channel_account(gate.id))
    assert gone == GRAM
    for name, delta in ((channel_account(gate.id), gone), ("worker:bob", -gone)):
        await execute(
            gate.url, "UPDATE account SET posted = posted + :d WHERE id = :id", d=delta, id=name
        )
        await execute(
            gate.url,
            "INSERT INTO ledger_entry (txn, account, amount_nano, kind, ref, at) "
            "VALUES ('old copy', :id, :d, 'earning', '', 0)",
            d=delta,
            id=name,
        )


async def let_deadlines_pass(gate: Gate) -> None:
    """Whatever was lost can come back no more. The log itself refuses to be changed."""
    (at,) = await execute(gate.url, "SELECT max(at) FROM audit_log WHERE action = 'channel.halt'")
    await execute(
        gate.url,
        "INSERT INTO audit_log (at, actor, action, target, detail) "
        "VALUES (:at, 'chain', 'channel.halt', :id, '{}')",
        at=at[0] - LOST_S * 1000,
        id=gate.id,
    )


@pytest.mark.spec("7.7-b")
async def test_a_halt_is_one_row_of_the_audit_log_however_often_it_is_seen(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(SOME)
    engine = create_engine(gate.url)
    several = [gate.channels, Channels(engine)]
    halts = (several[at % 2].rolled_back(gate.id, GRAM + at) for at in range(6))
    rows = [one.row for one in await asyncio.gather(*halts)]
    await engine.dispose()
    assert all(row.halted for row in rows)
    assert (await gate.row()).row.claimed == GRAM + 5
    (noted,) = await gate.audited("channel.halt")
    assert noted["charged_nano"] == str(SOME)


@pytest.mark.spec("7.7-b")
async def test_the_watcher_halts_once_and_says_so_for_as_long_as_it_lasts(gate: Gate) -> None:
    await old_copy(gate)
    await gate.rounds(3)
    assert len(await gate.audited("channel.halt")) == 1
    async with gate.another() as again:  # which did not see how it began
        assert await again.task.round()
        told = {(one.word, one.subject) for one in again.task.troubles()}
    assert told == {("channel_rolled_back", gate.id)}


@pytest.mark.spec("7.7-b", "7.7-c")
async def test_a_halted_channel_serves_again_by_what_the_chain_paid(gate: Gate) -> None:
    await old_copy(gate)
    await gate.rounds()
    await let_deadlines_pass(gate)
    issued = await posted(gate.url, "issuance")
    resume = gate.parts.task.resume_channel
    row = (await resume(gate.id, actor="boss")).row
    assert (row.charged, row.claimed, row.halted) == (GRAM + SOME, GRAM + SOME, False)
    # The forgotten voucher came from the chain, with its signature.
    assert row.ceiling == gate.parties.ceiling(GRAM + SOME)
    assert await posted(gate.url, "issuance") == issued + GRAM
    (noted,) = await gate.audited("channel.resume")
    assert noted == {"charged_nano": str(GRAM + SOME), "forgotten_nano": str(GRAM)}
    assert gate.troubles() == set()
    assert (await resume(gate.id, actor="boss")).row == row
    assert len(await gate.audited("channel.resume")) == 1
    await gate.charge(2 * GRAM)
    await gate.rounds(3)
    assert (await gate.row()).row.claimed == (await gate.parties.look()).claimed == 3 * GRAM + SOME
    assert gate.troubles() == set()
    await gate.parts.task.close_channel(gate.id, actor="boss")
    await gate.rounds(3)
    assert await posted(gate.url, channel_account(gate.id)) == 0


@pytest.mark.spec("7.7-c")
async def test_it_waits_for_what_runs_and_for_what_may_come_back(gate: Gate) -> None:
    await old_copy(gate)
    number = await gate.reserve(GRAM)
    await gate.rounds()
    resume = gate.parts.task.resume_channel
    with pytest.raises(CloseInFlight, match="still run"):
        await resume(gate.id, actor="boss")
    await gate.give_up(number)
    with pytest.raises(CloseInFlight, match="may come back for") as waits:
        await resume(gate.id, actor="boss")
    assert 0 < (waits.value.retry_after_ms or 0) <= LOST_S * 1000
    assert (await gate.row()).row.halted
    await let_deadlines_pass(gate)
    assert not (await resume(gate.id, actor="boss")).row.halted


@pytest.mark.spec("7.7-c")
async def test_several_who_resume_at_once_book_once(gate: Gate) -> None:
    await old_copy(gate)
    await gate.rounds()
    await let_deadlines_pass(gate)
    async with gate.another() as other:
        tasks = [gate.parts.task, other.task] * 2
        rows = await asyncio.gather(*(one.resume_channel(gate.id, actor="b") for one in tasks))
    assert {one.row.charged for one in rows} == {GRAM + SOME}
    assert len(await gate.audited("channel.resume")) == 1


@pytest.mark.spec("7.7-c")
async def test_nothing_is_lowered_where_the_books_charged_more_since(gate: Gate) -> None:
    await old_copy(gate)
    # Before it is noticed, more is served than was forgotten.
    await gate.charge(2 * GRAM)
    await gate.channels.rolled_back(gate.id, GRAM + SOME)
    await let_deadlines_pass(gate)
    row = (await gate.parts.task.resume_channel(gate.id, actor="boss")).row
    assert (row.charged, row.claimed) == (2 * GRAM + SOME, GRAM + SOME)
    assert row.ceiling.amount == 2 * GRAM + SOME
    (noted,) = await gate.audited("channel.resume")
    assert noted["forgotten_nano"] == "0"


@pytest.mark.spec("7.7-c")
async def test_a_channel_that_its_client_closes_meanwhile_goes_on_closing(gate: Gate) -> None:
    await old_copy(gate)
    await gate.rounds()
    await gate.parties.send(gate.parties.client, orders.start_close(gate.channel))
    await gate.rounds()
    await let_deadlines_pass(gate)
    row = (await gate.parts.task.resume_channel(gate.id, actor="boss")).row
    assert (row.halted, row.closing, row.close_at > 0) == (False, True, True)
    gate.parties.devnet.advance(HOUR)
    await gate.parties.send(gate.parties.client, orders.finish_close(gate.channel))
    await gate.rounds()
    assert (await gate.row()).row.closed
    assert await posted(gate.url, channel_account(gate.id)) == 0


async def test_a_halted_channel_that_ended_stays_a_tombstone(gate: Gate) -> None:
    await old_copy(gate)
    await gate.rounds()
    await let_deadlines_pass(gate)
    await gate.parties.send(gate.parties.client, orders.start_close(gate.channel))
    gate.parties.devnet.advance(HOUR)
    await gate.parties.send(gate.parties.client, orders.finish_close(gate.channel))
    with pytest.raises(ChannelClosed):
        await gate.parts.task.resume_channel(gate.id, actor="boss")
    await gate.rounds()
    assert (await gate.row()).row.closed
    assert gate.troubles() == set()


async def test_a_channel_that_is_not_halted_stays_as_it_is(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(SOME)
    before = (await gate.row()).row
    assert (await gate.parts.task.resume_channel(gate.id, actor="boss")).row == before
    with pytest.raises(ChannelNotFound):
        await gate.parts.task.resume_channel("0" * 64, actor="boss")
    assert await gate.audited("channel.resume") == []


async def test_what_the_chain_shows_no_voucher_for_is_not_taken(gate: Gate) -> None:
    """A row that was damaged by hand: nobody ever claimed so much."""
    await gate.begin()
    await gate.charge(SOME)
    await gate.channels.rolled_back(gate.id, GRAM)
    await let_deadlines_pass(gate)
    with pytest.raises(ChannelRolledBack, match="no voucher"):
        await gate.parts.task.resume_channel(gate.id, actor="boss")
    assert (await gate.row()).row.halted
