"""toncenter's API v3: states, transactions, messages, traces of one story, seen from all sides."""

from base64 import b64decode, b64encode
from typing import Any

import httpx2
import pytest
from pytoniq_core import Address, Cell

from tests.ton.devnet.fixtures import GRAM, channel_config
from tests.ton.devnet.wallets import Wallet
from ton.chain.external import normal_hash
from ton.codec.cells import raw
from ton.codec.messages import StartClose
from ton.codec.storage import channel_address
from ton.contracts import payment_channel
from ton.devnet.chain import Devnet
from ton.devnet.log import Query
from ton.tvm.messages import Internal
from ton.tvm.transactions import Transaction


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def boc(cell: Cell) -> str:
    return b64(cell.to_boc())


class Story:
    """A wallet opens a channel, and asks to close somebody else's, which bounces."""

    def __init__(self, devnet: Devnet) -> None:
        self.wallet, self.stranger = Wallet(), Wallet("stranger")
        for one in (self.wallet, self.stranger):
            devnet.give(one.address, 10 * GRAM)
        config = channel_config(self.wallet.address)
        self.channel = channel_address(payment_channel(), config)
        self.opening = self.wallet.opening(config, GRAM)
        self.opened = devnet.send(self.opening)
        bad = Internal(
            self.stranger.address, self.channel, 50_000_000, StartClose(1).cell(), bounce=True
        )
        self.refused = devnet.send(self.stranger.signed(bad))


@pytest.fixture
def story(devnet: Devnet) -> Story:
    return Story(devnet)


