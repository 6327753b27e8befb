"""What is asked of a liteserver and what it may answer: eight functions of lite_api.tl."""

from dataclasses import dataclass
from typing import Final

from pytoniq_core import Address

from ton.chain.liteserver.tl import Record, pack_bytes, pack_int
from ton.chain.port import Point
from ton.chain.reading import Nonsense

# Constructors, as they go over the wire.
QUERY: Final = bytes.fromhex("7af98bb4")  # adnl.message.query
ANSWER: Final = bytes.fromhex("1684ac0f")  # adnl.message.answer
LITE_QUERY: Final = bytes.fromhex("df068c79")  # liteServer.query
ERROR: Final = bytes.fromhex("48e1a9bb")  # liteServer.error
GET_MASTERCHAIN_INFO: Final = bytes.fromhex("2ee6b589")
MASTERCHAIN_INFO: Final = bytes.fromhex("81288385")
GET_BLOCK_HEADER: Final = bytes.fromhex("9e06ec21")
BLOCK_HEADER: Final = bytes.fromhex("19822d75")
GET_ACCOUNT_STATE: Final = bytes.fromhex("250e896b")
ACCOUNT_STATE: Final = bytes.fromhex("51c77970")
RUN_METHOD: Final = bytes.fromhex("d25dc65c")
RUN_METHOD_RESULT: Final = bytes.fromhex("6b619aa3")
SEND_MESSAGE: Final = bytes.fromhex("82d40a69")
SEND_STATUS: Final = bytes.fromhex("97e55039")
GET_TRANSACTIONS: Final = bytes.fromhex("a1e7401c")
TRANSACTION_LIST: Final = bytes.fromhex("0bc6266f")

MASTERCHAIN: Final = -1
WITH_RESULT: Final = 4
"""The mode of `runSmcMethod` that asks for the stack alone."""
MAX_PAGE: Final = 16
"""Transactions that a liteserver gives at once."""


@dataclass(frozen=True, slots=True)
class BlockId:
    """A block by place, number and hashes."""

    workchain: int
    shard: int
    seqno: int
    root_hash: bytes
    file_hash: bytes

    def pack(self) -> bytes:
        """As TL has it (bare)."""
        place = pack_int(self.workchain) + pack_int(self.shard, 8) + pack_int(self.seqno)
        return place + self.root_hash + self.file_hash

    @classmethod
    def read(cls, record: Record) -> "BlockId":
        """The next value of a record."""
        return cls(
            record.number(), record.number(8), record.number(), record.digest(), record.digest()
        )


@dataclass(frozen=True, slots=True)
class ShownAccount:
    """An account's state (empty where there is none), and what is to prove it."""

    shard: BlockId
    shard_proof: bytes
    proof: bytes
    state: bytes


def packed(address: Address) -> bytes:
    """An account."""
    return pack_int(address.wc) + bytes(address.hash_part)


def enveloped(name: bytes, question: bytes) -> bytes:
    """A question as an ADNL message; the answer bears the same name (32 bytes)."""
    return QUERY + name + pack_bytes(LITE_QUERY + pack_bytes(question))


def read_masterchain_info(answer: bytes) -> BlockId:
    """The newest masterchain block."""
    record = Record(answer).tag(MASTERCHAIN_INFO)
    last = BlockId.read(record)
    record.digest()
    record.number()
    record.digest()
    record.digest()
    record.end()
    if last.workchain != MASTERCHAIN:
        raise Nonsense("takes another chain for the masterchain")
    return last


def block_header(block: BlockId) -> bytes:
    """Ask for a block's header."""
    return GET_BLOCK_HEADER + block.pack() + pack_int(0)


def read_block_header(answer: bytes, block: BlockId) -> bytes:
    """The proof of this block's header."""
    record = Record(answer).tag(BLOCK_HEADER)
    _demand(BlockId.read(record), block)
    record.number()
    proof = record.octets()
    record.end()
    return proof


def account_state(block: BlockId, address: Address) -> bytes:
    """Ask for an account as of a block."""
    return GET_ACCOUNT_STATE + block.pack() + packed(address)


def read_account_state(answer: bytes, block: BlockId) -> ShownAccount:
    """What is said of an account as of this block; nothing of it is proven yet."""
    record = Record(answer).tag(ACCOUNT_STATE)
    _demand(BlockId.read(record), block)
    shown = ShownAccount(BlockId.read(record), record.octets(), record.octets(), record.octets())
    record.end()
    return shown


def run_method(block: BlockId, address: Address, method: int, stack: bytes) -> bytes:
    """Ask for a get method's result as of a block."""
    head = RUN_METHOD + pack_int(WITH_RESULT) + block.pack() + packed(address)
    return head + pack_int(method, 8) + pack_bytes(stack)


def read_run_method(answer: bytes, block: BlockId) -> tuple[int, bytes]:
    """A get method's exit code and stack."""
    record = Record(answer).tag(RUN_METHOD_RESULT)
    if record.number() != WITH_RESULT:
        raise Nonsense("answers in another mode than was asked")
    _demand(BlockId.read(record), block)
    BlockId.read(record)
    exit_code, stack = record.number(), record.octets()
    record.end()
    return exit_code, stack


def send_message(boc: bytes) -> bytes:
    """Give an external message to the network."""
    return SEND_MESSAGE + pack_bytes(boc)


def read_send_status(answer: bytes) -> int:
    """1 where a message was taken."""
    record = Record(answer).tag(SEND_STATUS)
    status = record.number()
    record.end()
    return status


def transactions(address: Address, start: Point, count: int) -> bytes:
    """Ask for transactions from `start` backwards."""
    # A logical time beyond 2^63 looks negative in TL.
    lt = start.lt.to_bytes(8, "little")
    return GET_TRANSACTIONS + pack_int(count) + packed(address) + lt + start.hash


def read_transactions(answer: bytes) -> tuple[int, bytes]:
    """How many transactions there are, and their bag of cells."""
    record = Record(answer).tag(TRANSACTION_LIST)
    count = record.number()
    if not 0 <= count <= MAX_PAGE:
        raise Nonsense("shows more transactions than anybody does at once")
    for _ in range(count):
        BlockId.read(record)
    bag = record.octets()
    record.end()
    return count, bag


def _demand(block: BlockId, asked: BlockId) -> None:
    if block != asked:
        raise Nonsense("answers about another block than was asked")
