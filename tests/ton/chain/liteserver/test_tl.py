"""TL against pytoniq-core's own generator, and against what is no TL."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytoniq_core import Address
from pytoniq_core.tl.generator import TlGenerator

from ton.chain.liteserver import questions
from ton.chain.liteserver.questions import BlockId
from ton.chain.liteserver.tl import Record, pack_bytes, pack_int
from ton.chain.port import Point
from ton.chain.reading import Nonsense

SCHEMAS = TlGenerator.with_default_schemas().generate()
BLOCK = BlockId(-1, -(1 << 63), 77, b"\x01" * 32, b"\x02" * 32)
OTHER = BlockId(0, 1 << 62, 78, b"\x03" * 32, b"\x04" * 32)
PLACE = Address((0, b"\x55" * 32))
ID = {
    "workchain": -1,
    "shard": -(1 << 63),
    "seqno": 77,
    "root_hash": "01" * 32,
    "file_hash": "02" * 32,
}
ACCOUNT = {"workchain": 0, "id": "55" * 32}

CONSTRUCTORS = {
    "QUERY": "adnl.message.query",
    "ANSWER": "adnl.message.answer",
    "LITE_QUERY": "liteServer.query",
    "ERROR": "liteServer.error",
    "GET_MASTERCHAIN_INFO": "liteServer.getMasterchainInfo",
    "MASTERCHAIN_INFO": "liteServer.masterchainInfo",
    "GET_BLOCK_HEADER": "liteServer.getBlockHeader",
    "BLOCK_HEADER": "liteServer.blockHeader",
    "GET_ACCOUNT_STATE": "liteServer.getAccountState",
    "ACCOUNT_STATE": "liteServer.accountState",
    "RUN_METHOD": "liteServer.runSmcMethod",
    "RUN_METHOD_RESULT": "liteServer.runMethodResult",
    "SEND_MESSAGE": "liteServer.sendMessage",
    "SEND_STATUS": "liteServer.sendMsgStatus",
    "GET_TRANSACTIONS": "liteServer.getTransactions",
    "TRANSACTION_LIST": "liteServer.transactionList",
}


@pytest.mark.parametrize(("name", "schema"), CONSTRUCTORS.items())
def test_constructors_are_those_of_the_schema(name: str, schema: str) -> None:
    assert getattr(questions, name) == SCHEMAS.get_by_name(schema).little_id()


@pytest.mark.parametrize(
    ("question", "schema", "data"),
    [
        (questions.GET_MASTERCHAIN_INFO, "getMasterchainInfo", {}),
        (questions.block_header(BLOCK), "getBlockHeader", {"id": ID, "mode": 0}),
        (questions.account_state(BLOCK, PLACE), "getAccountState", {"id": ID, "account": ACCOUNT}),
        (
            questions.run_method(BLOCK, PLACE, 85143, b"stack"),
            "runSmcMethod",
            {"mode": 4, "id": ID, "account": ACCOUNT, "method_id": 85143, "params": b"stack"},
        ),
        (questions.send_message(b"x" * 300), "sendMessage", {"body": b"x" * 300}),
        (
            questions.transactions(PLACE, Point(5, b"\x09" * 32), 16),
            "getTransactions",
            {"count": 16, "account": ACCOUNT, "lt": 5, "hash": "09" * 32},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_questions_are_written_as_the_schema_has_them(
    question: bytes, schema: str, data: dict[str, Any]
) -> None:
    assert question == SCHEMAS.serialize(SCHEMAS.get_by_name(f"liteServer.{schema}"), data)


@given(st.binary(max_size=300) | st.sampled_from([bytes(n) for n in (65_535, 70_000)]))
def test_byte_strings_come_back(data: bytes) -> None:
    packed = pack_bytes(data)
    assert not len(packed) % 4
    record = Record(packed)
    assert record.octets() == data
    record.end()
    with pytest.raises(Nonsense):
        Record(packed[:-4]).octets()


def test_a_length_beyond_the_end_is_refused() -> None:
    for data in (b"\xfe\xff\xff\xff", b"\xff" + bytes(20), b"\x09abc", b""):
        with pytest.raises(Nonsense):
            Record(data).octets()


def masterchain_info(block: BlockId = BLOCK) -> bytes:
    return questions.MASTERCHAIN_INFO + block.pack() + bytes(32) + pack_int(-1) + bytes(64)


def run_result(*, mode: int = 4, block: BlockId = BLOCK) -> bytes:
    head = questions.RUN_METHOD_RESULT + pack_int(mode) + block.pack() + OTHER.pack()
    return head + pack_int(-14) + pack_bytes(b"stack")


def test_answers_are_read() -> None:
    assert questions.read_masterchain_info(masterchain_info()) == BLOCK
    assert questions.read_run_method(run_result(), BLOCK) == (-14, b"stack")


Reading = Callable[[bytes], object]


def reading(read: Callable[[bytes, BlockId], object]) -> Reading:
    return lambda answer: read(answer, BLOCK)


@pytest.mark.parametrize(
    ("read", "answer", "sentence"),
    [
        (questions.read_masterchain_info, masterchain_info()[:-1], "less than was asked"),
        (questions.read_masterchain_info, masterchain_info() + b"x", "more than was asked"),
        (questions.read_masterchain_info, b"\x00" * 200, "something else"),
        (questions.read_masterchain_info, b"", "less than was asked"),
        (questions.read_masterchain_info, masterchain_info(OTHER), "another chain"),
        (reading(questions.read_run_method), run_result(mode=0), "another mode"),
        (reading(questions.read_run_method), run_result(block=OTHER), "another block"),
        (
            reading(questions.read_block_header),
            questions.BLOCK_HEADER + OTHER.pack() + pack_int(0) + pack_bytes(b""),
            "another block",
        ),
        (
            reading(questions.read_account_state),
            questions.ACCOUNT_STATE + OTHER.pack() * 2 + bytes(12),
            "another block",
        ),
        (
            questions.read_transactions,
            questions.TRANSACTION_LIST + pack_int(17) + BLOCK.pack() * 17 + bytes(4),
            "more transactions",
        ),
        (questions.read_transactions, questions.TRANSACTION_LIST + pack_int(-1), "more trans"),
    ],
)
def test_another_answer_than_was_asked_for_is_refused(
    read: Reading, answer: bytes, sentence: str
) -> None:
    with pytest.raises(Nonsense, match=sentence):
        read(answer)
