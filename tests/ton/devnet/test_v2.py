"""toncenter's API v2, beyond what the stock client asks."""

from base64 import b64decode, b64encode
from typing import Any

import httpx2
import pytest
from pytoniq_core import Address, Cell

from tests.ton.devnet.fixtures import GRAM
from tests.ton.devnet.wallets import Wallet
from ton.codec.cells import Writer, raw
from ton.devnet.chain import FAUCET, Devnet
from ton.tvm.messages import Internal

PLACE = Address((0, b"\x55" * 32))


@pytest.fixture
def get(http: httpx2.AsyncClient) -> Any:
    async def get(path: str, **query: Any) -> Any:
        answer = await http.get(f"/api/v2/{path}", params=query)
        assert answer.status_code == 200, answer.text
        assert answer.json()["ok"] is True
        return answer.json()["result"]

    return get


async def test_balance_and_state_of_an_account(get: Any, devnet: Devnet) -> None:
    where = PLACE.to_str()
    assert await get("getAddressState", address=where) == "uninitialized"
    devnet.give(PLACE, GRAM)
    assert await get("getAddressBalance", address=where) == str(GRAM)
    extended = await get("getExtendedAddressInformation", address=where)
    assert extended["account_state"]["@type"] == "uninited.accountState"
    wallet = Wallet()
    devnet.give(wallet.address, GRAM)
    devnet.send(wallet.transfer(PLACE, 1000))
    known = await get("getWalletInformation", address=raw(wallet.address))
    assert (known["wallet"], known["seqno"], known["wallet_type"]) == (True, 1, "wallet v5 r1")
    assert (await get("getWalletInformation", address=where))["wallet"] is False
    extended = await get("getExtendedAddressInformation", address=raw(wallet.address))
    assert extended["account_state"]["@type"] == "raw.accountState"


async def test_addresses_in_all_their_forms(get: Any) -> None:
    friendly = PLACE.to_str()
    assert await get("packAddress", address=raw(PLACE)) == friendly
    assert await get("unpackAddress", address=friendly) == raw(PLACE)
    forms = await get("detectAddress", address=raw(PLACE))
    assert forms["bounceable"]["b64url"] == friendly
    assert forms["given_type"] == "raw_form"


async def test_comments_are_shown_as_text(get: Any, devnet: Devnet) -> None:
    wallet = Wallet()
    devnet.give(wallet.address, GRAM)
    text = "memo: 42 ☀"
    body = Writer().uint(0, 32).octets(text.encode(), len(text.encode())).cell()
    devnet.send(wallet.signed(Internal(wallet.address, PLACE, 1_000_000, body, bounce=False)))
    (newest,) = await get("getTransactions", address=raw(PLACE), limit=1)
    assert newest["in_msg"]["message"] == text
    assert newest["in_msg"]["msg_data"]["@type"] == "msg.dataText"
    assert newest["in_msg"]["source"] == wallet.address.to_str()
    located = await get(
        "tryLocateTx",
        source=raw(wallet.address),
        destination=raw(PLACE),
        created_lt=newest["in_msg"]["created_lt"],
    )
    assert located["transaction_id"] == newest["transaction_id"]


async def test_history_begins_where_it_was_asked_to(get: Any, devnet: Devnet) -> None:
    for _ in range(5):
        devnet.give(PLACE, GRAM)
    whole = await get("getTransactions", address=raw(PLACE))
    second = whole[1]["transaction_id"]
    asked = {"address": raw(PLACE), "lt": second["lt"], "hash": second["hash"]}
    assert await get("getTransactions", **asked) == whole[1:]
    last = whole[3]["transaction_id"]["lt"]
    assert await get("getTransactions", **asked, to_lt=last) == whole[1:3]
    hexadecimal = {**asked, "hash": b64decode(second["hash"]).hex()}
    assert await get("getTransactions", **hexadecimal) == whole[1:]


async def test_configuration_whole_and_by_parameter(get: Any, devnet: Devnet) -> None:
    whole = await get("getConfigAll")
    assert b64decode(whole["config"]["bytes"]) == devnet.tvm.config
    one = await get("getConfigParam", config_id=19)
    network = Cell.one_from_boc(b64decode(one["config"]["bytes"])).begin_parse().load_int(32)
    assert network == devnet.network


async def test_blocks_are_counted(get: Any, devnet: Devnet) -> None:
    devnet.give(PLACE, GRAM)
    assert (await get("getMasterchainInfo"))["last"]["seqno"] == 1
    assert (await get("getConsensusBlock"))["consensus_block"] == 1


async def test_a_message_is_sent_and_its_hashes_told(
    http: httpx2.AsyncClient, devnet: Devnet
) -> None:
    wallet = Wallet()
    devnet.give(wallet.address, GRAM)
    message = wallet.transfer(PLACE, 1000)
    boc = b64encode(message.to_boc()).decode()
    answer = (await http.post("/api/v2/sendBocReturnHash", json={"boc": boc})).json()
    assert answer["result"]["hash"] == b64encode(message.hash).decode()
    assert answer["result"]["hash_norm"] != answer["result"]["hash"]


async def test_every_method_is_there_by_json_rpc_too(
    http: httpx2.AsyncClient, devnet: Devnet
) -> None:
    devnet.give(PLACE, GRAM)
    call = {"jsonrpc": "2.0", "id": 7, "method": "getAddressBalance"}
    asked = {**call, "params": {"address": raw(PLACE)}}
    answer = (await http.post("/api/v2/jsonRPC", json=asked)).json()
    assert answer == {"ok": True, "result": str(GRAM), "jsonrpc": "2.0", "id": 7}
    wrong = await http.post("/api/v2/jsonRPC", json={**call, "method": "mine"})
    assert wrong.status_code == 404
    assert wrong.json()["id"] == 7
    assert wrong.json()["ok"] is False


async def test_a_get_method_by_number_and_on_nothing(
    http: httpx2.AsyncClient, devnet: Devnet
) -> None:
    wallet = Wallet()
    devnet.give(wallet.address, GRAM)
    asked: dict[str, Any] = {"address": raw(wallet.address), "method": 85143, "stack": []}
    empty = (await http.post("/api/v2/runGetMethod", json=asked)).json()["result"]
    assert (empty["exit_code"], empty["stack"]) == (-13, [])
    devnet.send(wallet.transfer(PLACE, 1000))
    seqno = (await http.post("/api/v2/runGetMethod", json=asked)).json()["result"]
    assert seqno["stack"] == [["num", "0x1"]]
    extensions = {**asked, "method": "get_extensions"}
    nothing = (await http.post("/api/v2/runGetMethod", json=extensions)).json()["result"]
    assert nothing["stack"] == [["list", {"@type": "tvm.list", "elements": []}]]


async def test_the_faucet_is_nobodys_wallet(devnet: Devnet) -> None:
    devnet.give(PLACE, GRAM)
    assert devnet.account(raw(FAUCET)).balance == 0
