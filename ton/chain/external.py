"""By which hash a message is known, whoever relayed it."""

from pytoniq_core import Address, Cell
from pytoniq_core.tlb.transaction import MessageAny

from ton.errors import MalformedCell
from ton.tvm.messages import external


def normal_hash(message: Cell) -> bytes:
    """Of an external message the hash of its normal form (TEP-467), of any other its own.

    A relay may pack an external message differently; this hash stays. Raises `MalformedCell`.
    """
    try:
        parsed = MessageAny.deserialize(message.begin_parse())
    except Exception as cause:  # pytoniq-core raises whatever it stumbles over
        raise MalformedCell("this is no message") from cause
    if not parsed.is_external or not isinstance(parsed.info.dest, Address):
        return bytes(message.hash)
    return bytes(external(parsed.info.dest, parsed.body).hash)
