"""A provider that answers anything at all: every nonsense is a `ProviderFault` that names it."""

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from pytoniq_core import Address, Cell

from tests.ton.devnet.fixtures import GRAM
from tests.ton.devnet.wallets import Wallet
from ton.chain import wire as wire_module
from ton.chain.errors import ProviderFault
from ton.chain.port import BEGINNING, Point
from ton.chain.toncenter import Toncenter
from ton.chain.wire import Pace, Wire
from ton.codec.cells import Writer
from ton.devnet.chain import Devnet
from ton.devnet.log import Query
from ton.errors import MessageNotAccepted
from ton.settings import DEVNET
from ton.tvm.accounts import Status

PLACE = Address((0, b"\x55" * 32))
ZERO = b64encode(bytes(32)).decode()
OK: dict[str, Any] = {
    "balance": "5",
    "state": "uninitialized",
    "code": "",
    "data": "",
    "last_transaction_id": {"lt": "7", "hash": ZERO},
    "sync_utime": 1_790_000_000,
}
Answer = Callable[[web.Request], web.StreamResponse]


def boc(cell: Cell) -> str:
    return b64encode(cell.to_boc()).decode()


NETWORK = {"config": {"bytes": boc(Writer().signed(DEVNET, 32).cell())}}


def result(value: Any) -> Answer:
    return lambda _: web.json_response({"ok": True, "result": value})


def error(status: int, text: str, **headers: str) -> Answer:
    return lambda _: web.json_response(
        {"ok": False, "error": text, "code": status}, status=status, headers=headers
    )


@contextlib.asynccontextmanager
async def provider(
    answer: Answer, *, network: Any = NETWORK, delays: tuple[float, ...] = ()
) -> AsyncIterator[Toncenter]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("getConfigParam"):
            return result(network)(request)
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    node = Toncenter(
        Wire(url, name="it", seconds=0.5, per_second=10_000, delays=delays, api_key="secret"),
        network=DEVNET,
    )
    try:
        yield node
    finally:
        await node.close()
        await runner.cleanup()


async def test_what_toncenter_says_becomes_a_state() -> None:
    async with provider(result(OK)) as node:
        state = await node.account(PLACE)
    assert (state.status, state.balance, state.last) == (
        Status.UNINITIALIZED,
        5,
        Point(7, bytes(32)),
    )
    assert state.at == 1_790_000_000


@pytest.mark.parametrize(
    "change",
    [
        {"balance": "-1"},
        {"balance": "1.5"},
        {"balance": True},
        {"balance": str(2**120)},
        {"balance": "9" * 5000},
        {"state": "rich"},
        {"state": "active"},
        {"state": "active", "code": "AAAA", "data": "AAAA"},
        {"code": "!"},
        {"code": 5},
        {"last_transaction_id": None},
        {"last_transaction_id": {"lt": "1"}},
        {"last_transaction_id": {"lt": "1", "hash": "AAAA"}},
        {"last_transaction_id": {"lt": str(2**64), "hash": ZERO}},
        {"sync_utime": -5},
    ],
    ids=str,
)
async def test_a_state_that_cannot_be_is_a_fault(change: dict[str, Any]) -> None:
    async with provider(result({**OK, **change})) as node:
        with pytest.raises(ProviderFault, match=r"^it "):
            await node.account(PLACE)


@pytest.mark.parametrize("name", ["balance", "state", "code", "data", "last_transaction_id"])
async def test_a_state_that_lacks_something_is_a_fault(name: str) -> None:
    lacking = {key: value for key, value in OK.items() if key != name}
    async with provider(result(lacking)) as node:
        with pytest.raises(ProviderFault, match=f"lacks {name}"):
            await node.account(PLACE)


RAW: dict[str, Answer] = {
    "no JSON": lambda _: web.Response(text="<html>"),
    "deep JSON": lambda _: web.Response(text="[" * 100_000),
    "an array": lambda _: web.json_response([1]),
    "another API": lambda _: web.json_response({"balance": 5}),
    "no result": lambda _: web.json_response({"ok": True}),
    "a redirect": lambda _: web.Response(status=302, headers={"location": "http://127.0.0.1:9/"}),
    "an error": error(500, "LITE_SERVER_UNKNOWN: x"),
    "busy": error(503, "later"),
    "too many": error(429, "Ratelimit exceeded"),
    "wait an hour": error(429, "Ratelimit exceeded", **{"retry-after": "3600"}),
    "odd wait": error(429, "Ratelimit exceeded", **{"retry-after": "Fri, 01 Jan"}),
    "a list": result([]),
    "nothing": result(None),
}


