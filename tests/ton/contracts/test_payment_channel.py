"""The stories of a channel that a random walk tells too rarely, or whose numbers people quote."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytoniq_core import Cell

from tests.ton.channel import CLIENT, DAY, GATEWAY, GRAM, STRANGER, Channel, Delivery
from ton.codec.cells import Writer
from ton.codec.constants import (
    MIN_TOP_UP,
    OPEN,
    RENT_BITS,
    RENT_CELLS,
    RENT_RESERVE,
    Err,
    Gas,
)
from ton.codec.messages import (
    ChannelClosed,
    CloseStarted,
    FinishClose,
    Payout,
    StartClose,
    TopUp,
    parse_outgoing,
)
from ton.codec.signed import Voucher
from ton.codec.storage import first_state
from ton.tvm import getters
from ton.tvm.emulator import Emulator
from ton.tvm.network import BASECHAIN_2026, MAINNET, network_config

PLENTY = GRAM // 20
YEAR = 365 * DAY


def opened(channel: Channel, amount: int = 5 * GRAM) -> Delivery:
    value = amount + RENT_RESERVE + PLENTY
    return channel.send(CLIENT, value, TopUp(1, amount).cell(), init=channel.init)


@pytest.fixture
def channel(tvm: Emulator, code: Cell) -> Channel:
    channel = Channel(tvm, code)
    assert opened(channel).transaction.succeeded
    return channel


def bodies(done: Delivery) -> list[object]:
    return [parse_outgoing(sent.body) for sent in done.sent if sent.body is not None]


GAS = {
    "open": 4_291, "top_up": 4_291, "claim": 5_281,
    "coop_close": 7_994, "coop_close_stranger": 9_215, "start_close": 6_300,
    "finish_close": 5_272, "finish_close_stranger": 6_493, "gateway_close": 8_231,
}  # fmt: skip
BOUNDS = {
    "open": Gas.TOP_UP, "top_up": Gas.TOP_UP, "claim": Gas.CLAIM,
    "coop_close_stranger": Gas.COOP_CLOSE, "start_close": Gas.START_CLOSE,
    "finish_close_stranger": Gas.FINISH_CLOSE, "gateway_close": Gas.GATEWAY_CLOSE,
}  # fmt: skip


def measured(tvm: Emulator, code: Cell) -> dict[str, int]:
    """Gas of each operation, one after another or from the same state."""
    channel = Channel(tvm, code)
    gas = {"open": opened(channel).transaction.gas_used}

    def take(name: str, source: object, value: int, body: Cell) -> None:
        done = channel.send(source, value, body)  # type: ignore[arg-type]
        assert done.transaction.succeeded, name
        gas[name] = done.transaction.gas_used

    take("top_up", CLIENT, GRAM + PLENTY, TopUp(1, GRAM).cell())
    take("claim", GATEWAY, PLENTY, channel.claim(GRAM))
    snapshot = channel.shard_account
    for name, source, body in (
        ("coop_close", GATEWAY, channel.coop_close(2 * GRAM)),
        ("coop_close_stranger", STRANGER, channel.coop_close(2 * GRAM)),
        ("gateway_close", GATEWAY, channel.gateway_close(2 * GRAM)),
    ):
        take(name, source, PLENTY, body)
        channel.shard_account = snapshot
    take("start_close", CLIENT, PLENTY, StartClose(1).cell())
    channel.now += DAY
    snapshot = channel.shard_account
    take("finish_close", CLIENT, PLENTY, FinishClose(1).cell())
    channel.shard_account = snapshot
    take("finish_close_stranger", STRANGER, PLENTY, FinishClose(1).cell())
    return gas


def test_gas_is_what_it_was_and_within_what_messages_must_bring(tvm: Emulator, code: Cell) -> None:
    gas = measured(tvm, code)
    assert gas == GAS
    for name, bound in BOUNDS.items():
        assert gas[name] <= bound <= gas[name] + 300, name


def test_the_papers_quote_the_gas_and_the_exit_codes_that_are_true() -> None:
    text = (Path(__file__).parents[3] / "docs/payments.md").read_text(encoding="utf-8")
    assert [name for name, gas in GAS.items() if f"| {gas:,} |" not in text] == []
    assert [code for code in Err if f"| {code.value} | " not in text] == []


def test_the_state_is_no_larger_than_its_rent_is_foretold_for(channel: Channel) -> None:
    account = channel.account
    assert account.cells <= RENT_CELLS <= account.cells + 3
    assert account.bits <= RENT_BITS <= account.bits + 800


@pytest.fixture(scope="module")
def dear(base_config: bytes) -> Iterator[Emulator]:
    with Emulator(network_config(base_config, prices=BASECHAIN_2026.times(2))) as emulator:
        yield emulator


@pytest.mark.spec("7.4-c")
def test_when_prices_double_messages_must_bring_twice_as_much_and_that_suffices(
    dear: Emulator, code: Cell
) -> None:
    channel = Channel(dear, code)
    assert channel.prices == BASECHAIN_2026.times(2)
    fee = channel.prices.gas_fee(Gas.TOP_UP) + channel.prices.forward_fee()
    short = channel.send(
        CLIENT, GRAM + RENT_RESERVE + fee - 1, TopUp(1, GRAM).cell(), init=channel.init
    )
    assert short.exit_code == Err.VALUE
    # The chain deploys what a message brings even when that refuses it: the first state, no money.
    assert channel.account.data == first_state(channel.config)
    assert channel.account.balance == 0
    done = channel.send(CLIENT, GRAM + RENT_RESERVE + fee, TopUp(1, GRAM).cell(), init=channel.init)
    assert done.transaction.succeeded
    fee = channel.prices.gas_fee(Gas.CLAIM) + channel.prices.forward_fee()
    assert channel.send(GATEWAY, fee - 1, channel.claim(5)).exit_code == Err.VALUE
    assert channel.send(GATEWAY, fee, channel.claim(5)).transaction.succeeded
    assert channel.account.balance == GRAM - 5 + RENT_RESERVE


@pytest.mark.spec("9.4-a")
def test_no_voucher_lives_again_when_the_same_channel_is_opened_once_more(channel: Channel) -> None:
    old = channel.claim(9 * GRAM // 10)
    assert channel.send(GATEWAY, PLENTY, old).transaction.succeeded
    assert channel.send(GATEWAY, PLENTY, channel.gateway_close(GRAM)).transaction.succeeded
    again = opened(channel)
    assert again.exit_code == Err.CLOSED
    assert again.transaction.bounced
    assert channel.send(GATEWAY, PLENTY, old).exit_code == Err.CLOSED


@pytest.mark.spec("9.4-a")
def test_a_tombstone_sends_back_money_that_cannot_bounce(channel: Channel) -> None:
    channel.send(GATEWAY, PLENTY, channel.coop_close(GRAM))
    before = channel.account.balance
    done = channel.send(STRANGER, GRAM, None, bounce=False)
    assert done.sent[0].destination == STRANGER
    assert done.sent[0].value + done.transaction.fees == GRAM
    assert channel.account.balance == before


def test_money_sent_by_mistake_goes_to_the_client_at_the_end(channel: Channel) -> None:
    stray = channel.send(STRANGER, GRAM, None, bounce=False)
    assert stray.exit_code == Err.UNKNOWN
    kept = channel.account.balance - 5 * GRAM - RENT_RESERVE
    assert kept > GRAM * 99 // 100
    done = channel.send(GATEWAY, PLENTY, channel.gateway_close(GRAM))
    assert ChannelClosed(1, GRAM, 4 * GRAM + kept) in bodies(done)
    assert channel.account.balance == RENT_RESERVE


def test_messages_say_what_happened(channel: Channel) -> None:
    done = channel.send(GATEWAY, PLENTY, channel.claim(GRAM, 2 * GRAM))
    assert bodies(done) == [Payout(1, GRAM)]
    done = channel.send(CLIENT, PLENTY, StartClose(1).cell())
    assert bodies(done)[0] == CloseStarted(1, channel.now + DAY, GRAM)
    assert done.sent[0].value == 0
    done = channel.send(GATEWAY, PLENTY, channel.gateway_close(2 * GRAM, 4 * GRAM))
    assert bodies(done) == [Payout(1, 2 * GRAM), ChannelClosed(1, 2 * GRAM, 3 * GRAM)]


def test_external_messages_are_not_for_channels(channel: Channel, tvm: Emulator) -> None:
    from ton.errors import MessageNotAccepted  # noqa: PLC0415 - beside its only use
    from ton.tvm.messages import external  # noqa: PLC0415

    message = external(channel.address, FinishClose(1).cell())
    with pytest.raises(MessageNotAccepted):
        tvm.run(message.to_boc(), channel.shard_account, now=channel.now, lt=channel.lt + 1)


def test_getters_tell_the_state_the_configuration_and_the_hash_to_sign(
    channel: Channel, tvm: Emulator
) -> None:
    account, now = channel.account, channel.now
    assert getters.call(tvm, account, "channelState", now=now) == [5 * GRAM, 0, OPEN]
    client, gateway, client_key, gateway_key, period, salt = getters.call(
        tvm, account, "channelConfig", now=now
    )
    assert getters.address_of(client) == CLIENT
    assert getters.address_of(gateway) == GATEWAY
    assert client_key == int.from_bytes(channel.config.client_key, "big")
    assert gateway_key == int.from_bytes(channel.config.gateway_key, "big")
    assert (period, salt) == (DAY, 7)
    (digest,) = getters.call(tvm, account, "voucherHash", 777, 3, 9, now=now)
    voucher = Voucher(MAINNET, channel.address, 777, 3, 9)
    assert digest == int.from_bytes(voucher.cell().hash, "big")


def test_the_rent_is_covered_for_years_and_the_channel_says_for_how_long(
    channel: Channel, tvm: Emulator
) -> None:
    (seconds,) = getters.call(tvm, channel.account, "rentHorizon", now=channel.now)
    assert isinstance(seconds, int)
    assert seconds > 10 * YEAR
    channel.now += seconds
    done = channel.send(GATEWAY, PLENTY, channel.claim(GRAM))
    assert done.transaction.storage_fee <= RENT_RESERVE


def test_a_top_up_brings_the_rent_back_to_its_reserve(channel: Channel) -> None:
    channel.now += 5 * YEAR
    done = channel.send(STRANGER, MIN_TOP_UP + PLENTY, TopUp(1, MIN_TOP_UP).cell())
    assert done.transaction.succeeded
    assert channel.account.balance == 5 * GRAM + MIN_TOP_UP + RENT_RESERVE


def test_a_message_that_breaks_off_changes_nothing(channel: Channel) -> None:
    whole = channel.claim(GRAM)
    bits = whole.bits.to01()
    for cut in (0, 8, 31, 32, 95, 96, 100, 600):
        torn = Writer()
        for bit in bits[:cut]:
            torn.uint(int(bit), 1)
        before = channel.account.data
        assert channel.send(GATEWAY, PLENTY, torn.cell()).exit_code != 0
        assert channel.account.data == before
