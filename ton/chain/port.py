"""What the rest of the software asks of a chain, and what a single node must be able to answer.

Amounts are nano, times unix seconds. A `Point` names a place in an account's history: every
transaction commits to the one before it, so that whoever trusts the last one trusts them all.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from pytoniq_core import Address, Cell

from ton.tvm.accounts import Status
from ton.tvm.transactions import Transaction

Value = int | Cell | None
"""What get methods take and give: numbers, cells (slices too), and nothing."""


@dataclass(frozen=True, slots=True)
class Point:
    """A transaction by logical time and hash; all zero is before the first."""

    lt: int
    hash: bytes


BEGINNING: Final = Point(0, bytes(32))


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account after its transaction `last`; `at` is the time of the block that shows it."""

    address: Address
    status: Status
    balance: int
    code: Cell | None
    data: Cell | None
    last: Point
    at: int

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """Everything that nodes must agree on; not when they looked."""
        code = None if self.code is None else bytes(self.code.hash)
        data = None if self.data is None else bytes(self.data.hash)
        return self.status, self.balance, code, data, self.last


@dataclass(frozen=True, slots=True)
class Happened:
    """A transaction, and where it stands in its account's history."""

    transaction: Transaction
    previous: Point

    @property
    def point(self) -> Point:
        """This transaction."""
        return Point(self.transaction.lt, self.transaction.hash)


@dataclass(frozen=True, slots=True)
class MethodResult:
    """How a get method ended on one node."""

    exit_code: int
    values: tuple[Value, ...]

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """Everything that nodes must agree on."""
        shown = (one.hash if isinstance(one, Cell) else one for one in self.values)
        return (self.exit_code, *shown)


class Node(Protocol):
    """One source of what the chain says. Nothing that it says is believed alone.

    Every method raises `ProviderFault` for a node that fails or talks nonsense.
    """

    @property
    def name(self) -> str:
        """What it is called in errors and reports: a host, never a key."""
        ...

    async def account(self, address: Address) -> AccountState:
        """An account as this node sees it."""
        ...

    async def run(
        self, address: Address, method: str, arguments: tuple[Value, ...]
    ) -> MethodResult:
        """A get method as this node runs it."""
        ...

    async def send(self, message: Cell) -> None:
        """Give an external message to the network; raises `MessageNotAccepted` if refused."""
        ...

    async def history(self, address: Address, start: Point, *, limit: int) -> list[Happened]:
        """Transactions from `start` (a part of the answer) backwards."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class ChainClient(Protocol):
    """The chain, as far as money is concerned."""

    @property
    def network(self) -> int:
        """The network's id, which vouchers name."""
        ...

    async def account(self, address: Address) -> AccountState:
        """An account as a quorum sees it.

        Raises `ChainUnreachable`, `ChainDisagrees`, or `ChainRolledBack` where a state that was
        agreed on before is gone.
        """
        ...

    async def run(self, address: Address, method: str, *arguments: Value) -> tuple[Value, ...]:
        """A get method's values, as a quorum computes them; also raises `GetMethodFailed`."""
        ...

    async def send(self, message: Cell) -> bytes:
        """Send an external message by all nodes; returns its normal hash.

        That some node took it says nothing about its effects: see `wait`. Raises
        `MessageNotAccepted` where the account refuses it, and `ChainUnreachable`.
        """
        ...

    async def transactions(self, address: Address, since: Point = BEGINNING) -> list[Happened]:
        """Everything that happened to an account after `since`, oldest first, nothing left out.

        Raises as `account` does, and `ChainRolledBack` where `since` is not in the history.
        """
        ...

    async def wait(
        self, address: Address, message: bytes, *, since: Point, seconds: float
    ) -> Happened:
        """The transaction that a message (by its normal hash) caused; raises `NotSeen`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
