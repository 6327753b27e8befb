"""Reading and writing cells, strictly: pytoniq-core with one error and nothing left over.

Every `read_…` of this package ends with `Reader.end`, so that each value has one encoding.
"""

from typing import Self

from pytoniq_core import Address, Builder, Cell, HashMap, Slice, begin_cell

from ton.errors import MalformedCell

BASECHAIN = 0
MAX_COINS = 2**120 - 1
_STANDARD = 0b100
"""How a standard address begins: `addr_std`, no anycast."""
_ADDRESS_BITS = 3 + 8 + 256
MAX_BOC = 1 << 20
"""Bytes; a thousand times the largest message of ours, and nobody's memory."""


def parse_boc(data: bytes) -> Cell:
    """The one root of a bag of cells; raises `MalformedCell`."""
    if len(data) > MAX_BOC:
        raise MalformedCell("the bag of cells is too large")
    try:
        return Cell.one_from_boc(data)
    except Exception as cause:  # pytoniq-core raises whatever it stumbles over
        raise MalformedCell("this is no bag of cells with one root") from cause


def parse_address(text: str) -> Address:
    """An address as `workchain:hex` or in its user-friendly form; raises `MalformedCell`."""
    try:
        return Address(text)
    except Exception as cause:  # pytoniq-core raises whatever it stumbles over
        raise MalformedCell("this is no address") from cause


def raw(address: Address) -> str:
    """The one spelling for records and comparisons: `workchain:hex`, lower case."""
    return f"{address.wc}:{address.hash_part.hex()}"


def read_dict(root: Cell, key_bits: int) -> dict[int, Cell]:
    """A dictionary with unsigned keys, its values as cells; raises `MalformedCell`."""
    try:
        found = HashMap.parse(root.begin_parse(), key_bits)
        return {int(key): value.to_cell() for key, value in (found or {}).items()}
    except Exception as cause:  # pytoniq-core raises whatever it stumbles over
        raise MalformedCell("this is no dictionary") from cause


class Reader:
    """A slice that is read to its end; every method raises `MalformedCell`."""

    def __init__(self, cell: Cell) -> None:
        if cell.type_ != -1:
            raise MalformedCell("an exotic cell where an ordinary one belongs")
        self._slice: Slice = cell.begin_parse()

    def uint(self, bits: int) -> int:
        """An unsigned number."""
        self._need(bits)
        return int(self._slice.load_uint(bits))

    def signed(self, bits: int) -> int:
        """A number in two's complement."""
        self._need(bits)
        return int(self._slice.load_int(bits))

    def octets(self, count: int) -> bytes:
        """Some whole bytes."""
        self._need(8 * count)
        return bytes(self._slice.load_bytes(count))

    def coins(self) -> int:
        """A VarUInteger 16 in its shortest form, as the TVM writes it."""
        return self.var_uint(4)

    def var_uint(self, size_bits: int) -> int:
        """A number behind its length in bytes, in its shortest form."""
        size = self.uint(size_bits)
        value = self.uint(8 * size) if size else 0
        if (value.bit_length() + 7) // 8 != size:
            raise MalformedCell("a number is not in its shortest form")
        return value

    def address(self) -> Address:
        """A standard internal address (without anycast)."""
        self._need(_ADDRESS_BITS)
        if self.uint(3) != _STANDARD:
            raise MalformedCell("an address of another kind than the standard one")
        workchain = self.signed(8)
        return Address((workchain, self.octets(32)))

    def ref(self) -> Cell:
        """The next referenced cell."""
        if not self._slice.remaining_refs:
            raise MalformedCell("a reference is missing")
        return self._slice.load_ref()

    def maybe_ref(self) -> Cell | None:
        """A reference behind a bit that says whether it is there."""
        return self.ref() if self.uint(1) else None

    def into(self) -> "Reader":
        """A reader of the next referenced cell."""
        return Reader(self.ref())

    def tag(self, tag: int, bits: int = 32) -> Self:
        """Demand that this number comes next."""
        if self.uint(bits) != tag:
            raise MalformedCell(f"this does not begin with {tag:#010x}")
        return self

    def rest(self) -> Cell:
        """What is left, as a cell; nothing is left then."""
        left: Cell = self._slice.to_cell()
        self._slice = begin_cell().end_cell().begin_parse()
        return left

    def end(self) -> None:
        """Demand that nothing is left."""
        if self._slice.remaining_bits or self._slice.remaining_refs:
            raise MalformedCell("there is more in the cell than belongs there")

    def _need(self, bits: int) -> None:
        if self._slice.remaining_bits < bits:
            raise MalformedCell("the cell ends too early")


class Writer:
    """A builder that refuses what does not fit its field, with `MalformedCell`."""

    def __init__(self) -> None:
        self._builder: Builder = begin_cell()

    def uint(self, value: int, bits: int) -> Self:
        """An unsigned number."""
        if not 0 <= value < 1 << bits:
            raise MalformedCell(f"{value} is no unsigned number of {bits} bits")
        self._builder.store_uint(value, bits)
        return self

    def signed(self, value: int, bits: int) -> Self:
        """A number in two's complement."""
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise MalformedCell(f"{value} is no signed number of {bits} bits")
        self._builder.store_int(value, bits)
        return self

    def octets(self, value: bytes, count: int) -> Self:
        """So many bytes and no others."""
        if len(value) != count:
            raise MalformedCell(f"{count} bytes belong here, not {len(value)}")
        self._builder.store_bytes(value)
        return self

    def coins(self, value: int) -> Self:
        """A VarUInteger 16."""
        if not 0 <= value <= MAX_COINS:
            raise MalformedCell(f"{value} is no amount of coins")
        self._builder.store_coins(value)
        return self

    def address(self, value: Address) -> Self:
        """A standard internal address."""
        self._builder.store_address(value)
        return self

    def ref(self, cell: Cell) -> Self:
        """A reference."""
        self._builder.store_ref(cell)
        return self

    def cell(self) -> Cell:
        """What was written."""
        return self._builder.end_cell()
