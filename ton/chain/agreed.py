"""The chain as a quorum of nodes sees it: the one `ChainClient` for every network (SPEC 7.1).

States and get methods count only when a quorum says the same. A history needs no vote: each
transaction names the hash of the one before, so from an agreed end one honest node is enough and
a lie is plain. Nodes that fail, lag or lie are named, in errors and by `faults`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pytoniq_core import Address, Cell

from bombyx.errors import SetupError
from ton.chain.asking import Outcomes, ask_all
from ton.chain.ballot import Answer, Verdict, count
from ton.chain.errors import (
    ChainDisagrees,
    ChainRolledBack,
    ChainUnreachable,
    GetMethodFailed,
    NotSeen,
    ProviderFault,
)
from ton.chain.external import normal_hash
from ton.chain.port import BEGINNING, AccountState, Happened, Node, Point, Value
from ton.codec.cells import raw
from ton.errors import MessageNotAccepted

PAGE: Final = 100
MAX_HISTORY: Final = 100_000
"""Transactions in one answer: beyond that the caller must keep a nearer point."""
REMEMBERED: Final = 4096
"""Accounts whose newest agreed state is kept, to notice a chain that goes back."""
PATIENCE: Final = (0.3, 0.7, 1.5)
"""Seconds between rounds: nodes see a block at different moments."""

Said = TypeVar("Said", bound=Answer)


@dataclass(frozen=True, slots=True)
class Fault:
    """The last thing that a node did wrong, and how many it did."""

    reason: str
    times: int


class AgreedChain:
    """Several nodes as one chain; a quorum must be more than half of them."""

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        network: int,
        quorum: int | None = None,
        patience: tuple[float, ...] = PATIENCE,
        poll: float = 1.0,
    ) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._quorum = quorum if quorum is not None else len(nodes) // 2 + 1
        if len(self._nodes) != len(nodes) or not nodes:
            raise SetupError("a chain needs providers, each with a name of its own")
        if not len(nodes) < 2 * self._quorum <= 2 * len(nodes):
            raise SetupError(f"{self._quorum} of {len(nodes)} providers are no quorum")
        self._network = network
        self._patience = patience
        self._poll = poll
        self._newest: OrderedDict[str, Point] = OrderedDict()
        self._faults: dict[str, Fault] = {}

    @property
    def network(self) -> int:
        """The network's id."""
        return self._network

    @property
    def faults(self) -> dict[str, Fault]:
        """What nodes did wrong, by their names."""
        return dict(self._faults)

    async def close(self) -> None:
        """Let go of connections."""
        for node in self._nodes.values():
            await node.close()

    async def account(self, address: Address) -> AccountState:
        """See `ChainClient.account`."""
        key = raw(address)

        def is_newer(state: AccountState) -> bool:
            return _follows(state.last, self._newest.get(key, BEGINNING))

        verdict = await self._vote(lambda node: node.account(address), key, accept=is_newer)
        state = verdict.agreed
        for name, other in verdict.others.items():
            self._blame(name, _difference(other, state, key))
        if not is_newer(state):
            lost = self._newest[key]
            raise ChainRolledBack(
                f"{key} had transaction {lost.hash.hex()} (lt {lost.lt}), and has it no more"
            )
        self._newest[key] = state.last
        self._newest.move_to_end(key)
        if len(self._newest) > REMEMBERED:
            self._newest.popitem(last=False)
        return state

    def forget(self, address: Address) -> None:
        """Take whatever a quorum says of this account next, also if it went back."""
        self._newest.pop(raw(address), None)

    async def run(self, address: Address, method: str, *arguments: Value) -> tuple[Value, ...]:
        """See `ChainClient.run`."""
        what = f"{method} of {raw(address)}"
        verdict = await self._vote(lambda node: node.run(address, method, arguments), what)
        for name in verdict.others:
            self._blame(name, f"computes another {what}")
        if verdict.agreed.exit_code not in (0, 1):
            code = verdict.agreed.exit_code
            raise GetMethodFailed(f"{what} ends with exit code {code}", exit_code=code)
        return verdict.agreed.values

    async def send(self, message: Cell) -> bytes:
        """See `ChainClient.send`."""
        hash_ = normal_hash(message)
        asked = {name: node.send(message) for name, node in self._nodes.items()}
        outcomes = await ask_all(asked, enough=lambda told: None in told.values())
        for name, outcome in outcomes.items():
            if isinstance(outcome, ProviderFault):
                self._blame(name, outcome.reason)
        if None in outcomes.values():
            return hash_
        for outcome in outcomes.values():
            if isinstance(outcome, MessageNotAccepted):
                raise outcome
        raise ChainUnreachable(f"nobody takes the message: {self._complaints(self._nodes)}")

    async def transactions(self, address: Address, since: Point = BEGINNING) -> list[Happened]:
        """See `ChainClient.transactions`."""
        end = (await self.account(address)).last
        walked: list[Happened] = []
        for node in self._nodes.values():
            try:
                await self._walk(node, address, walked, end=end, since=since)
            except ProviderFault as fault:
                self._blame(node.name, fault.reason)
            else:
                return walked[::-1]
        raise ChainUnreachable(
            f"nobody shows the history of {raw(address)}: {self._complaints(self._nodes)}"
        )

    async def _walk(
        self, node: Node, address: Address, walked: list[Happened], *, end: Point, since: Point
    ) -> None:
        """Go on from where `walked` ends back to `since`, taking only what is proven."""
        at = walked[-1].previous if walked else end
        while at != since:
            if at.lt <= since.lt:
                raise ChainRolledBack(
                    f"{raw(address)} has no transaction {since.hash.hex()} (lt {since.lt}) any more"
                )
            page = await node.history(address, at, limit=PAGE)
            if not page:
                raise ProviderFault(node.name, f"leaves out what happened at lt {at.lt}")
            for one in page:
                if one.point != at:
                    raise ProviderFault(node.name, f"shows something else at lt {at.lt}")
                if len(walked) >= MAX_HISTORY:
                    raise ChainUnreachable(f"{raw(address)} has too long a history since then")
                walked.append(one)
                at = one.previous
                if at.lt <= since.lt:
                    break

    async def wait(
        self, address: Address, message: bytes, *, since: Point, seconds: float
    ) -> Happened:
        """See `ChainClient.wait`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            for one in await self.transactions(address, since):
                since = one.point
                incoming = one.transaction.in_message
                if incoming is not None and normal_hash(incoming) == message:
                    return one
            left = until - loop.time()
            if left <= 0:
                raise NotSeen(f"{raw(address)} shows no effect of the message in {seconds:g} s")
            await asyncio.sleep(min(self._poll, left))

    async def _vote(
        self,
        ask: Callable[[Node], Awaitable[Said]],
        what: str,
        *,
        accept: Callable[[Said], bool] = lambda _: True,
    ) -> Verdict[Said]:
        """What a quorum says, at the latest in the last round; `accept` is worth waiting for."""
        for delay in (*self._patience, None):
            answers = await self._ask_all(ask)
            verdict = count(answers, quorum=self._quorum)
            if verdict is not None and (accept(verdict.agreed) or delay is None):
                return verdict
            if delay is not None:
                await asyncio.sleep(delay)
        if len(answers) < self._quorum:
            silent = self._nodes.keys() - answers.keys()
            raise ChainUnreachable(
                f"{len(answers)} of {len(self._nodes)} providers answer about {what}, "
                f"{self._quorum} must: {self._complaints(silent)}"
            )
        raise ChainDisagrees(
            f"no {self._quorum} of the providers agree about {what}: {', '.join(sorted(answers))}"
        )

    async def _ask_all(self, ask: Callable[[Node], Awaitable[Said]]) -> dict[str, Said]:
        asked = {name: ask(node) for name, node in self._nodes.items()}
        outcomes = await ask_all(
            asked, enough=lambda told: count(_answers(told), quorum=self._quorum) is not None
        )
        for name, outcome in outcomes.items():
            if isinstance(outcome, ProviderFault):
                self._blame(name, outcome.reason)
        for name in self._nodes.keys() - outcomes.keys():
            self._blame(name, "is slower than the others")
        return _answers(outcomes)

    def _blame(self, name: str, reason: str) -> None:
        known = self._faults.get(name)
        self._faults[name] = Fault(reason, known.times + 1 if known else 1)

    def _complaints(self, names: Iterable[str]) -> str:
        told = (f"{name} {self._faults[name].reason}" for name in names if name in self._faults)
        return "; ".join(sorted(told))


def _answers(outcomes: Outcomes) -> dict[str, Any]:
    return {name: one for name, one in outcomes.items() if not isinstance(one, ProviderFault)}


def _follows(point: Point, known: Point) -> bool:
    """Whether an account at `point` can have been at `known` before."""
    return point.lt > known.lt or point == known


def _difference(other: AccountState, agreed: AccountState, key: str) -> str:
    if other.last.lt < agreed.last.lt:
        return f"is behind on {key}"
    if other.last.lt > agreed.last.lt:
        return f"is ahead of the others on {key}, or makes it up"
    return f"tells another state of {key}"
