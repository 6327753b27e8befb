"""A toncenter API (v2) as a `Node`: toncenter.com, one's own ton-http-api, or the devnet."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pytoniq_core import Address, Cell

from ton.chain import reading
from ton.chain.errors import ProviderFault
from ton.chain.port import BEGINNING, AccountState, Happened, MethodResult, Point, Value
from ton.chain.refusing import not_accepted
from ton.chain.wire import Refused, Wire
from ton.codec.cells import Reader, raw
from ton.errors import MalformedCell

PAGE: Final = 100
"""Transactions that toncenter gives at once."""
_GLOBAL_ID: Final = 19
Read = TypeVar("Read")


class Toncenter:
    """One provider. Its first answer is taken only once it is known to be of this network."""

    def __init__(self, wire: Wire, *, network: int) -> None:
        self._wire = wire
        self._network = network
        self._is_known = False

    @property
    def name(self) -> str:
        """The provider's host."""
        return self._wire.name

    async def close(self) -> None:
        """Hang up."""
        await self._wire.close()

    async def account(self, address: Address) -> AccountState:
        """See `Node.account`."""
        result = await self._get("getAddressInformation", address=raw(address))
        return self._read(lambda: reading.account_state(address, result))

    async def run(
        self, address: Address, method: str, arguments: tuple[Value, ...]
    ) -> MethodResult:
        """See `Node.run`."""
        stack = [reading.shown_value(one) for one in arguments]
        question = {"address": raw(address), "method": method, "stack": stack}
        await self._check_network()
        try:
            result = await self._wire.post("runGetMethod", question)
        except Refused as refused:
            raise self._fault(refused) from None
        return self._read(lambda: reading.method_result(result))

    async def send(self, message: Cell) -> None:
        """See `Node.send`. Asked once: a second time would be refused as a replay."""
        await self._check_network()
        boc = b64encode(message.to_boc()).decode()
        try:
            await self._wire.post("sendBoc", {"boc": boc}, again=False)
        except Refused as refused:
            raise not_accepted(refused.message) or self._fault(refused) from None

    async def history(self, address: Address, start: Point, *, limit: int = PAGE) -> list[Happened]:
        """See `Node.history`."""
        if start == BEGINNING:
            return []
        result = await self._get(
            "getTransactions",
            address=raw(address),
            limit=min(limit, PAGE),
            lt=start.lt,
            hash=b64encode(start.hash).decode(),
            archival="true",
        )
        if not isinstance(result, list) or len(result) > PAGE:
            raise ProviderFault(self.name, "has a history of another form")
        return self._read(lambda: [reading.happened(address, item) for item in result])

    async def _get(self, path: str, **query: str | int) -> Any:
        await self._check_network()
        try:
            return await self._wire.get(path, query)
        except Refused as refused:
            raise self._fault(refused) from None

    async def _check_network(self) -> None:
        if self._is_known:
            return
        try:
            result = await self._wire.get("getConfigParam", {"config_id": _GLOBAL_ID})
        except Refused as refused:
            raise self._fault(refused) from None
        network = self._read(lambda: _network_of(result))
        if network != self._network:
            raise ProviderFault(self.name, f"is of network {network}, not {self._network}")
        self._is_known = True

    def _read(self, read: Callable[[], Read]) -> Read:
        try:
            return read()
        except ValueError as error:  # of base64 and numbers too
            raise ProviderFault(self.name, str(error)) from None

    def _fault(self, refused: Refused) -> ProviderFault:
        return ProviderFault(self.name, f"refuses with {refused.status}: {refused.message}")


def _network_of(document: Any) -> int:
    try:
        parameter = reading.cell(reading.member(reading.member(document, "config"), "bytes"))
        return Reader(parameter).signed(32)
    except MalformedCell as cause:
        raise ValueError("has no network id") from cause
