"""Old copies of the database, lost messages, lying providers, two processes: no pay twice."""

import dataclasses

import pytest

from gateway.channels.chain.claims import MAX_TRIES
from tests.gateway.channels.chain.fixtures import GATEWAY, Gate
from tests.gateway.metering.samples import execute
from tests.ton.chain.test_agreement import Liar
from tests.ton.channels.parties import GRAM, Parties
from tests.ton.wallet.fixtures import SOMEBODY, Flaky
from ton.chain.agreed import AgreedChain
from ton.chain.port import AccountState
from ton.channels import orders
from ton.channels.history import history
from ton.codec.cells import Writer, raw
from ton.codec.constants import Err
from ton.devnet.chain import Devnet
from ton.settings import DEVNET
from ton.wallet.keys import WalletKey
from ton.wallet.outbox import State
from ton.wallet.outgoing import Outgoing
from ton.wallet.sqlite_outbox import SqliteOutbox
from ton.wallet.wallet import VALID_S, Wallet


@pytest.mark.spec("7.7-b")
async def test_books_from_an_old_copy_are_noticed_and_the_channel_halts(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    await gate.rounds(3)
    await execute(gate.url, "UPDATE channel SET claimed = 0, charged = 0, ceiling = 0")
    await gate.rounds()
    row = (await gate.row()).row
    assert (row.halted, row.claimed) == (True, GRAM)
    assert "channel_rolled_back" in gate.troubles()
    await gate.rounds(2)
    assert len(await gate.parts.task.outbox.sent_to("0:" + gate.id)) == 1
    await execute(gate.url, "UPDATE channel SET charged = :a, ceiling = :a, halted = false", a=GRAM)


@pytest.mark.spec("7.11-e")
async def test_an_outbox_from_an_old_copy_sends_nothing(gate: Gate) -> None:
    """A withdrawal that the copy holds as queued was paid since: it must not be paid again."""
    somebody = Parties(gate.parties.chain, gate.parties.devnet).client.address
    task = gate.parts.task
    await gate.rounds()
    old = await execute(gate.url, "SELECT lt, hash FROM chain_cursor WHERE reader = 'wallet'")
    before = gate.parties.devnet.account(raw(somebody)).balance
    await task.wallet.put("withdrawal:x:1", Outgoing(somebody, GRAM, bounce=False))
    await gate.rounds(3)
    paid = gate.parties.devnet.account(raw(somebody)).balance
    assert paid == before + GRAM
    await execute(gate.url, "UPDATE chain_order SET state = 'queued'")
    await execute(
        gate.url,
        "UPDATE chain_cursor SET lt = :lt, hash = :hash WHERE reader = 'wallet'",
        lt=old[0][0],
        hash=old[0][1],
    )
    await gate.rounds(3)
    assert gate.parties.devnet.account(raw(somebody)).balance == paid
    assert "wallet_foreign" in gate.troubles()
    await task.resume(actor="boss")
    await gate.rounds(3)
    assert gate.parties.devnet.account(raw(somebody)).balance == paid
    assert gate.troubles() == set()
    order = await task.wallet.get("withdrawal:x:1")
    assert order is not None
    assert (order.state, len(order.message)) == (State.SENT, 32)


async def test_a_lost_claim_is_sent_again_and_a_late_one_replaced(gate: Gate, flaky: Flaky) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    flaky.loses = True
    await gate.rounds(3)
    flaky.loses = False
    gate.parties.devnet.advance(VALID_S + 1)
    await gate.rounds(3)
    assert (await gate.row()).row.claimed == GRAM


async def test_a_restart_between_sending_and_seeing_claims_once(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    await gate.rounds()  # sent
    async with gate.another() as again:
        for _ in range(3):
            await again.task.round()
        assert len(await again.task.outbox.sent_to("0:" + gate.id)) == 1
    assert (await gate.row()).row.claimed == GRAM


async def test_the_lowest_living_slot_alone_acts(gate: Gate) -> None:
    lower = await gate.store.open_process(0, "wss://gw0")
    assert not await gate.parts.task.round()
    await gate.store.close_process(0, lower)
    assert await gate.parts.task.round()


async def test_two_processes_that_both_act_pay_once(gate: Gate) -> None:
    """A lease that was thought to be over: the outbox and the seqno decide, not who runs."""
    await gate.begin()
    await gate.charge(GRAM)
    async with gate.another() as other:
        for _ in range(4):
            await other.task.round()
            await gate.rounds()
    assert (await gate.row()).row.claimed == GRAM
    assert len(await gate.parts.task.outbox.sent_to("0:" + gate.id)) == 1
    assert gate.troubles() == {one.word for one in other.task.troubles()} == set()


async def test_a_claim_that_bounces_is_tried_again_and_then_told(gate: Gate) -> None:
    """The voucher in the books is damaged: the contract refuses it."""
    await gate.begin()
    await gate.charge(GRAM)
    await execute(gate.url, "UPDATE channel SET ceiling_signature = :bad", bad=bytes(64))
    await gate.rounds(3 * MAX_TRIES + 1)
    assert (await gate.parties.look()).claimed == 0
    assert "claim_failed" in gate.troubles()
    newest = await gate.parts.task.outbox.newest_to("0:" + gate.id)
    assert newest is not None
    assert newest.state is State.BOUNCED
    told = [one for one in await history(gate.parties.chain, gate.channel) if one.kind == "claim"]
    assert [one.exit_code for one in told] == [Err.SIGNATURE] * MAX_TRIES


async def test_an_empty_wallet_is_told_and_claims_when_it_is_filled(
    gate: Gate, devnet: Devnet
) -> None:
    await gate.begin()
    drained = devnet.account(raw(gate.connection.address)).balance
    away = Outgoing(gate.parties.client.address, drained - 30_000_000, bounce=False)
    await gate.parts.task.wallet.put("away", away)
    await gate.rounds(2)
    await gate.charge(GRAM)
    await gate.rounds(2)
    assert "wallet_short" in gate.troubles()
    devnet.give(gate.connection.address, GRAM)
    await gate.rounds(3)
    assert (await gate.row()).row.claimed == GRAM
    assert "wallet_short" not in gate.troubles()


async def test_providers_that_disagree_stop_nothing_but_that(gate: Gate, devnet: Devnet) -> None:
    """One of two lies about a deposit: it is not believed, and said."""
    await gate.parties.opened()
    await gate.channels.register(gate.channel, "alice")

    def lie(state: AccountState) -> AccountState:
        return dataclasses.replace(state, balance=state.balance + 1, data=Writer().cell())

    liar = AgreedChain(
        [Liar(devnet, "a"), Liar(devnet, "b", account=lie)],
        network=DEVNET,
        patience=(0.01,),
        poll=0.01,
    )
    async with gate.another(liar, WalletKey(b"\x09" * 32)) as parts:
        assert await parts.task.round()
        told = {(one.word, one.subject) for one in parts.task.troubles()}
    assert (await gate.row()).row.deposited == 0
    assert ("chain_disagrees", gate.id) in told
    assert ("chain_disagrees", "wallet") in told
    await gate.rounds()
    assert (await gate.row()).row.deposited > 0


async def test_a_deposit_that_is_gone_is_told_and_nothing_is_claimed(
    gate: Gate, devnet: Devnet
) -> None:
    seqno = devnet.log.head().seqno
    await gate.begin()
    await gate.charge(GRAM)
    devnet.back_to(seqno)
    await gate.rounds()
    assert "chain_rolled_back" in gate.troubles()
    gate.parties.chain.forget(orders.address_of(gate.channel))
    await gate.rounds()
    assert "deposit_gone" in gate.troubles()


async def test_clocks_that_differ_make_claims_early_and_never_late(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM // 100)
    await gate.reserve(GRAM)
    await gate.parties.send(gate.parties.client, orders.start_close(gate.channel))
    ahead = gate.parties.devnet.now() + 3600
    gate.parts.task.claims._unix = lambda: ahead
    await gate.rounds(3)
    assert (await gate.parties.look()).claimed == GRAM // 100


async def test_what_was_sent_just_before_a_stranger_s_message_is_not_sent_again(gate: Gate) -> None:
    """Both lie in a stretch of history that nobody read before a person looked."""
    await gate.rounds()
    before = gate.parties.devnet.account(raw(SOMEBODY)).balance
    await gate.parts.task.wallet.put("ours", Outgoing(SOMEBODY, GRAM, bounce=False))
    await gate.rounds()
    words = SqliteOutbox(None, source=gate.connection.address)
    by_hand = Wallet(gate.parties.chain, GATEWAY, words, poll=0.01)
    await by_hand.put("theirs", Outgoing(gate.parties.client.address, GRAM, bounce=False))
    await by_hand.settle("theirs", seconds=20)
    await gate.rounds(2)
    assert "wallet_foreign" in gate.troubles()
    await gate.parts.task.resume(actor="boss")
    await gate.rounds(4)
    assert gate.parties.devnet.account(raw(SOMEBODY)).balance == before + GRAM
    assert gate.troubles() == set()
    rows = await execute(gate.url, "SELECT actor FROM audit_log WHERE action = 'chain.resume'")
    assert [row[0] for row in rows] == ["boss"]
    words.close()
