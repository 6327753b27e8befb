"""Ends and claims that a person asks for: tried again, told, withdrawn and never doubled."""

from functools import partial

import pytest

from bombyx.errors import ChannelClosed, ChannelClosing, ChannelRolledBack, CloseInFlight
from bombyx.money.channel.documents import registration_of
from gateway.channels.chain.claims import MAX_TRIES
from gateway.channels.counter import Counter
from gateway.channels.offers import Cashier
from gateway.metering.rows import RestoredClaim
from tests.gateway.channels.chain.fixtures import OWNER, SLOT, Gate
from tests.gateway.metering.samples import execute, new_claim, settlement
from tests.ton.channels.parties import GRAM
from tests.ton.wallet.fixtures import Flaky
from ton.channels.orders import coop_close
from ton.wallet.wallet import VALID_S

SOME = GRAM // 100
"""Less than what a claim by itself is worth."""


async def damage(gate: Gate) -> bytes:
    """From now on the contract refuses the voucher of the books; the good signature."""
    good = (await gate.row()).row.ceiling.signature
    await execute(gate.url, "UPDATE channel SET ceiling_signature = :bad", bad=bytes(64))
    return good


async def mend(gate: Gate, good: bytes) -> None:
    await execute(gate.url, "UPDATE channel SET ceiling_signature = :good", good=good)


async def bring_back(gate: Gate, number: int, charge: int) -> None:
    """A worker shows a statement of a request that the database lost."""
    claim = new_claim(number, reserve=charge, channel=gate.id)
    await gate.store.restore([RestoredClaim(claim, 1, (SLOT, gate.epoch))])
    await gate.store.settle([settlement(number, amount=charge, fee=0)])


def counter(gate: Gate) -> Counter:
    signer = gate.parties.gateway_signer
    cashier = Cashier(gate.channel.network, gate.connection.side.account, signer.public_key, 10)
    return Counter(gate.channels, gate.connection.side, cashier=cashier, signer=signer)


# --- An end is for good (SPEC 9.3) ---


@pytest.mark.spec("9.3-b")
async def test_a_client_that_registers_again_does_not_take_the_gateways_end_back(
    gate: Gate,
) -> None:
    desk, parties = counter(gate), gate.parties
    told = registration_of(gate.channel, parties.signer)
    await gate.begin()
    await gate.charge(SOME)
    # Its own wish for an end it does take back, once the terms have passed.
    answer = await desk.close(gate.id, OWNER, now=parties.devnet.now())
    assert (await desk.register(told, OWNER, now=answer.valid_until)).row.closing
    assert not (await desk.register(told, OWNER, now=answer.valid_until + 301)).row.closing
    number = await gate.reserve(GRAM)
    with pytest.raises(CloseInFlight):
        await gate.parts.task.close_channel(gate.id, actor="boss")
    for later in (0, 10**6):
        row = (await desk.register(told, OWNER, now=parties.devnet.now() + later)).row
        assert (row.closing, row.ending) == (True, True)
    with pytest.raises(ChannelClosing):
        await gate.channels.reopened(gate.id, now=parties.devnet.now() + 10**6)
    with pytest.raises(AssertionError, match="ChannelClosing"):
        await gate.reserve(1)
    await gate.give_up(number)
    # Now the close is on its way: nothing that its client asks stops it.
    await gate.rounds(1)
    await desk.register(told, OWNER, now=parties.devnet.now() + 10**6)
    await gate.rounds(3)
    row = (await gate.row()).row
    assert (row.closed, row.claimed) == (True, SOME)


