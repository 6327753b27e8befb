"""A liteserver as a `Node`. It proves the states that it shows; get methods' results it tells."""

from collections.abc import Callable
from typing import Final, TypeVar

from pytoniq_core import Address, Cell

from ton.chain.bags import parse_bag
from ton.chain.errors import ProviderFault
from ton.chain.liteserver import proofs, questions
from ton.chain.liteserver.link import Link
from ton.chain.liteserver.questions import MAX_PAGE, BlockId
from ton.chain.liteserver.stack import read_stack
from ton.chain.port import BEGINNING, AccountState, Happened, MethodResult, Point, Value
from ton.chain.reading import NO_CONTRACT, Nonsense, transaction_of
from ton.chain.refusing import not_accepted
from ton.chain.wire import Refused
from ton.errors import MalformedCell
from ton.tvm.getters import method_id, stack_of

_NO_CODE: Final = -0x100
"""What liteservers say in place of toncenter's `NO_CONTRACT`: told alike, or none would agree."""
_TAKEN: Final = 1
Read = TypeVar("Read")


class Liteserver:
    """One provider. Its first answer is taken only once its blocks are known to be of this network.

    Every state is that of the newest masterchain block which it names when it is asked.
    """

    def __init__(self, link: Link, *, network: int) -> None:
        self._link = link
        self._network = network
        self._is_known = False

    @property
    def name(self) -> str:
        """The liteserver's host and port."""
        return self._link.name

    async def close(self) -> None:
        """Hang up."""
        await self._link.close()

    async def account(self, address: Address) -> AccountState:
        """See `Node.account`; the state follows from the block's hash by a proof."""
        block = await self._newest()
        answer = await self._ask(questions.account_state(block, address))
        return self._read(
            lambda: proofs.proven_account(
                questions.read_account_state(answer, block),
                address,
                block=block,
                network=self._network,
            )
        )

    async def run(
        self, address: Address, method: str, arguments: tuple[Value, ...]
    ) -> MethodResult:
        """See `Node.run`."""
        given = [one for one in arguments if one is not None]
        if len(given) != len(arguments):
            raise Nonsense("nothing here passes null to a get method")
        block = await self._newest()
        number = method_id(method)
        question = questions.run_method(block, address, number, stack_of(*given))
        answer = await self._ask(question)
        return self._read(lambda: _method_result(answer, block))

    async def send(self, message: Cell) -> None:
        """See `Node.send`. Asked once: a second time would be refused as a replay."""
        await self._newest()
        try:
            answer = await self._link.ask(questions.send_message(message.to_boc()), again=False)
        except Refused as refused:
            raise not_accepted(refused.message) or self._fault(refused) from None
        if self._read(lambda: questions.read_send_status(answer)) != _TAKEN:
            raise ProviderFault(self.name, "does not take the message")

    async def history(
        self, address: Address, start: Point, *, limit: int = MAX_PAGE
    ) -> list[Happened]:
        """See `Node.history`; each transaction has the hash that the one after it names."""
        if start == BEGINNING:
            return []
        await self._newest()
        count = min(limit, MAX_PAGE)
        answer = await self._ask(questions.transactions(address, start, count))
        return self._read(lambda: _history(answer, address, start))

    async def _newest(self) -> BlockId:
        """The newest masterchain block, on the right network."""
        block = self._read_last(await self._ask(questions.GET_MASTERCHAIN_INFO))
        if not self._is_known:
            answer = await self._ask(questions.block_header(block))
            network = self._read(
                lambda: proofs.network_of(questions.read_block_header(answer, block), block)
            )
            if network != self._network:
                raise ProviderFault(self.name, f"is of network {network}, not {self._network}")
            self._is_known = True
        return block

    def _read_last(self, answer: bytes) -> BlockId:
        return self._read(lambda: questions.read_masterchain_info(answer))

    async def _ask(self, question: bytes) -> bytes:
        try:
            return await self._link.ask(question)
        except Refused as refused:
            raise self._fault(refused) from None

    def _read(self, read: Callable[[], Read]) -> Read:
        try:
            return read()
        except Nonsense as nonsense:
            raise ProviderFault(self.name, str(nonsense)) from None
        except MalformedCell as cause:
            raise ProviderFault(self.name, f"shows broken cells: {cause.message}") from None

    def _fault(self, refused: Refused) -> ProviderFault:
        return ProviderFault(self.name, f"refuses with {refused.status}: {refused.message}")


def _method_result(answer: bytes, block: BlockId) -> MethodResult:
    exit_code, stack = questions.read_run_method(answer, block)
    if exit_code == _NO_CODE:
        return MethodResult(NO_CONTRACT, ())
    return MethodResult(exit_code, read_stack(stack) if stack else ())


def _history(answer: bytes, address: Address, start: Point) -> list[Happened]:
    count, bag = questions.read_transactions(answer)
    page = [transaction_of(address, cell) for cell in parse_bag(bag, count)] if count else []
    at = start
    for one in page:
        if one.point != at:
            raise Nonsense(f"shows something else at lt {at.lt}")
        at = one.previous
    return page
