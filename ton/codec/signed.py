"""The two cells that people sign off chain: vouchers and close terms (SPEC 7.2, 9.2).

`Voucher.cell().hash` equals the digest of `bombyx.money.voucher`, which builds no cell: a test
proves it.
"""

from dataclasses import dataclass
from typing import Self

from pytoniq_core import Address, Cell

from ton.codec.cells import Reader, Writer
from ton.codec.constants import Op


@dataclass(frozen=True, slots=True)
class Voucher:
    """A ceiling: the gateway may claim up to `amount` nano in all. `valid_until` 0 is never."""

    network: int
    channel: Address
    amount: int
    seqno: int = 0
    valid_until: int = 0

    def cell(self) -> Cell:
        """What is signed; raises `MalformedCell` for numbers that do not fit."""
        writer = Writer().uint(Op.VOUCHER, 32).signed(self.network, 32).address(self.channel)
        return writer.coins(self.amount).uint(self.seqno, 64).uint(self.valid_until, 32).cell()

    @classmethod
    def read(cls, cell: Cell) -> Self:
        """The one voucher that has this encoding; raises `MalformedCell`."""
        reader = Reader(cell).tag(Op.VOUCHER)
        voucher = cls(
            network=reader.signed(32),
            channel=reader.address(),
            amount=reader.coins(),
            seqno=reader.uint(64),
            valid_until=reader.uint(32),
        )
        reader.end()
        return voucher


@dataclass(frozen=True, slots=True)
class CloseTerms:
    """What both sides sign to close at once: `amount` nano for the gateway in all."""

    network: int
    channel: Address
    amount: int
    valid_until: int

    def cell(self) -> Cell:
        """What is signed; raises `MalformedCell` for numbers that do not fit."""
        writer = Writer().uint(Op.CLOSE_TERMS, 32).signed(self.network, 32).address(self.channel)
        return writer.coins(self.amount).uint(self.valid_until, 32).cell()

    @classmethod
    def read(cls, cell: Cell) -> Self:
        """The one set of terms that has this encoding; raises `MalformedCell`."""
        reader = Reader(cell).tag(Op.CLOSE_TERMS)
        terms = cls(
            network=reader.signed(32),
            channel=reader.address(),
            amount=reader.coins(),
            valid_until=reader.uint(32),
        )
        reader.end()
        return terms
