"""The head of any message: what routing and indexing need, whatever the rest of it is."""

import hashlib
from dataclasses import dataclass
from typing import Any

from pytoniq_core import Address, Cell
from pytoniq_core.tlb.transaction import MessageAny

from ton.chain.external import normal_hash
from ton.codec.cells import raw
from ton.errors import MalformedCell

OP_BITS = 32


@dataclass(frozen=True, slots=True)
class Head:
    """One message. `source` and `destination` are `workchain:hex`, or None for the world outside.

    Amounts are nano; `value` is None of messages from and to the outside. `norm` is the hash by
    which an external message is known whoever relayed it (TEP-467), else the hash.
    """

    cell: Cell
    hash: bytes
    norm: bytes
    source: str | None
    destination: str | None
    value: int | None
    forward_fee: int
    import_fee: int
    created_lt: int
    created_at: int
    bounce: bool
    bounced: bool
    init: Cell | None
    body: Cell

    @property
    def is_from_outside(self) -> bool:
        """Whether nobody on the chain sent it."""
        return self.source is None

    @property
    def op(self) -> int | None:
        """The first 32 bits of the body."""
        bits = self.body.begin_parse()
        return int(bits.load_uint(OP_BITS)) if bits.remaining_bits >= OP_BITS else None


def read_head(cell: Cell) -> Head:
    """The head of a message; raises `MalformedCell`."""
    try:
        message = MessageAny.deserialize(cell.begin_parse())
        return _head(cell, message)
    except MalformedCell:
        raise
    except Exception as cause:  # pytoniq-core raises whatever it stumbles over
        raise MalformedCell("this is no message") from cause


def _head(cell: Cell, message: Any) -> Head:
    info = message.info
    source = None if message.is_external else _place(info.src)
    destination = None if message.is_external_out else _place(info.dest)
    init = message.init.serialize() if message.init is not None else None
    hash_ = bytes(cell.hash)
    return Head(
        cell=cell,
        hash=hash_,
        norm=normal_hash(cell) if message.is_external else hash_,
        source=source,
        destination=destination,
        value=info.value.grams if message.is_internal else None,
        forward_fee=info.fwd_fee if message.is_internal else 0,
        import_fee=info.import_fee if message.is_external else 0,
        created_lt=0 if message.is_external else info.created_lt,
        created_at=0 if message.is_external else info.created_at,
        bounce=bool(message.is_internal and info.bounce),
        bounced=bool(message.is_internal and info.bounced),
        init=init,
        body=message.body,
    )


def _place(address: Any) -> str:
    if not isinstance(address, Address):
        raise MalformedCell("an address of another kind than the standard one")
    return raw(address)


def seed_of(block: int, place: int) -> bytes:
    """The randomness of one transaction: the same whenever the same is replayed."""
    return hashlib.sha256(f"bombyx devnet {block} {place}".encode()).digest()
