"""What a TVM does, as a protocol: one message to one account, or one get method.

A machine keeps no accounts and has no clock. An account's state comes in as a ShardAccount and goes
out as one, so whoever holds the states decides about order, time and what is kept; a snapshot is a
copy of the map from addresses to bytes. Times are unix seconds, `lt` is the logical time.
"""

from dataclasses import dataclass
from typing import Protocol

ZERO_SEED = bytes(32)
GET_GAS_LIMIT = 10_000_000
"""What liteservers allow a get method."""


@dataclass(frozen=True, slots=True)
class Executed:
    """A transaction and the account's state after it, each a bag of cells."""

    transaction: bytes
    shard_account: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A get method of a contract: its code, data and arguments (bags of cells), and when.

    `address` is `workchain:hex`, `balance` in nano.
    """

    code: bytes
    data: bytes
    method: int
    stack: bytes
    address: str
    balance: int
    now: int


@dataclass(frozen=True, slots=True)
class Answer:
    """How a get method ended; `stack` is a bag of cells."""

    exit_code: int
    gas_used: int
    stack: bytes


class Tvm(Protocol):
    """A machine under one network configuration."""

    @property
    def config(self) -> bytes:
        """The network configuration: a bag of cells with the dictionary of parameters."""
        ...

    def run(
        self, message: bytes, shard_account: bytes, *, now: int, lt: int, seed: bytes = ZERO_SEED
    ) -> Executed:
        """Deliver a message (a bag of cells) to an account.

        Raises `MessageNotAccepted` for an external message that the account does not pay for, and
        `EmulatorFailed` where the machine itself fails.
        """
        ...

    def get(self, call: Call) -> Answer:
        """Run a get method; raises `EmulatorFailed`."""
        ...
