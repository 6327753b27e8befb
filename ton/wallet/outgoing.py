"""What a wallet is told to send: one message to one account."""

from dataclasses import dataclass

from pytoniq_core import Address, Cell

from ton.codec.cells import parse_boc
from ton.tvm.messages import Internal


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message; `value` in nano. With `bounce` the money comes back where it is refused."""

    to: Address
    value: int
    body: Cell | None = None
    state_init: Cell | None = None
    bounce: bool = True

    def cell(self, source: Address) -> Cell:
        """The message as an action of the wallet at `source`; raises `MalformedCell`."""
        message = Internal(
            source, self.to, self.value, self.body, self.state_init, bounce=self.bounce
        )
        return message.cell()

    def boc(self, source: Address) -> bytes:
        """The same as a bag of cells, for an outbox."""
        return bytes(self.cell(source).to_boc())


def read_outgoing(boc: bytes) -> Outgoing:
    """What `Outgoing.boc` wrote; raises `MalformedCell`."""
    message = Internal.read(parse_boc(boc))
    body = message.body
    is_empty = body is None or not (body.bits or body.refs)
    return Outgoing(
        message.destination,
        message.value,
        None if is_empty else body,
        message.init,
        message.bounce,
    )
