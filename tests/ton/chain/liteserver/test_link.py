"""A liteserver that fails in every way that a peer can: each is a fault that names it, in time."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from nacl.signing import SigningKey
from pytoniq_core import Address

from tests.ton.chain.liteserver.answers import Answers
from tests.ton.chain.liteserver.server import Reply, Server, Talk, honestly, serving
from tests.ton.devnet.fixtures import GRAM
from tests.ton.devnet.wallets import Wallet
from ton.chain.errors import ProviderFault
from ton.chain.liteserver import line, questions
from ton.chain.liteserver.channel import MAX_PACKET
from ton.chain.liteserver.link import Link
from ton.chain.liteserver.node import Liteserver
from ton.chain.liteserver.place import parse_place
from ton.chain.liteserver.questions import ANSWER
from ton.chain.liteserver.tl import pack_bytes, pack_int
from ton.chain.port import BEGINNING, Point
from ton.codec.cells import Writer
from ton.devnet.chain import Devnet
from ton.devnet.log import Query
from ton.settings import DEVNET

HERE, NOWHERE = Address((0, b"\x55" * 32)), Address((0, b"\x56" * 32))
SOON = 0.1
"""Seconds, where nothing is to come."""


def node_of(
    server: Server, *, delays: tuple[float, ...] = (), seconds: float = 10, url: str = ""
) -> Liteserver:
    place = replace(parse_place(url or server.url), name="it")
    asked = Link(place, seconds=seconds, per_second=10_000, delays=delays)
    return Liteserver(asked, network=DEVNET)


@contextlib.asynccontextmanager
async def asking(
    reply: Reply, *, delays: tuple[float, ...] = (), seconds: float = 10
) -> AsyncIterator[tuple[Liteserver, Server]]:
    async with serving(Server(reply)) as server:
        node = node_of(server, delays=delays, seconds=seconds)
        try:
            yield node, server
        finally:
            await node.close()


async def impatiently(node: Liteserver, *, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(node.account(HERE), 0.005)


async def greeted(server: Server) -> None:
    async with asyncio.timeout(10):
        while not server.greeted:
            await asyncio.sleep(0)


def ours() -> list[str]:
    """What runs for a link without being asked by the test."""
    names = [str(task.get_coro()) for task in asyncio.all_tasks()]
    return [one for one in names if "Line._listen" in one or "Link._connect" in one]


@pytest.fixture
def honest(devnet: Devnet) -> Reply:
    devnet.give(HERE, GRAM)
    return honestly(Answers(devnet))


async def cut(talk: Talk, name: bytes, question: bytes) -> None:
    talk.writer.close()


async def reset(talk: Talk, name: bytes, question: bytes) -> None:
    talk.writer.transport.abort()


async def silence(talk: Talk, name: bytes, question: bytes) -> None:
    """Not a word."""


async def garbage(talk: Talk, name: bytes, question: bytes) -> None:
    talk.writer.write(bytes(range(256)) * 8)


async def half(talk: Talk, name: bytes, question: bytes) -> None:
    talk.writer.write(talk.sealed(ANSWER + name + pack_bytes(bytes(100_000)))[:50_000])
    talk.writer.write_eof()


async def nonsense(talk: Talk, name: bytes, question: bytes) -> None:
    talk.answer(name, b"nonsense")


async def nothing(talk: Talk, name: bytes, question: bytes) -> None:
    talk.answer(name, b"")


async def broken(talk: Talk, name: bytes, question: bytes) -> None:
    talk.say(ANSWER + name + b"\xfe\xff\xff\xff")


async def another_name(talk: Talk, name: bytes, question: bytes) -> None:
    talk.answer(bytes(32), b"")


async def half_an_error(talk: Talk, name: bytes, question: bytes) -> None:
    talk.answer(name, questions.ERROR + b"\x01")


def failing(code: int, message: str) -> Reply:
    async def reply(talk: Talk, name: bytes, question: bytes) -> None:
        talk.answer(name, questions.ERROR + pack_int(code) + pack_bytes(message.encode()))

    return reply


FAULTS: dict[str, tuple[Reply, str]] = {
    "cut": (cut, "it hangs up"),
    "reset": (reset, "it hangs up|it cannot be asked"),
    "silence": (silence, "it does not answer within 0.1 s"),
    "garbage": (garbage, "it sends a packet of an impossible length|checksum"),
    "half a packet": (half, "it hangs up"),
    "nonsense": (nonsense, "it answers something else"),
    "nothing": (nothing, "it answers less"),
    "a broken envelope": (broken, "it answers less"),
    "another's answer": (another_name, "it does not answer within"),
    "half an error": (half_an_error, "it answers less"),
    "an error": (failing(-400, "no such thing"), "it refuses with -400: no such thing"),
    "too many questions": (failing(228, "ratelimit"), "it answers with error 228: ratelimit"),
}


@pytest.mark.parametrize(("reply", "sentence"), FAULTS.values(), ids=FAULTS.keys())
async def test_whatever_it_does_is_a_fault_that_names_it(reply: Reply, sentence: str) -> None:
    seconds = SOON if "not answer" in sentence else 10
    async with asking(reply, seconds=seconds) as (node, _):
        with pytest.raises(ProviderFault, match=sentence):
            await node.account(HERE)
        with pytest.raises(ProviderFault):
            await node.run(HERE, "method", ())
        with pytest.raises(ProviderFault):
            await node.send(Wallet().transfer(HERE, GRAM))
        with pytest.raises(ProviderFault):
            await node.history(HERE, Point(1, bytes(32)), limit=5)


async def test_one_that_does_not_listen_is_a_fault() -> None:
    server = Server(silence)
    server.port = 1
    with pytest.raises(ProviderFault, match="it cannot be asked: ConnectionRefusedError"):
        await node_of(server).account(HERE)


async def test_another_key_is_hung_up_on(honest: Reply) -> None:
    async with serving(Server(honest)) as server:
        other = bytes(SigningKey.generate().verify_key).hex()
        node = node_of(server, url=f"liteserver://127.0.0.1:{server.port}/{other}")
        with pytest.raises(ProviderFault, match=r"it hangs up|it cannot be asked"):
            await node.account(HERE)
        assert not server.greeted
        await node.close()


async def test_one_that_only_poses_cannot_greet(honest: Reply) -> None:
    """It takes any greeting, which it cannot read, and answers with what comes to its mind."""

    async def pose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(bytes(500))
        await reader.read()
        writer.close()

    posing = await asyncio.start_server(pose, "127.0.0.1", 0)
    server = Server(honest)
    server.port = posing.sockets[0].getsockname()[1]
    node = node_of(server, seconds=SOON)
    with pytest.raises(ProviderFault, match=r"it sends a packet|it does not answer within"):
        await node.account(HERE)
    await node.close()
    posing.close()
    await posing.wait_closed()


async def test_one_that_never_greets_is_given_up(honest: Reply) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    muted = await asyncio.start_server(mute, "127.0.0.1", 0)
    server = Server(honest)
    server.port = muted.sockets[0].getsockname()[1]
    node = node_of(server, seconds=SOON)
    with pytest.raises(ProviderFault, match="it does not answer within"):
        await node.account(HERE)
    await node.close()
    muted.close()
    await muted.wait_closed()


async def test_a_lost_connection_is_opened_anew(honest: Reply) -> None:
    async with asking(honest) as (node, server):
        assert (await node.account(HERE)).balance == GRAM
        server.talks[0].writer.transport.abort()
        await asyncio.sleep(0.02)
        assert (await node.account(HERE)).balance == GRAM
        assert server.greeted == 2


async def test_a_connection_that_is_lost_in_the_middle_is_asked_again(honest: Reply) -> None:
    async with asking(cut, delays=(0.01, 0.01)) as (node, server):
        asked = asyncio.ensure_future(node.account(HERE))
        while server.greeted < 2:
            await asyncio.sleep(0)
        server.reply = honest
        assert (await asked).balance == GRAM


async def test_after_a_silence_the_next_question_has_a_new_connection(honest: Reply) -> None:
    async with asking(silence, seconds=SOON) as (node, server):
        with pytest.raises(ProviderFault):
            await node.account(HERE)
        server.reply = honest
        node._link._seconds = 10
        assert (await node.account(HERE)).balance == GRAM
        assert server.greeted == 2


async def test_a_busy_one_is_asked_again_and_a_refusal_is_not(honest: Reply) -> None:
    busy = failing(651, "block is not applied")
    asked = 0

    async def reply(talk: Talk, name: bytes, question: bytes) -> None:
        nonlocal asked
        asked += 1
        await (busy if asked < 3 else honest)(talk, name, question)

    async with asking(reply, delays=(0.001, 0.001)) as (node, server):
        assert (await node.account(HERE)).balance == GRAM
        asked, server.reply = 0, failing(0, "no")
        with pytest.raises(ProviderFault, match="refuses with 0: no"):
            await node.account(HERE)


async def test_a_message_is_sent_once(honest: Reply) -> None:
    sent = 0

    async def reply(talk: Talk, name: bytes, question: bytes) -> None:
        nonlocal sent
        if question[:4] == questions.SEND_MESSAGE:
            sent += 1
            talk.writer.close()
            return
        await honest(talk, name, question)

    async with asking(reply, delays=(0.001, 0.001)) as (node, _):
        with pytest.raises(ProviderFault, match="hangs up"):
            await node.send(Wallet().transfer(HERE, GRAM))
    assert sent == 1


async def test_a_message_that_was_not_taken_is_a_fault(honest: Reply) -> None:
    async def reply(talk: Talk, name: bytes, question: bytes) -> None:
        if question[:4] == questions.SEND_MESSAGE:
            talk.answer(name, questions.SEND_STATUS + pack_int(0))
            return
        await honest(talk, name, question)

    async with asking(reply) as (node, _):
        with pytest.raises(ProviderFault, match="does not take the message"):
            await node.send(Wallet().transfer(HERE, GRAM))


async def test_many_ask_at_once_over_one_connection(honest: Reply) -> None:
    async with asking(honest) as (node, server):
        states = await asyncio.gather(*(node.account(HERE) for _ in range(20)))
        assert {state.balance for state in states} == {GRAM}
        assert server.greeted == 1


async def test_whoever_stops_waiting_disturbs_nobody(honest: Reply) -> None:
    async def slow(talk: Talk, name: bytes, question: bytes) -> None:
        await asyncio.sleep(0.03)
        await honest(talk, name, question)

    async with asking(honest) as (node, server):
        await node.account(HERE)
        server.reply = slow
        await impatiently(node, times=3)
        await asyncio.sleep(0.05)
        server.reply = honest
        assert (await node.account(HERE)).balance == GRAM
        assert server.greeted == 1


async def test_a_slow_greeting_outlasts_those_who_do_not_wait_for_it(honest: Reply) -> None:
    async with asking(honest) as (node, server):
        server.is_prompt = False
        await impatiently(node, times=8)
        asked = asyncio.ensure_future(node.account(HERE))
        await asyncio.sleep(0.05)
        server.talks[0].say(b"")
        assert (await asked).balance == GRAM
        assert server.greeted == 1


async def test_a_greeting_that_nobody_waits_for_any_more_is_of_use(honest: Reply) -> None:
    async with asking(honest) as (node, server):
        server.is_prompt = False
        await impatiently(node)
        await greeted(server)
        server.talks[0].say(b"")
        await asyncio.sleep(0.02)
        assert (await node.account(HERE)).balance == GRAM
        assert server.greeted == 1


async def test_a_failed_greeting_is_told_to_all_who_wait_and_tried_by_the_next(
    honest: Reply,
) -> None:
    async with asking(honest) as (node, server):
        server.is_prompt = False
        asked = [asyncio.ensure_future(node.account(HERE)) for _ in range(3)]
        await greeted(server)
        await asyncio.sleep(0.02)
        server.talks[0].writer.transport.abort()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(one, ProviderFault) for one in outcomes)
        assert server.greeted == 1
        server.is_prompt = True
        assert (await node.account(HERE)).balance == GRAM
        assert server.greeted == 2


async def test_a_greeting_that_never_comes_is_given_up_where_nobody_waits(honest: Reply) -> None:
    """In its own time, and without a word from asyncio about a failure that nobody heard."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    async with asking(honest, seconds=SOON) as (node, server):
        server.is_prompt = False
        await impatiently(node)
        await greeted(server)
        async with asyncio.timeout(10):
            while ours():
                await asyncio.sleep(0.01)
        server.is_prompt, node._link._seconds = True, 10
        assert (await node.account(HERE)).balance == GRAM
        assert server.greeted == 2
    gc.collect()
    assert not complaints


