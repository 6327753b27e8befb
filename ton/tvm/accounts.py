"""Accounts between transactions: what a ShardAccount says (block.tlb)."""

from dataclasses import dataclass
from enum import StrEnum

from pytoniq_core import Address, Cell

from ton.codec.cells import Reader, Writer, parse_boc


class Status(StrEnum):
    """Whether anything is at an address. `UNINITIALIZED` holds money and no code."""

    ABSENT = "absent"
    UNINITIALIZED = "uninitialized"
    ACTIVE = "active"
    FROZEN = "frozen"


def _absent() -> bytes:
    nothing = Writer().uint(0, 1).cell()
    return bytes(Writer().ref(nothing).octets(bytes(32), 32).uint(0, 64).cell().to_boc())


ABSENT = _absent()
"""The ShardAccount of an address that nothing was ever sent to."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account: balance and owed rent in nano; rent is paid until `last_paid` (unix seconds).

    Rent is charged for `cells` and `bits`. `last_lt` and `last_hash` name the last transaction.
    """

    last_lt: int
    last_hash: bytes
    status: Status = Status.ABSENT
    address: Address | None = None
    balance: int = 0
    code: Cell | None = None
    data: Cell | None = None
    cells: int = 0
    bits: int = 0
    last_paid: int = 0
    due: int = 0

    @classmethod
    def read(cls, shard_account: bytes) -> "Account":
        """What a ShardAccount (a bag of cells) says; raises `MalformedCell`."""
        reader = Reader(parse_boc(shard_account))
        account = reader.into()
        last_hash, last_lt = reader.octets(32), reader.uint(64)
        reader.end()
        return cls._read(account, last_lt, last_hash)

    @classmethod
    def of(cls, account: Cell, last_lt: int, last_hash: bytes) -> "Account":
        """What an Account's own cell says; raises `MalformedCell`."""
        return cls._read(Reader(account), last_lt, last_hash)

    @classmethod
    def _read(cls, account: Reader, last_lt: int, last_hash: bytes) -> "Account":
        if not account.uint(1):
            return cls(last_lt, last_hash)
        return cls._present(account, last_lt, last_hash)

    @classmethod
    def _present(cls, reader: Reader, last_lt: int, last_hash: bytes) -> "Account":
        address, cells, bits = reader.address(), reader.var_uint(3), reader.var_uint(3)
        if reader.uint(3):
            reader.octets(32)  # hash of the state's dictionary of cells, a cache
        last_paid = reader.uint(32)
        due = reader.coins() if reader.uint(1) else 0
        reader.uint(64)
        balance = reader.coins()
        reader.maybe_ref()  # extra currencies, in which nothing here deals
        status, code, data = _state(reader)
        return cls(
            last_lt, last_hash, status, address, balance, code, data, cells, bits, last_paid, due
        )


def _state(reader: Reader) -> tuple[Status, Cell | None, Cell | None]:
    if not reader.uint(1):
        return (Status.FROZEN if reader.uint(1) else Status.UNINITIALIZED), None, None
    if reader.uint(1):
        reader.uint(5)  # fixed prefix length
    if reader.uint(1):
        reader.uint(2)  # tick and tock
    return Status.ACTIVE, reader.maybe_ref(), reader.maybe_ref()
