"""What a liteserver answers about a devnet, in TL: nine functions of lite_api.tl."""

import asyncio
from collections import OrderedDict

from pytoniq_core import Address

from tests.ton.chain.liteserver.blocks import Picture
from tests.ton.chain.liteserver.cells import bag
from ton.chain.liteserver import questions
from ton.chain.liteserver.questions import BlockId
from ton.chain.liteserver.tl import Record, pack_bytes, pack_int
from ton.codec.cells import parse_boc, raw
from ton.devnet.chain import Devnet
from ton.devnet.errors import NotExecuted
from ton.devnet.log import Query
from ton.tvm.machine import Call

GET_ALL_SHARDS = bytes.fromhex("6bfdd374")
ALL_SHARDS = bytes.fromhex("2de78f09")
WAIT_SEQNO = bytes.fromhex("92b8eaba")
NO_CODE = -0x100


class Failed(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Answers:
    """Every block that was ever shown stays known, as it does on a real one for a while."""

    def __init__(self, devnet: Devnet) -> None:
        self.devnet = devnet
        self.asked: list[bytes] = []
        self._pictures: OrderedDict[bytes, Picture] = OrderedDict()
        self._moment: tuple[object, ...] = ()
        self._seqno = 0

    def newest(self) -> Picture:
        last = [entry.hash for entry in self.devnet.log.find(Query(limit=1))]
        moment = (self.devnet.log.head(), last, self.devnet.now())
        if moment != self._moment:
            self._moment, self._seqno = moment, self._seqno + 1
            picture = Picture(self.devnet, self._seqno)
            self._pictures[picture.master.id.root_hash] = picture
        return next(reversed(self._pictures.values()))

    async def __call__(self, question: bytes) -> bytes:
        tag, record = question[:4], Record(question[4:])
        self.asked.append(tag)
        if tag == WAIT_SEQNO:
            await self._wait(record)
            return await self(question[12:])
        try:
            return self._answer(tag, record)
        except Failed as failed:
            return questions.ERROR + pack_int(failed.code) + pack_bytes(str(failed).encode())

    async def _wait(self, record: Record) -> None:
        seqno, milliseconds = record.number(), record.number()
        if self.newest().master.id.seqno < seqno:
            await asyncio.sleep(milliseconds / 1000)

    def _answer(self, tag: bytes, record: Record) -> bytes:
        if tag == questions.GET_MASTERCHAIN_INFO:
            last = self.newest().master
            head = questions.MASTERCHAIN_INFO + last.id.pack() + last.state.hash
            return head + pack_int(-1) + bytes(64)
        if tag == questions.SEND_MESSAGE:
            return self._send(record)
        if tag == questions.GET_TRANSACTIONS:
            return self._transactions(record)
        handlers = {
            questions.GET_BLOCK_HEADER: self._header,
            questions.GET_ACCOUNT_STATE: self._account,
            questions.RUN_METHOD: self._run,
            GET_ALL_SHARDS: self._shards,
        }
        if tag not in handlers:
            raise Failed(621, "unknown query")
        mode = record.number() if tag == questions.RUN_METHOD else 0
        block = BlockId.read(record)
        picture = self._pictures.get(block.root_hash)
        if picture is None:
            raise Failed(651, "block is not applied")
        return handlers[tag](picture, record, mode)

    def _header(self, picture: Picture, record: Record, _: int) -> bytes:
        head = questions.BLOCK_HEADER + picture.master.id.pack() + pack_int(record.number())
        return head + pack_bytes(bag(picture.master.header()))

    def _shards(self, picture: Picture, _: Record, __: int) -> bytes:
        head = ALL_SHARDS + picture.master.id.pack()
        return head + pack_bytes(picture.shard_proof()) + pack_bytes(picture.shard_hashes())

    def _account(self, picture: Picture, record: Record, _: int) -> bytes:
        address = _address(record)
        block = picture.block_of(address)
        shard_proof = b"" if block is picture.master else picture.shard_proof()
        parts = shard_proof, block.proof_of(address), picture.state_of(address)
        head = questions.ACCOUNT_STATE + picture.master.id.pack() + block.id.pack()
        return head + b"".join(map(pack_bytes, parts))

    def _run(self, picture: Picture, record: Record, mode: int) -> bytes:
        address = _address(record)
        block = picture.block_of(address)
        exit_code, stack = self._got(picture, address, record.number(8), record.octets())
        proofs = picture.shard_proof(), block.proof_of(address), bag(picture.master.header())
        wanted = [one for one, bit in zip(proofs, (1, 1, 2), strict=True) if mode & bit]
        head = questions.RUN_METHOD_RESULT + pack_int(mode)
        head += picture.master.id.pack() + block.id.pack() + b"".join(map(pack_bytes, wanted))
        return head + pack_int(exit_code) + (pack_bytes(stack) if mode & 4 else b"")

    def _got(
        self, picture: Picture, address: Address, method: int, stack: bytes
    ) -> tuple[int, bytes]:
        account = picture.account(address)
        if account is None or account.code is None or account.data is None:
            return NO_CODE, b""
        got = self.devnet.tvm.get(
            Call(
                code=account.code.to_boc(),
                data=account.data.to_boc(),
                method=method,
                stack=stack,
                address=raw(address),
                balance=account.balance,
                now=self.devnet.now(),
            )
        )
        return got.exit_code, got.stack

    def _send(self, record: Record) -> bytes:
        try:
            self.devnet.send(parse_boc(record.octets()))
        except NotExecuted as refusal:
            raise Failed(0, refusal.message.removeprefix("LITE_SERVER_UNKNOWN: ")) from None
        return questions.SEND_STATUS + pack_int(1)

    def _transactions(self, record: Record) -> bytes:
        count, address = record.number(), _address(record)
        lt, hash_ = record.number(8), record.digest()
        query = Query(("account = ?", "lt <= ?"), (raw(address), lt), limit=min(count, 16))
        found = self.devnet.log.find(query)
        if not found or found[0].hash != hash_:
            raise Failed(0, "cannot locate transaction in block with specified logical time")
        ids = self.newest().block_of(address).id.pack() * len(found)
        cells = bag(*(parse_boc(entry.boc) for entry in found))
        return questions.TRANSACTION_LIST + pack_int(len(found)) + ids + pack_bytes(cells)


def _address(record: Record) -> Address:
    return Address((record.number(), record.digest()))