async def test_a_flood_of_what_nobody_asked_for_is_hung_up_on(honest: Reply) -> None:
    async def flood(talk: Talk, name: bytes, question: bytes) -> None:
        for _ in range(line.MAX_STRAYS + 2):
            talk.say(b"spam")

    async with asking(flood) as (node, _):
        with pytest.raises(ProviderFault, match="talks without being asked"):
            await node.account(HERE)


async def test_a_packet_beyond_the_limit_is_not_waited_for() -> None:
    async def large(talk: Talk, name: bytes, question: bytes) -> None:
        talk.say(bytes(MAX_PACKET))

    async with asking(large) as (node, _):
        with pytest.raises(ProviderFault, match="impossible length"):
            await node.account(HERE)


async def test_closing_tells_everybody_and_leaves_nothing() -> None:
    async with serving(Server(silence)) as server:
        node = node_of(server)
        asked = [asyncio.ensure_future(node.account(HERE)) for _ in range(3)]
        while not server.greeted:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        before = ours()
        await node.close()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(one, ProviderFault) for one in outcomes)
        await node.close()
        assert before
        assert not ours()
        with pytest.raises(ProviderFault, match="it is asked no more"):
            await node.account(HERE)


async def test_what_opens_while_it_is_closed_is_closed_too(honest: Reply) -> None:
    async with asking(honest) as (node, server):
        asked = asyncio.ensure_future(node.account(HERE))
        while not server.greeted:
            await asyncio.sleep(0)
        await node.close()
        with pytest.raises(ProviderFault):
            await asked
        await asyncio.sleep(0.01)
        assert node._link._line is None
        assert not ours()


