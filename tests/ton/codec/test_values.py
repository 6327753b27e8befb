"""Every message, signed cell and state: back and forth, and nothing but its one encoding."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytoniq_core import Address, Cell, begin_cell
from pytoniq_core.tlb.account import StateInit

from bombyx.money.voucher import VoucherTemplate
from ton.codec import messages, storage
from ton.codec.cells import MAX_BOC, MAX_COINS, Reader, Writer, parse_address, parse_boc, raw
from ton.codec.constants import CLOSED, MAX_CHALLENGE, MIN_CHALLENGE, Op
from ton.codec.signed import CloseTerms, Voucher
from ton.contracts import payment_channel
from ton.errors import MalformedCell

coins = st.one_of(st.integers(0, 10**18), st.integers(0, MAX_COINS))
u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
networks = st.integers(-(2**31), 2**31 - 1)
keys = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)
addresses = st.builds(lambda wc, account: Address((wc, account)), st.sampled_from([0, -1]), keys)
vouchers = st.builds(Voucher, networks, addresses, coins, u64, u32)
terms = st.builds(CloseTerms, networks, addresses, coins, u32)
configs = st.builds(storage.ChannelConfig, addresses, addresses, keys, keys, u32, u64)
states = st.builds(storage.ChannelState, coins, coins, u32, configs)
incoming = st.one_of(
    st.builds(messages.TopUp, u64, coins),
    st.builds(messages.Claim, u64, coins, signatures, vouchers),
    st.builds(messages.GatewayClose, u64, coins, signatures, vouchers),
    st.builds(messages.CoopClose, u64, signatures, terms, signatures),
    st.builds(messages.StartClose, u64),
    st.builds(messages.FinishClose, u64),
)
outgoing = st.one_of(
    st.builds(messages.Excesses, u64),
    st.builds(messages.Payout, u64, coins),
    st.builds(messages.ChannelClosed, u64, coins, coins),
    st.builds(messages.CloseStarted, u64, u32, coins),
)


def through_boc(cell: Cell) -> Cell:
    return parse_boc(cell.to_boc())


@given(st.one_of(vouchers, terms, configs, states))
def test_signed_cells_and_states_come_back_as_they_went(value: Any) -> None:
    assert type(value).read(through_boc(value.cell())) == value


@given(incoming)
def test_messages_to_a_channel_come_back_as_they_went(value: messages.Incoming) -> None:
    assert messages.parse_incoming(through_boc(value.cell())) == value


@given(outgoing)
def test_messages_from_a_channel_come_back_as_they_went(value: messages.Outgoing) -> None:
    assert messages.parse_outgoing(through_boc(value.cell())) == value


@given(st.one_of(incoming, outgoing, vouchers, terms, states))
def test_a_longer_or_shorter_cell_is_another_one(value: Any) -> None:
    cell = value.cell()
    longer = (
        begin_cell().store_cell(cell).store_bit(0).end_cell() if len(cell.bits) < 1023 else None
    )
    shorter = Cell(cell.bits[:-1], cell.refs)
    for other in filter(None, (longer, shorter)):
        with pytest.raises(MalformedCell):
            type(value).read(other)


@pytest.mark.spec("7.2-a")
@given(networks, keys, coins, u64, u32)
def test_the_fast_digest_is_the_hash_of_the_cell(
    network: int, account: bytes, amount: int, seqno: int, until: int
) -> None:
    cell = Voucher(network, Address((0, account)), amount, seqno, until).cell()
    template = VoucherTemplate(network, account)
    assert template.digest(amount, seqno=seqno, valid_until=until) == cell.hash


@pytest.mark.spec("7.2-a")
@pytest.mark.parametrize("bits", [0, 1, 7, 8, 9, 119, 120])
def test_the_fast_digest_holds_at_every_length_of_an_amount(bits: int) -> None:
    account = hashlib.sha256(b"account").digest()
    for amount in {max(0, (1 << bits) - 1), min(1 << bits, MAX_COINS)}:
        cell = Voucher(-239, Address((0, account)), amount).cell()
        assert VoucherTemplate(-239, account).digest(amount) == cell.hash


def a_config() -> storage.ChannelConfig:
    account = Address((0, hashlib.sha256(b"party").digest()))
    return storage.ChannelConfig(account, account, bytes(32), bytes(32), 86_400, 1)


@pytest.mark.spec("7.1-a")
def test_the_address_commits_to_code_and_configuration() -> None:
    config = a_config()
    code = payment_channel()
    oracle = StateInit(code=code, data=storage.first_state(config)).serialize()
    assert storage.channel_init(code, config).hash == oracle.hash
    assert storage.channel_address(code, config) == Address((0, oracle.hash))
    other_code = storage.channel_address(begin_cell().end_cell(), config)
    assert other_code != storage.channel_address(code, config)


def test_a_state_tells_whether_it_is_open_and_what_it_holds() -> None:
    config = a_config()
    state = storage.ChannelState(10, 4, 0, config)
    assert (state.is_open, state.is_closed, state.held) == (True, False, 6)
    tombstone = storage.ChannelState(10, 4, CLOSED, config)
    assert (tombstone.is_open, tombstone.is_closed, tombstone.held) == (False, True, 0)


@pytest.mark.parametrize(
    ("period", "seconds"),
    [(0, MIN_CHALLENGE), (86_400, 86_400), (2**32 - 1, MAX_CHALLENGE)],
)
def test_the_challenge_stays_within_its_bounds(period: int, seconds: int) -> None:
    account = Address((0, bytes(32)))
    config = storage.ChannelConfig(account, account, bytes(32), bytes(32), period, 1)
    assert config.challenge_seconds == seconds


@pytest.mark.parametrize(
    "make",
    [
        lambda: Writer().uint(8, 3),
        lambda: Writer().uint(-1, 3),
        lambda: Writer().signed(4, 3),
        lambda: Writer().signed(-5, 3),
        lambda: Writer().coins(MAX_COINS + 1),
        lambda: Writer().coins(-1),
        lambda: Writer().octets(b"1", 2),
        lambda: messages.Claim(0, 0, b"", Voucher(0, Address((0, bytes(32))), 0)).cell(),
    ],
)
def test_what_does_not_fit_is_not_written(make: Callable[[], object]) -> None:
    with pytest.raises(MalformedCell):
        make()


@pytest.mark.parametrize(
    "read",
    [
        lambda: parse_boc(b"nonsense"),
        lambda: parse_boc(bytes(MAX_BOC + 1)),
        lambda: parse_address("nowhere"),
        lambda: Reader(Writer().cell()).ref(),
        lambda: Reader(Writer().cell()).uint(1),
        lambda: Reader(Writer().uint(1, 4).uint(0, 8).cell()).coins(),
        lambda: Reader(Writer().uint(0, 267).cell()).address(),
        lambda: Reader(Cell(Writer().octets(b"\1" + bytes(34), 35).cell().bits, [], 1)),
        lambda: messages.parse_incoming(Writer().uint(Op.PAYOUT, 32).uint(0, 64).cell()),
        lambda: messages.parse_outgoing(Writer().uint(Op.CLAIM, 32).uint(0, 64).cell()),
        lambda: Voucher.read(Writer().uint(Op.CLOSE_TERMS, 32).cell()),
    ],
)
def test_what_is_not_of_the_form_is_refused_with_one_error(read: Callable[[], object]) -> None:
    with pytest.raises(MalformedCell):
        read()


def test_addresses_are_read_in_both_spellings_and_kept_in_one() -> None:
    address = Address((0, hashlib.sha256(b"a").digest()))
    for text in (raw(address), address.to_str()):
        assert raw(parse_address(text)) == f"0:{address.hash_part.hex()}"
