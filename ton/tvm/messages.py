"""Whole messages: what a block carries from one account to another, or from outside to one."""

from dataclasses import dataclass

from pytoniq_core import Address, Cell

from ton.codec.cells import Reader, Writer
from ton.errors import MalformedCell


@dataclass(frozen=True, slots=True)
class Internal:
    """A message between accounts; `value` in nano. `source` is filled in by the sender's TVM."""

    source: Address
    destination: Address
    value: int
    body: Cell | None = None
    init: Cell | None = None
    bounce: bool = True
    bounced: bool = False
    forward_fee: int = 0
    created_lt: int = 0
    created_at: int = 0

    def cell(self) -> Cell:
        """Body and state init in references of their own."""
        writer = Writer().uint(0b01, 2).uint(self.bounce, 1).uint(self.bounced, 1)
        writer.address(self.source).address(self.destination).coins(self.value).uint(0, 1)
        writer.coins(0).coins(self.forward_fee)
        writer.uint(self.created_lt, 64).uint(self.created_at, 32)
        return _rest(writer, self.init, self.body)

    @classmethod
    def read(cls, cell: Cell) -> "Internal":
        """An internal message as a transaction shows it; raises `MalformedCell`.

        Extra currencies are skipped: nothing here deals in them.
        """
        reader = Reader(cell)
        if reader.uint(1):
            raise MalformedCell("an external message where an internal one belongs")
        reader.uint(1)  # instant routing, disabled on today's network
        bounce, bounced = bool(reader.uint(1)), bool(reader.uint(1))
        source, destination, value = reader.address(), reader.address(), reader.coins()
        if reader.uint(1):
            reader.ref()
        reader.coins()
        forward_fee, created_lt, created_at = reader.coins(), reader.uint(64), reader.uint(32)
        init, body = _read_rest(reader)
        return cls(
            source, destination, value, body, init, bounce, bounced, forward_fee, created_lt,
            created_at,
        )  # fmt: skip


def external(destination: Address, body: Cell, init: Cell | None = None) -> Cell:
    """A message from outside, as wallets take them: from nobody, without import fee."""
    writer = Writer().uint(0b10, 2).uint(0b00, 2).address(destination).coins(0)
    return _rest(writer, init, body)


def _rest(writer: Writer, init: Cell | None, body: Cell | None) -> Cell:
    if init is None:
        writer.uint(0, 1)
    else:
        writer.uint(0b11, 2).ref(init)
    if body is None:
        return writer.uint(0, 1).cell()
    return writer.uint(1, 1).ref(body).cell()


def _read_rest(reader: Reader) -> tuple[Cell | None, Cell]:
    init = None
    if reader.uint(1):
        if not reader.uint(1):
            raise MalformedCell("a state init inside of its message, which nobody sends")
        init = reader.ref()
    if reader.uint(1):
        body = reader.ref()
        reader.end()
        return init, body
    return init, reader.rest()