@pytest.mark.parametrize("is_awaited", [True, False])
async def test_closing_while_it_opens_leaves_nothing(honest: Reply, is_awaited: bool) -> None:
    async with asking(honest) as (node, server):
        server.is_prompt = False
        asked = asyncio.ensure_future(node.account(HERE))
        await greeted(server)
        if not is_awaited:
            asked.cancel()
            await asyncio.wait({asked})
        assert ours()
        await node.close()
        assert not ours()
        if is_awaited:
            with pytest.raises(ProviderFault, match="it was hung up on"):
                await asked
        with pytest.raises(ProviderFault, match="it is asked no more"):
            await node.account(HERE)
        assert server.greeted == 1


async def test_an_answer_about_another_block_is_a_fault(devnet: Devnet) -> None:
    answers = Answers(devnet)

    async def reply(talk: Talk, name: bytes, question: bytes) -> None:
        if question[:4] == questions.GET_ACCOUNT_STATE:
            devnet.give(HERE, GRAM)
            newest = answers.newest().master.id
            question = questions.account_state(newest, HERE)
        talk.answer(name, await answers(question))

    async with asking(reply) as (node, _):
        with pytest.raises(ProviderFault, match="about another block"):
            await node.account(HERE)


async def test_a_state_that_is_not_the_blocks_is_a_fault(devnet: Devnet) -> None:
    """The same account, a moment ago, with the proof of now."""
    answers = Answers(devnet)
    devnet.give(HERE, GRAM)
    old = answers.newest().state_of(HERE)
    devnet.give(HERE, GRAM)
    new = answers.newest().state_of(HERE)

    async def reply(talk: Talk, name: bytes, question: bytes) -> None:
        answer = await answers(question)
        talk.answer(name, answer.replace(pack_bytes(new), pack_bytes(old)))

    async with asking(reply) as (node, _):
        with pytest.raises(ProviderFault, match="it shows another account than the block has"):
            await node.account(HERE)


