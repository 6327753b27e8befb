"""A third party's client, as it comes from PyPI: wallet, channel, top-up, state, history."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from pytoniq_core import Address, Cell
from ton_core import Cell as TheirCell
from ton_core import InternalMsgInfo, NetworkGlobalID, StateInit
from tonutils.clients import ToncenterClient
from tonutils.contracts import WalletV5R1
from tonutils.contracts.wallet.messages import TONTransferBuilder
from tonutils.exceptions import ProviderResponseError, RunGetMethodError

from tests.ton.devnet.fixtures import channel_config
from ton.codec.messages import StartClose, TopUp
from ton.codec.storage import ChannelConfig, channel_init, contract_address, first_state
from ton.contracts import payment_channel
from ton.devnet.chain import Devnet
from ton.devnet.process import Running

GRAM = 10**9
DEPOSIT = 2 * GRAM
RENT = 20_000_000


@pytest.fixture
async def client(running: Running) -> AsyncIterator[ToncenterClient]:
    url = f"{running.url}/api/v2"
    client = ToncenterClient(NetworkGlobalID.TESTNET, base_url=url, rps_limit=1000, rps_period=1.0)
    await client.connect()
    yield client
    await client.close()


async def funded(client: ToncenterClient, http: httpx2.AsyncClient, amount: int) -> WalletV5R1:
    wallet, *_ = WalletV5R1.create(client)
    asked = {"address": wallet.address.to_str(), "amount_nano": str(amount)}
    given = await http.post("/devnet/faucet", json=asked)
    assert given.json()["balance_nano"] == str(amount)
    return wallet


def theirs(cell: Cell) -> TheirCell:
    return TheirCell.one_from_boc(cell.to_boc())


def config_for(wallet: WalletV5R1) -> ChannelConfig:
    return channel_config(Address(wallet.address.to_str()))


async def test_a_stock_client_makes_a_wallet_and_opens_tops_up_and_reads_a_channel(
    client: ToncenterClient, http: httpx2.AsyncClient, devnet: Devnet
) -> None:
    wallet = await funded(client, http, 10 * GRAM)
    await wallet.refresh()
    assert (wallet.balance, wallet.state.value) == (10 * GRAM, "uninit")
    config = config_for(wallet)
    channel = contract_address(channel_init(payment_channel(), config)).to_str()
    init = StateInit(code=theirs(payment_channel()), data=theirs(first_state(config)))
    await wallet.transfer(
        destination=channel,
        amount=DEPOSIT + 2 * RENT,
        body=theirs(TopUp(1, DEPOSIT).cell()),
        state_init=init,
    )
    assert await client.run_get_method(channel, "channelState") == [DEPOSIT, 0, 0]
    await wallet.transfer(
        destination=channel, amount=DEPOSIT + RENT, body=theirs(TopUp(2, DEPOSIT).cell())
    )
    assert await client.run_get_method(channel, "channelState") == [2 * DEPOSIT, 0, 0]
    info = await client.get_info(channel)
    assert info.state.value == "active"
    assert TheirCell.one_from_boc(info.code_raw).hash == payment_channel().hash
    history = await client.get_transactions(channel, limit=10)
    assert [one.lt for one in history] == sorted((one.lt for one in history), reverse=True)
    assert len(history) == 2
    await wallet.refresh()
    assert wallet.state.value == "active"
    assert await wallet.seqno() == 2
    minted, fees, balances = devnet.supply()
    assert minted == 10 * GRAM == fees + balances
    assert fees > 0


async def test_a_batch_of_two_hundred_payments_is_one_block(
    client: ToncenterClient, http: httpx2.AsyncClient, devnet: Devnet
) -> None:
    wallet = await funded(client, http, 10 * GRAM)
    before = devnet.log.head().seqno
    messages = [
        TONTransferBuilder(destination=f"0:{number:064x}", amount=1_000_000, bounce=False)
        for number in range(1, 201)
    ]
    await wallet.batch_transfer_message(messages)
    assert devnet.log.head().seqno == before + 1
    assert devnet.account(f"0:{200:064x}").balance > 0
    (newest,) = await client.get_transactions(wallet.address.to_str(), limit=1)
    assert newest.outmsg_cnt == 200


async def test_history_is_paged_to_its_beginning(
    client: ToncenterClient, http: httpx2.AsyncClient, devnet: Devnet
) -> None:
    place = Address((0, b"\x01" * 32))
    for _ in range(120):
        devnet.give(place, GRAM)
    whole = await client.get_transactions(place.to_str(), limit=500)
    assert len(whole) == 120
    since = whole[50].lt
    assert len(await client.get_transactions(place.to_str(), limit=500, to_lt=since)) == 50


async def test_a_message_to_somebody_who_refuses_it_bounces_back(
    client: ToncenterClient, http: httpx2.AsyncClient, devnet: Devnet
) -> None:
    wallet = await funded(client, http, 10 * GRAM)
    config = config_for(wallet)
    channel = contract_address(channel_init(payment_channel(), config)).to_str()
    init = StateInit(code=theirs(payment_channel()), data=theirs(first_state(config)))
    await wallet.transfer(
        destination=channel,
        amount=DEPOSIT + 2 * RENT,
        body=theirs(TopUp(1, DEPOSIT).cell()),
        state_init=init,
    )
    stranger = await funded(client, http, GRAM)
    await stranger.transfer(destination=channel, amount=RENT, body=theirs(StartClose(3).cell()))
    (newest, *_) = await client.get_transactions(stranger.address.to_str(), limit=5)
    assert newest.in_msg is not None
    assert isinstance(newest.in_msg.info, InternalMsgInfo)
    assert newest.in_msg.info.bounced
    assert newest.in_msg.info.value_coins > RENT // 2
    assert await client.run_get_method(channel, "channelState") == [DEPOSIT, 0, 0]


async def test_money_to_an_empty_address_comes_back_unless_told_to_stay(
    client: ToncenterClient, http: httpx2.AsyncClient, devnet: Devnet
) -> None:
    wallet = await funded(client, http, 10 * GRAM)
    nobody = f"0:{77:064x}"
    await wallet.transfer(destination=nobody, amount=GRAM, bounce=True)
    assert devnet.account(nobody).balance == 0
    await wallet.transfer(destination=nobody, amount=GRAM, bounce=False)
    assert devnet.account(nobody).balance == GRAM
    minted, fees, balances = devnet.supply()
    assert minted == fees + balances


async def test_a_stock_client_understands_our_refusals(
    client: ToncenterClient, http: httpx2.AsyncClient, devnet: Devnet
) -> None:
    wallet = await funded(client, http, 10 * GRAM)
    replayed = await wallet.transfer(destination=f"0:{5:064x}", amount=GRAM)
    with pytest.raises(ProviderResponseError, match="exitcode=") as refused:
        await client.send_message(replayed.as_hex)
    assert refused.value.code == 500
    with pytest.raises(RunGetMethodError):
        await client.run_get_method(wallet.address.to_str(), "no_such_method")


async def test_a_stock_client_reads_the_network_configuration(client: ToncenterClient) -> None:
    config = await client.get_config()
    assert 21 in config
