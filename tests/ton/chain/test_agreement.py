"""Providers that lie, lag, die or disagree: what is believed, and who is named."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from pytoniq_core import Address, Cell

from bombyx.errors import SetupError
from tests.ton.devnet.fixtures import GRAM
from tests.ton.devnet.wallets import Wallet
from ton.chain import asking
from ton.chain.agreed import AgreedChain
from ton.chain.errors import ChainDisagrees, ChainUnreachable, ProviderFault
from ton.chain.port import AccountState, Happened, MethodResult, Point, Value
from ton.devnet.chain import Devnet
from ton.devnet.node import DevnetNode
from ton.errors import MessageNotAccepted
from ton.settings import DEVNET

PLACE = Address((0, b"\x55" * 32))
WHERE = "0:" + "55" * 32
Lie = Callable[[Any], Any]


class Liar:
    """A node that tells something else than it knows; an exception in place of a lie is raised."""

    def __init__(self, devnet: Devnet, name: str, **lies: Lie | Exception) -> None:
        self._honest = DevnetNode(devnet, name=name)
        self._lies = lies

    @property
    def name(self) -> str:
        return self._honest.name

    def _told(self, what: str, truth: Any) -> Any:
        lie = self._lies.get(what)
        if isinstance(lie, Exception):
            raise lie
        return truth if lie is None else lie(truth)

    async def account(self, address: Address) -> AccountState:
        told: AccountState = self._told("account", await self._honest.account(address))
        return told

    async def run(
        self, address: Address, method: str, arguments: tuple[Value, ...]
    ) -> MethodResult:
        truth = MethodResult(0, (7,))
        told: MethodResult = self._told("run", truth)
        return told

    async def send(self, message: Cell) -> None:
        self._told("send", None)

    async def history(self, address: Address, start: Point, *, limit: int) -> list[Happened]:
        truth = await self._honest.history(address, start, limit=limit)
        told: list[Happened] = self._told("history", truth)
        return told

    async def close(self) -> None:
        pass


class Hanging(Liar):
    """A node that never answers."""

    async def account(self, address: Address) -> AccountState:
        await asyncio.Event().wait()
        raise AssertionError


def richer(state: AccountState) -> AccountState:
    return dataclasses.replace(state, balance=state.balance + GRAM)


def older(state: AccountState) -> AccountState:
    return dataclasses.replace(state, last=Point(state.last.lt - 1, b"\x01" * 32))


def newer(state: AccountState) -> AccountState:
    return dataclasses.replace(state, last=Point(state.last.lt + 1, b"\x01" * 32))


def of(*nodes: Any, quorum: int | None = None) -> AgreedChain:
    return AgreedChain(nodes, network=DEVNET, quorum=quorum, patience=(0.01,), poll=0.01)


@pytest.fixture
def paid(devnet: Devnet) -> Devnet:
    for _ in range(5):
        devnet.give(PLACE, GRAM)
    return devnet


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (richer, f"tells another state of {WHERE}"),
        (older, f"is behind on {WHERE}"),
        (newer, f"is ahead of the others on {WHERE}, or makes it up"),
    ],
)
async def test_one_liar_of_three_is_outvoted_and_named(paid: Devnet, lie: Lie, reason: str) -> None:
    chain = of(Liar(paid, "liar", account=lie), Liar(paid, "b"), Liar(paid, "c"))
    assert (await chain.account(PLACE)).balance == 5 * GRAM
    assert chain.faults["liar"].reason == reason
    assert chain.faults.keys() == {"liar"}


async def test_two_that_disagree_decide_nothing(paid: Devnet) -> None:
    chain = of(Liar(paid, "a"), Liar(paid, "b", account=richer))
    with pytest.raises(ChainDisagrees, match=f"agree about {WHERE}: a, b"):
        await chain.account(PLACE)


async def test_a_dead_provider_of_two_stops_decisions_and_is_named(paid: Devnet) -> None:
    dead = ProviderFault("dead", "cannot be asked: ConnectError")
    chain = of(Liar(paid, "a"), Liar(paid, "dead", account=dead))
    with pytest.raises(ChainUnreachable, match=r"1 of 2 .* dead cannot be asked: ConnectError"):
        await chain.account(PLACE)


async def test_a_dead_provider_of_three_changes_nothing(paid: Devnet) -> None:
    dead = ProviderFault("dead", "cannot be asked: ConnectError")
    chain = of(Liar(paid, "a"), Liar(paid, "dead", account=dead), Liar(paid, "c"))
    for _ in range(3):
        assert (await chain.account(PLACE)).balance == 5 * GRAM
    assert chain.faults["dead"].times == 3


async def test_nobody_waits_for_the_slowest(paid: Devnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "GRACE", 0.02)
    chain = of(Liar(paid, "a"), Hanging(paid, "slow"), Liar(paid, "c"))
    async with asyncio.timeout(1):
        assert (await chain.account(PLACE)).balance == 5 * GRAM
    assert chain.faults["slow"].reason == "is slower than the others"


async def test_who_is_late_is_waited_for(paid: Devnet) -> None:
    lies = [older]

    def tell(state: AccountState) -> AccountState:
        return lies.pop()(state) if lies else state

    late = Liar(paid, "late", account=tell)
    chain = of(late, Liar(paid, "b"))
    assert (await chain.account(PLACE)).balance == 5 * GRAM
    assert chain.faults == {}


def leave_out(page: list[Happened]) -> list[Happened]:
    return [page[0], *page[2:]]


def forge(page: list[Happened]) -> list[Happened]:
    first = page[0]
    other = dataclasses.replace(first.transaction, hash=b"\x09" * 32)
    return [dataclasses.replace(first, transaction=other), *page[1:]]


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (leave_out, "shows something else at lt"),
        (forge, "shows something else at lt"),
        (lambda page: [], "leaves out what happened at lt"),
    ],
)
async def test_a_history_with_a_lie_is_taken_from_somebody_else(
    paid: Devnet, lie: Lie, reason: str
) -> None:
    chain = of(Liar(paid, "liar", history=lie), Liar(paid, "b"), Liar(paid, "c"))
    whole = await chain.transactions(PLACE)
    assert [one.transaction.lt for one in whole] == [n * 1_000_000 for n in range(1, 6)]
    assert chain.faults["liar"].reason.startswith(reason)


async def test_a_history_that_everybody_hides_is_an_error(paid: Devnet) -> None:
    chain = of(Liar(paid, "a", history=leave_out), Liar(paid, "b", history=leave_out))
    with pytest.raises(ChainUnreachable, match=r"a shows something else .*; b shows"):
        await chain.transactions(PLACE)


async def test_another_result_of_a_get_method_is_outvoted_and_named(paid: Devnet) -> None:
    lie = Liar(paid, "liar", run=lambda _: MethodResult(0, (8,)))
    chain = of(lie, Liar(paid, "b"), Liar(paid, "c"))
    assert await chain.run(PLACE, "answer") == (7,)
    assert chain.faults["liar"].reason == f"computes another answer of {WHERE}"


async def test_a_message_needs_one_provider_to_take_it(paid: Devnet) -> None:
    message = Wallet().transfer(PLACE, GRAM)
    refused, dead = MessageNotAccepted("no", exit_code=33), ProviderFault("dead", "is dead")
    chain = of(Liar(paid, "a", send=refused), Liar(paid, "dead", send=dead), Liar(paid, "c"))
    await chain.send(message)
    assert chain.faults["dead"].reason == "is dead"


async def test_a_message_that_nobody_takes_is_refused_or_undelivered(paid: Devnet) -> None:
    message = Wallet().transfer(PLACE, GRAM)
    refused, dead = MessageNotAccepted("no", exit_code=33), ProviderFault("dead", "is dead")
    with pytest.raises(MessageNotAccepted):
        await of(Liar(paid, "a", send=refused), Liar(paid, "dead", send=dead)).send(message)
    with pytest.raises(ChainUnreachable, match="dead is dead"):
        await of(Liar(paid, "dead", send=dead)).send(message)


@pytest.mark.parametrize(("nodes", "quorum"), [(2, 1), (3, 1), (4, 2), (2, 3), (1, 0)])
def test_a_quorum_is_more_than_half_and_not_more_than_all(
    devnet: Devnet, nodes: int, quorum: int
) -> None:
    with pytest.raises(SetupError, match="no quorum"):
        of(*(Liar(devnet, str(number)) for number in range(nodes)), quorum=quorum)


def test_providers_have_names_of_their_own(devnet: Devnet) -> None:
    with pytest.raises(SetupError, match="a name of its own"):
        of(Liar(devnet, "a"), Liar(devnet, "a"))
    with pytest.raises(SetupError, match="a name of its own"):
        of()


async def test_what_is_no_fault_of_a_provider_is_raised(paid: Devnet) -> None:
    chain = of(Liar(paid, "a", account=KeyError("a defect of ours")), Liar(paid, "b"))
    with pytest.raises(KeyError):
        await chain.account(PLACE)
