"""What a person must look at: told once, kept while it lasts, and gone when it is over."""

import asyncio

import pytest
from pytoniq_core import Address

from bombyx.errors import ChannelBooks
from gateway.channels.chain.troubles import BROKEN, Troubles
from tests.gateway.channels.chain.fixtures import Gate
from tests.gateway.metering.samples import execute, posted
from tests.ton.channels.parties import GRAM, HOUR, Parties
from ton.chain.agreed import AgreedChain
from ton.chain.port import AccountState
from ton.channels import orders
from ton.devnet.chain import Devnet
from ton.devnet.node import DevnetNode
from ton.settings import DEVNET


def told(troubles: Troubles) -> set[tuple[str, str]]:
    return {(one.word, one.subject) for one in troubles.all()}


def fail(troubles: Troubles, work: str, subject: str, error: Exception) -> None:
    with troubles.alone(work, subject):
        raise error


def succeed(troubles: Troubles, work: str, subject: str) -> None:
    with troubles.alone(work, subject):
        pass


def test_what_fails_alone_is_told_and_over_when_it_works_again() -> None:
    troubles = Troubles()
    fail(troubles, "claim", "c", ChannelBooks("why"))
    assert told(troubles) == {("channel_books", "c")}
    fail(troubles, "claim", "c", ZeroDivisionError())
    assert told(troubles) == {(BROKEN, "c")}
    succeed(troubles, "claim", "c")
    assert told(troubles) == set()


def test_work_that_goes_well_ends_no_trouble_of_other_work() -> None:
    troubles = Troubles()
    fail(troubles, "claim", "c", ZeroDivisionError())
    fail(troubles, "close", "c", ZeroDivisionError())
    succeed(troubles, "claim", "c")
    assert told(troubles) == {(BROKEN, "c")}
    troubles.done_for("close", {"d"})
    assert told(troubles) == set()


def test_work_that_is_done_no_more_is_no_trouble() -> None:
    troubles = Troubles()
    for subject in ("c", "d"):
        fail(troubles, "claim", subject, ChannelBooks("why"))
        troubles.tell("deposit_gone", subject, "why")
    troubles.done_for("claim", {"d"})
    troubles.only("deposit_gone", {"c"})
    assert told(troubles) == {("channel_books", "d"), ("deposit_gone", "c")}


class Hurt(DevnetNode):
    """A node whose answer about some accounts breaks this program."""

    def __init__(self, devnet: Devnet) -> None:
        super().__init__(devnet, name="hurt")
        self.hurts: set[str] = set()

    async def account(self, address: Address) -> AccountState:
        if address.to_str(is_user_friendly=False) in self.hurts:
            raise ZeroDivisionError
        return await super().account(address)


async def test_what_breaks_for_one_channel_is_no_other_s_trouble(gate: Gate) -> None:
    await gate.begin()
    other = Parties(gate.parties.chain, gate.parties.devnet, salt=2)
    await other.opened(GRAM)
    await gate.channels.register(other.channel, "alice")
    await gate.charge(GRAM)
    node = Hurt(gate.parties.devnet)
    chain = AgreedChain([node], network=DEVNET, patience=(0.01,), poll=0.01)
    async with gate.another(chain) as parts:
        node.hurts = {"0:" + other.channel.account.hex()}
        for _ in range(3):
            await parts.task.round()
        assert told(parts.task.told) == {(BROKEN, other.channel.account.hex())}
        assert (await gate.row()).row.claimed == GRAM
        node.hurts.clear()
        await parts.task.round()
        assert told(parts.task.told) == set()
    row = (await gate.channels.row(other.channel.account.hex())).row
    assert row.deposited == GRAM


async def test_a_part_that_breaks_is_told_and_the_others_go_on(gate: Gate) -> None:
    await gate.begin()
    before = await posted(gate.url, "alice")
    (salt,) = await execute(gate.url, "SELECT salt FROM channel")
    await execute(gate.url, "UPDATE channel SET salt = 'what no salt is'")
    await gate.pay(GRAM, "alice")
    await gate.rounds(2)
    assert told(gate.parts.task.told) == {(BROKEN, "watch")}
    assert await posted(gate.url, "alice") == before + GRAM
    await execute(gate.url, "UPDATE channel SET salt = :salt", salt=salt[0])
    await gate.rounds()
    assert gate.troubles() == set()


async def test_a_round_that_cannot_begin_is_told_and_the_task_lives_on(gate: Gate) -> None:
    """As while the database is away."""
    task, processes = gate.parts.task, gate.parts.task.processes

    class Away:
        count = 0

        async def processes(self) -> list[object]:
            self.count += 1
            if self.count < 3:
                raise ConnectionError
            gone.set()
            return list(await processes.processes())

    gone = asyncio.Event()
    task.processes = Away()  # type: ignore[assignment]
    running = asyncio.create_task(task.run())
    seen = set()
    async with asyncio.timeout(5):
        while not gone.is_set():
            seen |= told(task.told)
            await asyncio.sleep(0.002)
        while told(task.told):
            await asyncio.sleep(0.002)
    running.cancel()
    assert seen == {(BROKEN, "round")}


async def test_a_process_that_watches_no_more_tells_nothing(gate: Gate) -> None:
    gate.parts.task.told.tell("claim_failed", "c", "why")
    lower = await gate.store.open_process(0, "wss://gw0")
    assert not await gate.parts.task.round()
    assert gate.troubles() == set()
    await gate.store.close_process(0, lower)


@pytest.mark.parametrize("word", ["deposit_gone", "channel_rolled_back"])
async def test_a_channel_that_another_process_saw_closed_is_no_trouble(
    gate: Gate, word: str
) -> None:
    await gate.begin()
    await gate.parties.send(gate.parties.client, orders.start_close(gate.channel))
    gate.parties.devnet.advance(HOUR)
    await gate.parties.send(gate.parties.client, orders.finish_close(gate.channel))
    gate.parts.task.told.tell(word, gate.id, "why")
    async with gate.another() as other:
        await other.task.round()
    await gate.rounds()
    assert (await gate.row()).row.closed
    assert gate.troubles() == set()
