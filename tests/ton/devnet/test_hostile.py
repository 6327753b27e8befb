"""Whatever comes in, the answer has toncenter's shape, names what is wrong, and changes nothing."""

from base64 import b64encode
from typing import Any

import httpx2
import pytest
from pytoniq_core import Address, Cell

from tests.ton.devnet.fixtures import GRAM
from tests.ton.devnet.wallets import Wallet
from ton.codec.cells import Writer, raw
from ton.devnet.chain import Devnet
from ton.tvm.messages import Internal, external

PLACE = Address((0, b"\x55" * 32))
WHERE = raw(PLACE)


def boc(cell: Cell) -> str:
    return b64encode(cell.to_boc()).decode()


def nested(depth: int) -> Any:
    value: Any = ["num", "0x1"]
    for _ in range(depth):
        value = ["tuple", {"elements": [value]}]
    return value


ASK = {"address": WHERE, "method": "m"}
BAD_V2: list[tuple[str, dict[str, Any], str]] = [
    ("getAddressInformation", {}, "address: field required"),
    ("getAddressInformation", {"address": ""}, "address: field required"),
    ("getAddressInformation", {"address": "EQ"}, "address: this is no address"),
    ("getAddressInformation", {"address": 5}, "address: must be a string"),
    ("getAddressInformation", {"address": [["x"]]}, "address: must be a string"),
    ("getTransactions", {"address": WHERE, "limit": 0}, "limit: must be 1 to 1000"),
    ("getTransactions", {"address": WHERE, "limit": "ten"}, "limit: must be a whole number"),
    ("getTransactions", {"address": WHERE, "limit": True}, "limit: must be a whole number"),
    ("getTransactions", {"address": WHERE, "limit": 1.5}, "limit: must be a whole number"),
    ("getTransactions", {"address": WHERE, "lt": 5}, "hash: lt and hash belong together"),
    ("getTransactions", {"address": WHERE, "lt": 5, "hash": "zz"}, "hash: must be 32 bytes"),
    ("getTransactions", {"address": WHERE, "lt": 2**64, "hash": "aa"}, "lt: must be 0 to"),
    ("sendBoc", {}, "boc: field required"),
    ("sendBoc", {"boc": "!!"}, "boc: this is no bag of cells"),
    ("sendBoc", {"boc": boc(Writer().cell())}, "this is no message"),
    ("sendBoc", {"boc": boc(Writer().uint(3, 2).uint(0, 62).cell())}, "this is no message"),
    ("sendBoc", {"boc": boc(Internal(PLACE, PLACE, GRAM).cell())}, "only external messages"),
    (
        "sendBoc",
        {"boc": boc(external(Address((7, b"\x01" * 32)), Writer().cell()))},
        "for no account of workchain 0 or -1",
    ),
    ("runGetMethod", {**ASK, "stack": {}}, "stack must be an array"),
    ("runGetMethod", {**ASK, "stack": [["num", "0x1"]] * 256}, "at most 255"),
    ("runGetMethod", {**ASK, "stack": [["num"]]}, 'a stack entry is ["type", value]'),
    ("runGetMethod", {**ASK, "stack": [["num", "z"]]}, "must be decimal, or hex"),
    ("runGetMethod", {**ASK, "stack": [["num", None]]}, "must be decimal, or hex"),
    ("runGetMethod", {**ASK, "stack": [["num", str(2**256)]]}, "more than 257 bits"),
    ("runGetMethod", {**ASK, "stack": [["cell", "AAAA"]]}, "no bag of cells"),
    ("runGetMethod", {**ASK, "stack": [["cell", {}]]}, "must be a bag of cells"),
    ("runGetMethod", {**ASK, "stack": [["tuple", 5]]}, "a tuple must be an array"),
    ("runGetMethod", {**ASK, "stack": [["ship", boc(Writer().cell())]]}, "unknown type 'ship'"),
    ("runGetMethod", {**ASK, "stack": [nested(40)]}, "nested too deeply"),
    ("runGetMethod", {**ASK, "method": None}, "method: field required"),
    ("runGetMethod", {**ASK, "method": 2**40}, "method: must fit 32 bits"),
    ("runGetMethod", {**ASK, "method": "m" * 200}, "method: the name is too long"),
    ("runGetMethod", {**ASK, "method": [1]}, "method: must be a name or a number"),
    ("estimateFee", {"address": WHERE}, "body: field required"),
    (
        "estimateFee",
        {"address": WHERE, "body": boc(Writer().cell()), "init_code": boc(Writer().cell())},
        "init_code and init_data belong together",
    ),
    ("getConfigParam", {"config_id": "x"}, "config_id: must be a whole number"),
    ("getConfigParam", {"config_id": 2**40}, "config_id: must be"),
]


@pytest.mark.parametrize(("method", "body", "sentence"), BAD_V2)
async def test_v2_says_what_is_wrong(
    http: httpx2.AsyncClient, devnet: Devnet, method: str, body: dict[str, Any], sentence: str
) -> None:
    answer = await http.post(f"/api/v2/{method}", json=body)
    document = answer.json()
    assert (document["ok"], document["code"]) == (False, answer.status_code) == (False, 422)
    assert sentence in document["error"]
    assert devnet.log.head().seqno == 0