@pytest.mark.parametrize("answer", RAW.values(), ids=RAW.keys())
async def test_an_answer_of_another_kind_is_a_fault(answer: Answer) -> None:
    async with provider(answer) as node:
        with pytest.raises(ProviderFault, match=r"^it ") as fault:
            await node.account(PLACE)
        with pytest.raises(ProviderFault):
            await node.run(PLACE, "method", ())
    assert "secret" not in str(fault.value)


async def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_module, "MAX_ANSWER", 1000)
    async with provider(lambda _: web.Response(text="x" * 2000)) as node:
        with pytest.raises(ProviderFault, match="more than 1000 bytes"):
            await node.account(PLACE)


async def test_a_provider_that_does_not_listen_is_a_fault() -> None:
    node = Toncenter(Wire("http://127.0.0.1:1", name="it", delays=()), network=DEVNET)
    with pytest.raises(ProviderFault, match="it cannot be asked: ConnectError"):
        await node.account(PLACE)
    await node.close()


async def test_a_stumble_is_asked_again_and_an_answer_is_not() -> None:
    asked: list[str] = []

    def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers["X-API-Key"])
        return error(429, "slow down")(request) if len(asked) < 3 else result(OK)(request)

    async with provider(answer, delays=(0.001, 0.001)) as node:
        assert (await node.account(PLACE)).balance == 5
    assert asked == ["secret"] * 3


async def test_a_message_is_sent_once() -> None:
    asked: list[str] = []

    def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return error(503, "later")(request)

    async with provider(answer, delays=(0.001, 0.001)) as node:
        with pytest.raises(ProviderFault):
            await node.send(Wallet().transfer(PLACE, GRAM))
    assert asked == ["/sendBoc"]


@pytest.mark.parametrize(
    ("text", "exit_code"),
    [
        ("LITE_SERVER_UNKNOWN: cannot apply external message : exitcode=133, steps=9", 133),
        ("External message was not accepted\ncannot run message on account", None),
    ],
)
async def test_a_refused_message_is_told_from_a_broken_provider(
    text: str, exit_code: int | None
) -> None:
    async with provider(error(500, text)) as node:
        with pytest.raises(MessageNotAccepted) as refused:
            await node.send(Wallet().transfer(PLACE, GRAM))
    assert refused.value.exit_code == exit_code


async def test_a_history_holds_this_account_alone(devnet: Devnet) -> None:
    devnet.give(Address((0, b"\x56" * 32)), GRAM)
    (entry,) = devnet.log.find(Query())
    shown = {"data": b64encode(entry.boc).decode()}
    lies: list[Any] = [[shown], [{"data": "AAAA"}], [{}], {}, [shown] * 101]
    for wrong in lies:
        async with provider(result(wrong)) as node:
            with pytest.raises(ProviderFault):
                await node.history(PLACE, Point(entry.lt, entry.hash), limit=10)
    async with provider(error(500, "never asked")) as node:
        assert await node.history(PLACE, BEGINNING, limit=10) == []


CELL = Writer().uint(5, 8).cell()


async def test_a_stack_is_read_and_written() -> None:
    stack = [
        ["num", "-0x1f"],
        ["cell", {"bytes": boc(CELL)}],
        ["list", {"elements": []}],
    ]
    asked: list[Any] = []

    def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return result({"exit_code": 0, "stack": stack})(request)

    async with provider(answer) as node:
        got = await node.run(PLACE, "method", (-31, CELL))
    assert got.values == (-31, CELL, None)
    assert got.fingerprint == (0, -31, CELL.hash, None)


@pytest.mark.parametrize(
    "stack",
    [
        5,
        [["num", 5]],
        [["num", "x"]],
        [["cell", "x"]],
        [["tuple", {"elements": [1]}]],
        [["num"]],
        ["num"],
        [["spaceship", "x"]],
    ],
    ids=str,
)
async def test_a_stack_of_another_form_is_a_fault(stack: Any) -> None:
    async with provider(result({"exit_code": 0, "stack": stack})) as node:
        with pytest.raises(ProviderFault):
            await node.run(PLACE, "method", ())


async def test_null_is_no_argument() -> None:
    async with provider(result({})) as node:
        with pytest.raises(ValueError, match="passes null"):
            await node.run(PLACE, "method", (None,))


@pytest.mark.parametrize(
    "network", [{}, {"config": {}}, {"config": {"bytes": boc(CELL)}}, None], ids=str
)
async def test_a_provider_must_know_its_network(network: Any) -> None:
    async with provider(result(OK), network=network) as node:
        with pytest.raises(ProviderFault):
            await node.account(PLACE)


async def test_requests_are_spread_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    pace = Pace(10)
    for _ in range(3):
        await pace.turn()
    assert slept == [0.1, 0.2]
