"""What every `ChainClient` does, on each way to reach a chain: the contract of the port."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pytoniq_core import Address

from tests.ton.chain.liteserver.answers import Answers
from tests.ton.chain.liteserver.server import Server, honestly, serving
from tests.ton.devnet.fixtures import GRAM, channel_config
from tests.ton.devnet.wallets import Wallet
from ton.chain.agreed import AgreedChain
from ton.chain.contracts import channel_of
from ton.chain.errors import (
    ChainRolledBack,
    ChainUnreachable,
    ForeignContract,
    GetMethodFailed,
    NotSeen,
)
from ton.chain.external import normal_hash
from ton.chain.liteserver.link import Link
from ton.chain.liteserver.node import Liteserver
from ton.chain.liteserver.place import parse_place
from ton.chain.opening import open_chain
from ton.chain.port import BEGINNING, ChainClient, Node, Point
from ton.chain.toncenter import Toncenter
from ton.chain.wire import Wire
from ton.codec.cells import Writer
from ton.codec.signed import Voucher
from ton.codec.storage import channel_address
from ton.contracts import payment_channel
from ton.devnet.chain import Devnet
from ton.devnet.node import DevnetNode
from ton.devnet.process import Running
from ton.errors import MessageNotAccepted
from ton.settings import DEVNET, TonSettings
from ton.tvm.accounts import Status

NOBODY = Address((0, b"\x55" * 32))


def quick(*nodes: Node, network: int = DEVNET) -> AgreedChain:
    return AgreedChain(nodes, network=network, patience=(0.01,), poll=0.01)


def toncenter(running: Running, name: str = "devnet", *, network: int = DEVNET) -> Toncenter:
    wire = Wire(f"{running.url}/api/v2", name=name, per_second=1000, delays=())
    return Toncenter(wire, network=network)


def liteserver(server: Server, *, network: int = DEVNET) -> Liteserver:
    link = Link(parse_place(server.url), per_second=1000, delays=())
    return Liteserver(link, network=network)


def configured(*urls: str) -> AgreedChain:
    settings = TonSettings(providers=urls, requests_per_second=1000)
    return open_chain(settings, patience=(0.01,), poll=0.01)


@pytest.fixture
async def lite(devnet: Devnet) -> AsyncIterator[Server]:
    async with serving(Server(honestly(Answers(devnet)))) as server:
        yield server


@pytest.fixture(
    params=["direct", "toncenter", "three providers", "settings", "liteserver", "one of each"]
)
async def chain(
    request: pytest.FixtureRequest, devnet: Devnet, running: Running, lite: Server
) -> AsyncIterator[AgreedChain]:
    made: dict[str, Any] = {
        "direct": lambda: quick(DevnetNode(devnet)),
        "toncenter": lambda: quick(toncenter(running)),
        "three providers": lambda: quick(*(toncenter(running, name) for name in "abc")),
        "settings": lambda: configured(f"{running.url}/api/v2"),
        "liteserver": lambda: quick(liteserver(lite)),
        "one of each": lambda: configured(f"{running.url}/api/v2", lite.url),
    }
    chain: AgreedChain = made[request.param]()
    yield chain
    await chain.close()


@pytest.fixture
def wallet(devnet: Devnet) -> Wallet:
    wallet = Wallet()
    devnet.give(wallet.address, 100 * GRAM)
    return wallet


def test_the_client_is_a_chain_client(devnet: Devnet) -> None:
    chain: ChainClient = AgreedChain([DevnetNode(devnet)], network=DEVNET)
    assert chain.network == DEVNET


async def test_an_address_to_which_nothing_was_sent_is_absent(chain: AgreedChain) -> None:
    state = await chain.account(NOBODY)
    assert (state.status, state.balance, state.last) == (Status.ABSENT, 0, BEGINNING)
    assert await chain.transactions(NOBODY) == []


async def test_money_without_a_contract_is_uninitialised(
    chain: AgreedChain, devnet: Devnet
) -> None:
    devnet.give(NOBODY, GRAM)
    state = await chain.account(NOBODY)
    assert (state.status, state.balance, state.code) == (Status.UNINITIALIZED, GRAM, None)
    assert abs(state.at - devnet.now()) <= 1


async def test_a_message_is_sent_and_its_effect_awaited(chain: AgreedChain, wallet: Wallet) -> None:
    before = (await chain.account(wallet.address)).last
    message = wallet.transfer(NOBODY, GRAM)
    sent = await chain.send(message)
    assert sent == normal_hash(message)
    happened = await chain.wait(wallet.address, sent, since=before, seconds=5)
    assert happened.transaction.succeeded
    assert happened.previous == before
    assert happened.point == (await chain.account(wallet.address)).last
    (arrived,) = await chain.transactions(NOBODY)
    assert arrived.transaction.in_message is not None


async def test_a_replayed_message_is_refused_with_its_exit_code(
    chain: AgreedChain, wallet: Wallet
) -> None:
    message = wallet.transfer(NOBODY, GRAM)
    await chain.send(message)
    with pytest.raises(MessageNotAccepted) as refused:
        await chain.send(message)
    assert refused.value.exit_code == 133  # W5: seqno


async def test_a_channel_is_opened_and_its_state_read_and_recomputed(
    chain: AgreedChain, wallet: Wallet
) -> None:
    config = channel_config(wallet.address)
    place = channel_address(payment_channel(), config)
    with pytest.raises(ForeignContract, match="no contract"):
        channel_of(await chain.account(place))
    await chain.send(wallet.opening(config, 2 * GRAM))
    channel = channel_of(await chain.account(place))
    assert (channel.deposited, channel.claimed, channel.config) == (2 * GRAM, 0, config)
    assert await chain.run(place, "channelState") == (2 * GRAM, 0, 0)


async def test_get_methods_take_arguments(chain: AgreedChain, wallet: Wallet) -> None:
    config = channel_config(wallet.address)
    place = channel_address(payment_channel(), config)
    await chain.send(wallet.opening(config, GRAM))
    (hash_,) = await chain.run(place, "voucherHash", 5 * GRAM, 1, 2)
    voucher = Voucher(DEVNET, place, 5 * GRAM, 1, 2)
    assert hash_ == int.from_bytes(voucher.cell().hash, "big")


async def test_a_get_method_that_is_not_there_is_an_error(
    chain: AgreedChain, wallet: Wallet
) -> None:
    await chain.send(wallet.transfer(NOBODY, GRAM))
    with pytest.raises(GetMethodFailed) as failed:
        await chain.run(wallet.address, "channelState")
    assert failed.value.exit_code == 11
    with pytest.raises(GetMethodFailed):
        await chain.run(Address((0, b"\x56" * 32)), "channelState")


async def test_a_wallet_at_the_place_of_a_channel_is_foreign(
    chain: AgreedChain, wallet: Wallet
) -> None:
    await chain.send(wallet.transfer(NOBODY, GRAM))
    with pytest.raises(ForeignContract, match="not the published channel"):
        channel_of(await chain.account(wallet.address))


async def test_history_comes_oldest_first_over_several_pages(
    chain: AgreedChain, devnet: Devnet
) -> None:
    for _ in range(130):
        devnet.give(NOBODY, GRAM)
    whole = await chain.transactions(NOBODY)
    assert len(whole) == 130
    assert [one.previous for one in whole] == [BEGINNING, *(one.point for one in whole[:-1])]
    tail = await chain.transactions(NOBODY, since=whole[99].point)
    assert tail == whole[100:]
    assert await chain.transactions(NOBODY, since=whole[-1].point) == []


async def test_waiting_ends_when_nothing_happens(chain: AgreedChain, wallet: Wallet) -> None:
    with pytest.raises(NotSeen):
        await chain.wait(wallet.address, bytes(32), since=BEGINNING, seconds=0.05)


async def test_a_chain_that_goes_back_is_noticed(chain: AgreedChain, devnet: Devnet) -> None:
    block = devnet.give(NOBODY, GRAM).block
    kept = (await chain.account(NOBODY)).last
    devnet.give(NOBODY, GRAM)
    lost = (await chain.account(NOBODY)).last
    devnet.back_to(block.seqno)
    with pytest.raises(ChainRolledBack, match=lost.hash.hex()):
        await chain.account(NOBODY)
    chain.forget(NOBODY)
    assert (await chain.account(NOBODY)).last == kept
    with pytest.raises(ChainRolledBack):
        await chain.transactions(NOBODY, since=lost)


async def test_a_fork_with_another_transaction_at_the_same_time_is_noticed(
    chain: AgreedChain, devnet: Devnet
) -> None:
    block = devnet.give(NOBODY, GRAM).block
    devnet.give(NOBODY, GRAM)
    lost = (await chain.account(NOBODY)).last
    devnet.back_to(block.seqno)
    for _ in range(3):
        devnet.give(NOBODY, 2 * GRAM)
    assert (await chain.account(NOBODY)).last.lt > lost.lt
    with pytest.raises(ChainRolledBack):
        await chain.transactions(NOBODY, since=lost)


async def test_a_point_that_never_was_is_not_in_the_history(
    chain: AgreedChain, devnet: Devnet
) -> None:
    devnet.give(NOBODY, GRAM)
    with pytest.raises(ChainRolledBack):
        await chain.transactions(NOBODY, since=Point(5, b"\x01" * 32))


async def test_a_provider_of_another_network_is_named(running: Running, lite: Server) -> None:
    for node in (toncenter(running, network=-239), liteserver(lite, network=-239)):
        chain = quick(node, network=-239)
        with pytest.raises(ChainUnreachable, match=f"is of network {DEVNET}, not -239"):
            await chain.account(NOBODY)
        await chain.close()


def test_the_normal_hash_ignores_how_a_message_is_packed(wallet: Wallet) -> None:
    message = wallet.transfer(NOBODY, GRAM)
    reader = message.begin_parse()
    assert normal_hash(message) != message.hash  # it carries the wallet's code, which is left out
    body = Writer().uint(7, 32).cell()
    inline = Writer().uint(0b10, 2).uint(0, 2).address(NOBODY).coins(0).uint(0, 2).uint(7, 32)
    in_ref = Writer().uint(0b10, 2).uint(0, 2).address(NOBODY).coins(9).uint(0, 1).uint(1, 1)
    assert normal_hash(inline.cell()) == normal_hash(in_ref.ref(body).cell())
    assert reader.remaining_bits


async def test_a_wallet_without_money_cannot_pay_for_its_message(chain: AgreedChain) -> None:
    with pytest.raises(MessageNotAccepted) as refused:
        await chain.send(Wallet("poor").transfer(NOBODY, GRAM))
    assert refused.value.exit_code is None
    assert chain.faults == {}
