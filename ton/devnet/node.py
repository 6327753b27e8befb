"""A devnet in this process as a `Node`, without HTTP: for tests and tools that need a chain."""

from typing import Any

from pytoniq_core import Address, Cell

from ton.chain.errors import ProviderFault
from ton.chain.port import BEGINNING, AccountState, Happened, MethodResult, Point, Value
from ton.chain.reading import read_transaction
from ton.codec.cells import raw
from ton.devnet.chain import Devnet
from ton.devnet.errors import NotExecuted
from ton.devnet.log import Query
from ton.devnet.stack import read_stack
from ton.errors import MessageNotAccepted
from ton.tvm.getters import method_id, stack_of
from ton.tvm.machine import Call

_NO_CONTRACT = -13


class DevnetNode:
    """Answers on the calling thread, which must be the only one that uses the devnet."""

    def __init__(self, devnet: Devnet, *, name: str = "devnet") -> None:
        self._devnet = devnet
        self._name = name

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    async def close(self) -> None:
        """Nothing is open; the devnet belongs to whoever made it."""

    async def account(self, address: Address) -> AccountState:
        """See `Node.account`."""
        found = self._devnet.account(raw(address))
        return AccountState(
            address, found.status, found.balance, found.code, found.data,
            Point(found.last_lt, found.last_hash), self._devnet.now(),
        )  # fmt: skip

    async def run(
        self, address: Address, method: str, arguments: tuple[Value, ...]
    ) -> MethodResult:
        """See `Node.run`."""
        found = self._devnet.account(raw(address))
        if found.code is None or found.data is None:
            return MethodResult(_NO_CONTRACT, ())
        given = [one for one in arguments if one is not None]
        answer = self._devnet.tvm.get(
            Call(
                code=found.code.to_boc(),
                data=found.data.to_boc(),
                method=method_id(method),
                stack=stack_of(*given),
                address=raw(address),
                balance=found.balance,
                now=self._devnet.now(),
            )
        )
        return MethodResult(answer.exit_code, tuple(map(_value, read_stack(answer.stack))))

    async def send(self, message: Cell) -> None:
        """See `Node.send`."""
        try:
            self._devnet.send(message)
        except NotExecuted as refusal:
            cause = refusal.__cause__
            if isinstance(cause, MessageNotAccepted):
                raise cause from None
            raise ProviderFault(self._name, refusal.message) from None

    async def history(self, address: Address, start: Point, *, limit: int) -> list[Happened]:
        """See `Node.history`."""
        if start == BEGINNING:
            return []
        query = Query(("account = ?", "lt <= ?"), (raw(address), start.lt), limit=limit)
        found = self._devnet.log.find(query)
        if not found or found[0].hash != start.hash:
            raise ProviderFault(self._name, f"has no transaction at lt {start.lt}")
        return [read_transaction(address, entry.boc) for entry in found]


def _value(value: Any) -> Value:
    if value is None or isinstance(value, int | Cell):
        return value
    cell: Cell = value.to_cell()
    return cell