async def test_a_history_with_a_gap_is_a_fault(devnet: Devnet) -> None:
    answers = Answers(devnet)
    for _ in range(4):
        devnet.give(HERE, GRAM)
    last = answers.newest().account(HERE)
    assert last is not None
    devnet.give(NOWHERE, GRAM)

    async def reply(talk: Talk, name: bytes, question: bytes) -> None:
        if question[:4] == questions.GET_TRANSACTIONS:
            lt = last.last_lt - 1
            found = devnet.log.find(_before(lt))
            question = questions.transactions(HERE, Point(found[0].lt, found[0].hash), 16)
        talk.answer(name, await answers(question))

    async with asking(reply) as (node, server):
        start = Point(last.last_lt, last.last_hash)
        with pytest.raises(ProviderFault, match=f"shows something else at lt {last.last_lt}"):
            await node.history(HERE, start, limit=10)
        server.reply = honestly(answers)
        page = await node.history(HERE, start, limit=3)
        assert page[0].point == start
        assert len(page) == 3
        assert await node.history(HERE, BEGINNING, limit=3) == []


@pytest.mark.parametrize("bag", [b"junk", Writer().uint(7, 8).cell().to_boc()])
async def test_a_history_of_broken_cells_is_a_fault(devnet: Devnet, bag: bytes) -> None:
    answers = Answers(devnet)
    block = answers.newest().master.id

    async def reply(talk: Talk, name: bytes, question: bytes) -> None:
        if question[:4] == questions.GET_TRANSACTIONS:
            told = questions.TRANSACTION_LIST + pack_int(1) + block.pack() + pack_bytes(bag)
            talk.answer(name, told)
            return
        talk.answer(name, await answers(question))

    async with asking(reply) as (node, _):
        with pytest.raises(ProviderFault, match="broken"):
            await node.history(HERE, Point(1, bytes(32)), limit=10)


def _before(lt: int) -> Query:
    return Query(("account = ?", "lt <= ?"), (f"0:{HERE.hash_part.hex()}", lt), limit=1)


async def test_null_is_no_argument(honest: Reply) -> None:
    async with asking(honest) as (node, _):
        with pytest.raises(ValueError, match="passes null"):
            await node.run(HERE, "method", (None,))
