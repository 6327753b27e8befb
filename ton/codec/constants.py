"""Numbers that the contract's sources and this package share.

tests/ton/codec/test_constants.py reads the `.tolk` files and compares. Amounts are nano.
"""

from enum import IntEnum

OPEN = 0
CLOSED = 0xFFFFFFFF
"""`close_at` of an open channel and of a tombstone."""
MIN_CHALLENGE = 3600
MAX_CHALLENGE = 604_800
"""Bounds of the challenge period, in seconds."""
RENT_RESERVE = 20_000_000
MIN_TOP_UP = 10_000_000
RENT_CELLS = 28
RENT_BITS = 12_000
"""Upper bounds of a channel's state, by which it foretells its rent."""


class Op(IntEnum):
    """How a message or signed cell begins."""

    VOUCHER = 0x56434831
    CLOSE_TERMS = 0x56434C31
    TOP_UP = 0x50430001
    CLAIM = 0x50430002
    COOP_CLOSE = 0x50430003
    START_CLOSE = 0x50430004
    FINISH_CLOSE = 0x50430005
    GATEWAY_CLOSE = 0x50430006
    EXCESSES = 0xD53276DB
    PAYOUT = 0x50430101
    CHANNEL_CLOSED = 0x50430102
    CLOSE_STARTED = 0x50430103


class Err(IntEnum):
    """Exit codes of the contract, each a refusal that changed nothing."""

    SENDER = 401
    SIGNATURE = 402
    DOMAIN = 403
    STALE = 404
    STATE = 405
    EARLY = 406
    VALUE = 407
    EXPIRED = 408
    CLOSED = 409
    CEILING = 410
    DEPOSIT = 411
    UNKNOWN = 0xFFFF


class Gas(IntEnum):
    """The most that each operation takes; a message must bring the price of that and its postage.

    The number is the operation's cost when a stranger sends it; the parties pay less.
    """

    TOP_UP = 4500
    CLAIM = 5500
    COOP_CLOSE = 9500
    START_CLOSE = 6400
    FINISH_CLOSE = 6700
    GATEWAY_CLOSE = 8500