@pytest.fixture
def get(http: httpx2.AsyncClient) -> Any:
    async def get(path: str, **query: Any) -> Any:
        answer = await http.get(f"/api/v3/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return get


def upper(address: Address) -> str:
    return raw(address).upper()


async def test_states_of_several_accounts_at_once(get: Any, story: Story) -> None:
    asked = [story.channel.to_str(), raw(story.wallet.address), "0:" + "99" * 32]
    found = await get("accountStates", address=asked, include_boc="true")
    assert [one["address"] for one in found["accounts"]] == [
        upper(story.channel),
        upper(story.wallet.address),
    ]
    channel = found["accounts"][0]
    assert channel["status"] == "active"
    assert channel["code_hash"] == b64(payment_channel().hash)
    assert Cell.one_from_boc(b64decode(channel["code_boc"])).hash == payment_channel().hash
    assert found["address_book"][upper(story.channel)]["user_friendly"] == story.channel.to_str()
    bare = await get("accountStates", address=asked[0], include_boc="false")
    assert "code_boc" not in bare["accounts"][0]
    assert (await get("addressInformation", address=asked[0]))["status"] == "active"


async def test_wallets_are_known_by_their_code(get: Any, story: Story) -> None:
    asked = f"{raw(story.wallet.address)},{raw(story.channel)}"
    wallet, channel = (await get("walletStates", address=asked))["wallets"]
    assert (wallet["wallet_type"], wallet["seqno"]) == ("wallet v5 r1", 1)
    assert (wallet["is_wallet"], channel["is_wallet"]) == (True, False)
    one = await get("walletInformation", address=raw(story.wallet.address))
    assert one["wallet_type"] == "wallet v5 r1"
    assert (await get("walletInformation", address=raw(story.channel)))["seqno"] is None


async def test_a_transaction_shows_all_its_phases(get: Any, story: Story) -> None:
    found = await get("transactions", account=raw(story.channel), sort="asc")
    opened, refused = found["transactions"]
    assert opened["description"]["compute_ph"]["gas_used"] == "4291"
    assert opened["description"]["action"]["success"] is True
    assert (opened["orig_status"], opened["end_status"]) == ("nonexist", "active")
    assert opened["in_msg"]["opcode"] == "0x50430001"
    assert opened["in_msg"]["init_state"]["hash"]
    assert opened["account_state_after"]["balance"] == opened_balance(refused)
    assert refused["description"]["aborted"] is True
    assert refused["description"]["compute_ph"]["exit_code"] == 401
    assert refused["description"]["bounce"]["type"] == "ok"
    assert refused["out_msgs"][0]["bounced"] is True
    assert refused["prev_trans_hash"] == opened["hash"]


def opened_balance(following: Any) -> str:
    return str(following["account_state_before"]["balance"])


async def test_transactions_are_found_by_anything(get: Any, story: Story) -> None:
    whole = (await get("transactions", limit=1000))["transactions"]
    first = whole[-1]
    for query in (
        {"hash": first["hash"]},
        {"hash": b64decode(first["hash"]).hex()},
        {"lt": first["lt"], "account": first["account"]},
        {"mc_seqno": first["mc_block_seqno"]},
        {"end_lt": first["lt"]},
        {"limit": 1, "sort": "asc"},
        {"limit": 1, "offset": len(whole) - 1},
    ):
        assert (await get("transactions", **query))["transactions"] == [first]
    later = await get("transactions", start_utime=first["now"] + 10**6)
    assert later["transactions"] == []
    rest = await get("transactions", exclude_account=first["account"], limit=1000, workchain=0)
    assert first["account"] not in {one["account"] for one in rest["transactions"]}
    block = await get("transactionsByMasterchainBlock", seqno=first["mc_block_seqno"])
    assert block["transactions"] == [first]


async def test_a_trace_holds_everything_that_a_message_caused(get: Any, story: Story) -> None:
    for name in (story.opened.norm, story.opened.hash):
        (trace,) = (await get("traces", msg_hash=b64(name), limit=1, sort="desc"))["traces"]
        assert trace["external_hash_norm"] == b64(story.opened.norm)
        assert trace["trace_info"]["trace_state"] == "complete"
        assert trace["is_incomplete"] is False
        root = trace["transactions"][trace["trace"]["tx_hash"]]
        assert root["account"] == upper(story.wallet.address)
        (child,) = trace["trace"]["children"]
        assert trace["transactions"][child["tx_hash"]]["account"] == upper(story.channel)
        assert len(trace["transactions_order"]) == len(trace["transactions"]) == 3
    by_account = await get("traces", account=raw(story.channel))
    assert len(by_account["traces"]) == 2
    by_tx = await get("traces", tx_hash=trace["transactions_order"][1])
    assert by_tx["traces"][0]["trace_id"] == trace["trace_id"]


async def test_messages_lead_from_one_transaction_to_the_next(get: Any, story: Story) -> None:
    to_channel = await get("messages", destination=raw(story.channel), sort="asc")
    opening, bad = to_channel["messages"]
    assert opening["source"] == upper(story.wallet.address)
    sent = await get("transactionsByMessage", msg_hash=opening["hash"], direction="out")
    got = await get("transactionsByMessage", msg_hash=opening["hash"], direction="in")
    assert sent["transactions"][0]["hash"] == opening["out_msg_tx_hash"]
    assert got["transactions"][0]["hash"] == opening["in_msg_tx_hash"]
    near = await get("adjacentTransactions", hash=opening["in_msg_tx_hash"])
    assert near["transactions"][0]["hash"] == opening["out_msg_tx_hash"]
    assert len(near["transactions"]) == 2
    outside = await get("messages", source="null", only_externals="true")
    assert {one["hash_norm"] for one in outside["messages"]} == {
        b64(story.opened.norm),
        b64(story.refused.norm),
    }
    closing = await get("messages", opcode="0x50430004", exclude_externals="true")
    assert [one["hash"] for one in closing["messages"]] == [bad["hash"]]
    norm = await get("messages", msg_hash=b64(story.opened.norm))
    assert norm["messages"][0]["hash"] == b64(story.opened.hash)


async def test_a_message_is_sent_and_its_hash_told(http: httpx2.AsyncClient, story: Story) -> None:
    message = story.wallet.transfer(story.channel, GRAM)
    answer = await http.post("/api/v3/message", json={"boc": boc(message)})
    assert answer.json() == {
        "message_hash": b64(message.hash),
        "message_hash_norm": b64(normal_hash(message)),
    }


async def test_a_get_method_is_run(http: httpx2.AsyncClient, story: Story) -> None:
    asked = {"address": raw(story.channel), "method": "channelState", "stack": []}
    answer = (await http.post("/api/v3/runGetMethod", json=asked)).json()
    assert answer["exit_code"] == 0
    assert answer["stack"][0] == {"type": "num", "value": hex(GRAM)}
    number = {"type": "num", "value": "5"}
    hashed = {**asked, "method": "voucherHash", "stack": [number, number, number]}
    assert (await http.post("/api/v3/runGetMethod", json=hashed)).json()["exit_code"] == 0
    parties = {**asked, "method": "channelConfig"}
    shown = (await http.post("/api/v3/runGetMethod", json=parties)).json()["stack"]
    assert shown[0]["type"] == "slice"
    address = Cell.one_from_boc(b64decode(shown[0]["value"])).begin_parse().load_address()
    assert address == story.wallet.address


async def test_fees_are_estimated_and_nothing_happens(
    http: httpx2.AsyncClient, devnet: Devnet, story: Story
) -> None:
    message = story.wallet.transfer(story.channel, GRAM)
    body = message.begin_parse()
    body.load_bits(2 + 2 + 267 + 4 + 1 + 1)
    asked = {"address": raw(story.wallet.address), "body": boc(body.load_ref())}
    before = devnet.supply()
    v3 = (await http.post("/api/v3/estimateFee", json=asked)).json()["source_fees"]
    v2 = (await http.post("/api/v2/estimateFee", json=asked)).json()["result"]["source_fees"]
    assert v2 == {"@type": "fees", **v3}
    assert v3["gas_fee"] > 300_000
    assert v3["in_fwd_fee"] > 60_000
    assert devnet.supply() == before
    (paid,) = [
        Transaction.read(entry.boc)
        for entry in devnet.log.find(Query(("block = ?",), (devnet.send(message).block.seqno,)))
        if entry.account == raw(story.wallet.address) and entry.parent is None
    ]
    assert sum(v3.values()) == paid.fees


async def test_the_head_of_the_chain_is_told(get: Any, devnet: Devnet, story: Story) -> None:
    info = await get("masterchainInfo")
    assert info["last"]["seqno"] == devnet.log.head().seqno == 4
    assert info["first"]["seqno"] == 1
    assert info["last"]["global_id"] == devnet.network
    book = await get("addressBook", address=raw(story.channel))
    assert book[upper(story.channel)]["user_friendly"] == story.channel.to_str()