BAD_V3: list[tuple[str, dict[str, Any], str]] = [
    ("accountStates", {}, "address: field required"),
    ("accountStates", {"address": "x"}, "address: this is no address"),
    ("accountStates", {"address": "0," * 1025}, "address: at most 1024"),
    ("accountStates", {"address": WHERE, "include_boc": "maybe"}, "include_boc: must be true"),
    ("transactions", {"sort": "up; DROP TABLE"}, "sort: must be asc or desc"),
    ("transactions", {"limit": 1001}, "limit: must be 1 to 1000"),
    ("transactions", {"offset": -1}, "offset: must be 0 to"),
    ("transactions", {"hash": "' OR 1=1"}, "hash: must be 32 bytes"),
    ("transactions", {"workchain": 5}, "workchain: must be -1 to 0"),
    ("transactions", {"start_utime": "now"}, "start_utime: must be a whole number"),
    ("transactionsByMessage", {}, "msg_hash: field required"),
    ("transactionsByMessage", {"msg_hash": "00" * 32, "direction": "up"}, "direction: must be"),
    ("messages", {"opcode": "transfer"}, "opcode: must be 32 bits"),
    ("messages", {"opcode": str(2**32)}, "opcode: must be 32 bits"),
    ("traces", {"msg_hash": "00"}, "msg_hash: must be 32 bytes"),
]


@pytest.mark.parametrize(("path", "query", "sentence"), BAD_V3)
async def test_v3_says_what_is_wrong(
    http: httpx2.AsyncClient, path: str, query: dict[str, Any], sentence: str
) -> None:
    answer = await http.get(f"/api/v3/{path}", params=query)
    assert answer.status_code == answer.json()["code"] == 422
    assert sentence in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v2/mine", 404),
        ("GET", "/api/v3/mine", 404),
        ("GET", "/api/v3/message", 404),
        ("GET", "/api/v2/getTransactions?address=" + WHERE + "&lt=5&hash=" + "00" * 32, 404),
        ("GET", "/api/v2/getConfigParam?config_id=77", 404),
        ("GET", "/api/v2/tryLocateTx?source=0:00&destination=" + WHERE, 422),
        ("GET", f"/api/v2/tryLocateTx?source={WHERE}&destination={WHERE}&created_lt=5", 404),
        ("GET", "/api/v3/adjacentTransactions?hash=" + "00" * 32, 404),
        ("DELETE", "/api/v2/sendBoc", 405),
        ("GET", "/elsewhere", 404),
        ("GET", "/devnet/mine", 404),
        ("POST", "/devnet/rollback?seqno=9", 404),
    ],
)
async def test_what_is_not_there_is_refused_in_shape(
    http: httpx2.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == answer.json()["code"] == status
    assert answer.json()["error"]
    assert ("ok" in answer.json()) == path.startswith("/api/v2")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b"[" * 50_000, b"\xff\xfe", b'{"boc": "' + b"A" * 100]
)
async def test_a_body_that_is_no_json_object_is_refused(
    http: httpx2.AsyncClient, body: bytes
) -> None:
    for path in ("/api/v2/sendBoc", "/api/v2/jsonRPC", "/api/v3/message", "/devnet/faucet"):
        answer = await http.post(path, content=body)
        assert answer.status_code == 422
        assert answer.json()["code"] == 422


async def test_a_body_without_end_is_refused(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/api/v2/sendBoc", content=b"x" * (3 << 20))
    assert answer.status_code == answer.json()["code"] == 413


async def test_a_message_that_nobody_takes_names_the_exit_code(
    http: httpx2.AsyncClient, devnet: Devnet
) -> None:
    wallet = Wallet()
    message = wallet.transfer(PLACE, GRAM)
    unfunded = await http.post("/api/v2/sendBoc", json={"boc": boc(message)})
    assert unfunded.status_code == 500
    assert unfunded.json()["error"].startswith("LITE_SERVER_UNKNOWN: cannot apply external message")
    devnet.give(wallet.address, GRAM)
    head = devnet.log.head()
    late = Wallet().signed(valid_until=devnet.now() - 1)
    expired = await http.post("/api/v3/message", json={"boc": boc(late)})
    assert expired.status_code == expired.json()["code"] == 500
    assert "exitcode=136" in expired.json()["error"]
    assert devnet.log.head() == head


async def test_a_message_packed_with_waste_is_taken_like_any_other(
    http: httpx2.AsyncClient, devnet: Devnet
) -> None:
    wallet = Wallet()
    devnet.give(wallet.address, GRAM)
    message = wallet.transfer(PLACE, 1000)
    text = b64encode(message.to_boc(hash_crc32=True)).decode().rstrip("=")
    urlsafe = text.replace("+", "-").replace("/", "_")
    assert (await http.post("/api/v2/sendBoc", json={"boc": urlsafe})).json()["ok"] is True
    assert devnet.account(WHERE).balance == 1000
