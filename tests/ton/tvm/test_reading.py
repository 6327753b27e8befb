"""Accounts, transactions and messages, read here and by pytoniq-core."""

import pytest
from pytoniq_core import Cell, Slice
from pytoniq_core.tlb.account import ShardAccount
from pytoniq_core.tlb.transaction import Transaction as TheirTransaction

from tests.ton.channel import CLIENT, GATEWAY, GRAM, Channel
from ton.codec.cells import Writer
from ton.codec.messages import StartClose, TopUp
from ton.errors import MalformedCell
from ton.tvm.accounts import ABSENT, Account, Status
from ton.tvm.machine import Executed, Tvm
from ton.tvm.messages import Internal, external
from ton.tvm.transactions import Transaction

PLENTY = GRAM // 20


def executed(tvm: Tvm, channel: Channel, message: Internal) -> Executed:
    channel.lt += 1_000_000
    boc = message.cell().to_boc()
    done = tvm.run(boc, channel.shard_account, now=channel.now, lt=channel.lt)
    channel.shard_account = done.shard_account
    return done


@pytest.fixture(scope="module")
def history(tvm: Tvm, code: Cell) -> list[Executed]:
    """Opening, a claim, a refusal that bounces and one that cannot, rent, a close."""
    channel = Channel(tvm, code)
    to = channel.address
    messages = [
        Internal(CLIENT, to, GRAM, bounce=False),
        Internal(CLIENT, to, 2 * GRAM, TopUp(1, GRAM).cell(), channel.init),
        Internal(GATEWAY, to, PLENTY, channel.claim(GRAM // 2)),
        Internal(CLIENT, to, PLENTY, channel.claim(GRAM // 2)),
        Internal(CLIENT, to, 10, StartClose(1).cell()),
        Internal(CLIENT, to, 150_000, StartClose(1).cell()),
        Internal(CLIENT, to, PLENTY, StartClose(1).cell(), bounce=False),
        Internal(GATEWAY, to, PLENTY, channel.coop_close(GRAM, valid_for=30 * 86_400)),
    ]
    found = []
    for message in messages:
        channel.now += 86_400
        found.append(executed(tvm, channel, message))
    return found


def test_transactions_are_read_as_the_library_reads_them(history: list[Executed]) -> None:
    for one in history:
        ours = Transaction.read(one.transaction)
        theirs = TheirTransaction.deserialize(Slice.one_from_boc(one.transaction))
        description = theirs.description
        compute = description.compute_ph
        assert ours.hash == Cell.one_from_boc(one.transaction).hash
        assert (ours.lt, ours.now) == (theirs.lt, theirs.now)
        assert ours.account == theirs.account_addr
        assert ours.total_fees == theirs.total_fees.grams
        assert ours.aborted == bool(description.aborted)
        assert ours.destroyed == bool(description.destroyed)
        assert ours.storage_fee == description.storage_ph.storage_fees_collected
        if hasattr(compute, "exit_code"):
            assert (ours.exit_code, ours.gas_used) == (compute.exit_code, compute.gas_used)
        assert len(ours.out_messages) == len(theirs.out_msgs)
        for cell, message in zip(ours.out_messages, theirs.out_msgs, strict=True):
            read = Internal.read(cell)
            assert read.value == message.info.value.grams
            assert read.destination == message.info.dest


def test_a_history_has_successes_refusals_and_skipped_runs(history: list[Executed]) -> None:
    read = [Transaction.read(one.transaction) for one in history]
    assert [one.succeeded for one in read] == [
        False, True, True, False, False, False, True, True,
    ]  # fmt: skip
    assert [one.bounced for one in read] == [
        False, False, False, True, False, False, False, False,
    ]  # fmt: skip
    incoming = read[2].in_message
    assert incoming is not None
    assert Internal.read(incoming).value == PLENTY


def test_accounts_are_read_as_the_library_reads_them(history: list[Executed]) -> None:
    for one in history:
        ours = Account.read(one.shard_account)
        shard = ShardAccount.deserialize(Slice.one_from_boc(one.shard_account))
        theirs = shard.account
        assert ours.balance == theirs.storage.balance.grams
        assert (ours.cells, ours.bits) == (
            theirs.storage_stat.used.cells, theirs.storage_stat.used.bits,
        )  # fmt: skip
        assert ours.last_paid == theirs.storage_stat.last_paid
        assert ours.address == theirs.addr
        assert ours.last_lt == shard.last_trans_lt
        if ours.status is Status.ACTIVE:
            assert ours.data == theirs.storage.state.state_init.data
            assert ours.code == theirs.storage.state.state_init.code


def test_an_address_that_nothing_was_sent_to_is_absent() -> None:
    assert Account.read(ABSENT) == Account(0, bytes(32))
    assert Account.read(ABSENT).status is Status.ABSENT


def test_frozen_accounts_are_seen() -> None:
    account = Writer().uint(1, 1).address(CLIENT).uint(0, 3).uint(0, 3).uint(0, 3)
    account.uint(7, 32).uint(1, 1).coins(9).uint(0, 64).coins(0).uint(0, 1)
    account.uint(0b01, 2).octets(bytes(32), 32)
    shard = Writer().ref(account.cell()).octets(bytes(32), 32).uint(0, 64).cell()
    read = Account.read(shard.to_boc())
    assert (read.status, read.due, read.last_paid) == (Status.FROZEN, 9, 7)


def test_messages_come_back_as_they_went() -> None:
    body, init = Writer().uint(1, 8).cell(), Writer().uint(2, 8).cell()
    for message in (
        Internal(CLIENT, GATEWAY, 5, body, init, bounce=False, forward_fee=3, created_lt=4),
        Internal(CLIENT, GATEWAY, 5, body, bounced=True, created_at=9),
    ):
        assert Internal.read(message.cell()) == message


def test_an_external_message_is_no_internal_one() -> None:
    with pytest.raises(MalformedCell):
        Internal.read(external(CLIENT, Writer().cell(), Writer().cell()))
    inside = Writer().uint(0b0100, 4).address(CLIENT).address(CLIENT).coins(0).uint(0, 1).coins(0)
    inside.coins(0).uint(0, 96).uint(0b10, 2)
    with pytest.raises(MalformedCell, match="state init"):
        Internal.read(inside.cell())


@pytest.mark.parametrize("junk", [b"", b"x", bytes(Writer().uint(1, 8).cell().to_boc())])
def test_what_is_no_transaction_or_account_is_refused(junk: bytes) -> None:
    for read in (Transaction.read, Account.read):
        with pytest.raises(MalformedCell):
            read(junk)