async def test_terms_that_the_client_signs_meanwhile_end_it_as_well(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(SOME)
    await gate.parts.task.close_channel(gate.id, actor="boss")
    answer = await counter(gate).close(gate.id, OWNER, now=gate.parties.devnet.now())
    assert answer.amount_nano == str(SOME)
    await gate.rounds(3)
    assert (await gate.row()).row.closed


@pytest.mark.spec("9.3-b")
async def test_a_restart_right_after_the_decision_orders_the_end(gate: Gate) -> None:
    """As when the process dies between the two steps of an administrator's close."""
    await gate.begin()
    await gate.charge(SOME)
    await gate.channels.end_asked(gate.id, actor="boss")
    async with gate.another() as again:
        for _ in range(3):
            await again.task.round()
    assert (await gate.row()).row.closed


async def test_a_queued_claim_goes_before_the_end(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(SOME)
    task = gate.parts.task
    assert await task.claim_channel(gate.id, actor="boss") == "ordered"
    assert await task.close_channel(gate.id, actor="boss") == "ordered"
    assert await task.close_channel(gate.id, actor="boss") == "under_way"
    assert await task.claim_channel(gate.id, actor="boss") == "under_way"
    assert await gate.orders() == [("claim:0", "queued"), ("close:0", "queued")]
    # Who asked is kept once for each change, not for each question.
    for action in ("channel.claim", "channel.end"):
        assert await gate.audited(action) == [{"charged_nano": str(SOME)}]
    await gate.rounds(3)
    assert await gate.orders() == [("claim:0", "sent"), ("close:0", "sent")]
    row = (await gate.row()).row
    assert (row.closed, row.claimed) == (True, SOME)
    assert gate.troubles() == set()


async def test_two_processes_end_a_channel_once(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(SOME)
    async with gate.another() as other:
        await gate.parts.task.close_channel(gate.id, actor="boss")
        await other.task.close_channel(gate.id, actor="boss")
        for _ in range(3):
            await other.task.round()
            await gate.rounds()
    assert await gate.orders() == [("close:0", "sent")]
    assert (await gate.row()).row.closed


@pytest.mark.spec("9.3-b")
async def test_a_lost_request_that_comes_back_is_in_the_end_too(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(SOME)
    await gate.give_up(await gate.reserve(3 * SOME))  # its voucher covers what was lost
    await gate.parts.task.close_channel(gate.id, actor="boss")
    await bring_back(gate, 90, SOME)
    await gate.rounds(3)
    row = (await gate.row()).row
    assert (row.closed, row.claimed, row.charged) == (True, 2 * SOME, 2 * SOME)
    told = await execute(gate.url, "SELECT id FROM chain_order")
    assert told == [(f"close:{gate.id}:{2 * SOME}:0",)]


async def test_a_queued_end_waits_for_a_lost_request_that_runs_again(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(SOME)
    await gate.give_up(await gate.reserve(3 * SOME))
    await gate.parts.task.close_channel(gate.id, actor="boss")
    claim = new_claim(90, reserve=SOME, channel=gate.id)
    await gate.store.restore([RestoredClaim(claim, 1, (SLOT, gate.epoch))])
    await gate.rounds(2)
    assert await gate.orders() == []
    await gate.store.settle([settlement(90, amount=SOME, fee=0)])
    await gate.rounds(3)
    row = (await gate.row()).row
    assert (row.closed, row.claimed) == (True, 2 * SOME)


async def test_an_end_that_a_signed_message_holds_is_not_withdrawn(
    gate: Gate, flaky: Flaky
) -> None:
    """It may still be executed, and another one beside it would come to nothing."""
    await gate.begin()
    await gate.charge(SOME)
    await gate.give_up(await gate.reserve(3 * SOME))
    await gate.parts.task.close_channel(gate.id, actor="boss")
    flaky.loses = True
    await gate.rounds()
    assert await gate.orders() == [("close:0", "signed")]
    await bring_back(gate, 90, SOME)
    gate.parties.devnet.advance(VALID_S + 1)
    await gate.rounds(2)
    flaky.loses = False
    gate.parties.devnet.advance(VALID_S + 1)
    await gate.rounds(4)
    assert [kind for kind, _ in await gate.orders()] == ["close:0"]
    row = (await gate.row()).row
    assert (row.closed, row.claimed) == (True, SOME)


# --- What the chain refuses ---


async def test_an_end_that_bounces_is_tried_again_told_and_tried_when_a_person_asks(
    gate: Gate,
) -> None:
    await gate.begin()
    await gate.charge(10)  # never worth a claim
    good = await damage(gate)
    end = partial(gate.parts.task.close_channel, actor="boss")
    await end(gate.id)
    await gate.rounds(3 * MAX_TRIES + 1)
    refused = [(f"close:{number}", "bounced") for number in range(MAX_TRIES)]
    assert await gate.orders() == refused
    told = {(one.word, one.subject) for one in gate.parts.task.troubles()}
    assert told == {("claim_failed", gate.id)}
    await mend(gate, good)
    await gate.rounds(2)
    assert await gate.orders() == refused  # by itself no more
    assert await end(gate.id) == "ordered"
    await gate.rounds(3)
    assert await gate.orders() == [*refused, (f"close:{MAX_TRIES}", "sent")]
    assert (await gate.row()).row.closed
    assert gate.troubles() == set()


async def test_an_end_that_the_wallet_could_not_send_is_ordered_anew(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(SOME)
    await gate.parts.task.close_channel(gate.id, actor="boss")
    await execute(gate.url, "UPDATE chain_order SET state = 'skipped'")
    await gate.rounds(3)
    assert await gate.orders() == [("close:0", "skipped"), ("close:1", "sent")]
    assert (await gate.row()).row.closed


async def test_a_claim_that_was_refused_too_often_is_tried_when_a_person_asks(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    good = await damage(gate)
    await gate.rounds(3 * MAX_TRIES + 1)
    assert gate.troubles() == {"claim_failed"}
    claim = partial(gate.parts.task.claim_channel, actor="boss")
    for tries in (MAX_TRIES, 2 * MAX_TRIES):  # three more for each time that it is asked
        assert len(await gate.orders()) == tries
        assert await claim(gate.id) == "ordered"
        assert await claim(gate.id) == "under_way"
        await gate.rounds(3 * MAX_TRIES + 1)
        assert gate.troubles() == {"claim_failed"}
    await mend(gate, good)
    assert await claim(gate.id) == "ordered"
    await gate.rounds(3)
    assert (await gate.row()).row.claimed == GRAM
    assert gate.troubles() == set()
    assert await claim(gate.id) == "nothing"


async def test_a_claim_says_why_it_is_not_made(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(SOME)
    await gate.channels.rolled_back(gate.id, SOME + 1)
    with pytest.raises(ChannelRolledBack):
        await gate.parts.task.claim_channel(gate.id, actor="boss")
    await gate.channels.closed(gate.id)
    with pytest.raises(ChannelClosed):
        await gate.parts.task.claim_channel(gate.id, actor="boss")


async def test_a_claim_that_is_paid_after_all_hides_no_refused_end(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    good = await damage(gate)
    await gate.parts.task.close_channel(gate.id, actor="boss")
    await gate.rounds(6 * MAX_TRIES + 2)
    await mend(gate, good)
    assert await gate.parts.task.claim_channel(gate.id, actor="boss") == "ordered"
    for _ in range(3):
        await gate.rounds()
        assert gate.troubles() == {"claim_failed"}
    row = (await gate.row()).row
    assert (row.claimed, row.closed) == (GRAM, False)
    assert await gate.parts.task.close_channel(gate.id, actor="boss") == "ordered"
    await gate.rounds(3)
    assert (await gate.row()).row.closed
    assert gate.troubles() == set()


async def test_a_refused_claim_is_no_trouble_once_its_channel_has_ended(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    await damage(gate)
    await gate.parts.task.close_channel(gate.id, actor="boss")
    # Both are refused, each by itself.
    await gate.rounds(6 * MAX_TRIES + 2)
    assert gate.troubles() == {"claim_failed"}
    orders = await gate.orders()
    assert {kind[:5] for kind, _ in orders} == {"claim", "close"}
    assert {state for _, state in orders} == {"bounced"}
    terms, ours, theirs = gate.parties.terms(GRAM)
    ended = coop_close(gate.channel, terms, client_signature=ours, gateway_signature=theirs)
    await gate.parties.send(gate.parties.client, ended)
    await gate.rounds(2)
    assert (await gate.row()).row.closed
    assert gate.troubles() == set()
