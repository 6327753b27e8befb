"""A dstack guest agent on a real unix socket, answering with a recorded quote."""

import contextlib
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.vendor import VendorDocument
from bombyx.errors import AttestationError
from tests.worker.attest.fixtures import tee
from worker.attest import dstack
from worker.attest.confidential import DstackQuoter
from worker.attest.dstack import find_agent, get_quote

RECORDED = json.loads(tee("dstack/tdx-lite-getquote.json"))
ASKED = bytes.fromhex(RECORDED["report_data"]).ljust(64, b"\0")
COLLATERAL = Collateral(**json.loads(tee("tdx/tdx_quote_outdated_collateral.json")))

Answer = Callable[[dict[str, str]], web.StreamResponse]


@dataclass
class Agent:
    """Where it listens, what it was asked, and what it answers."""

    path: Path
    answer: Answer
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append((request.path, body))
        return self.answer(body)


def recorded(_: dict[str, str]) -> web.StreamResponse:
    return web.json_response(RECORDED)


@contextlib.asynccontextmanager
async def agent(answer: Answer = recorded) -> AsyncIterator[Agent]:
    with tempfile.TemporaryDirectory(prefix="ds") as folder:
        one = Agent(Path(folder) / "sock", answer)
        app = web.Application()
        app.router.add_post("/{method}", one.serve)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.UnixSite(runner, str(one.path)).start()
            yield one
        finally:
            await runner.cleanup()


@dataclass
class Source:
    """Collateral by name, and what was asked for."""

    asked: list[str] = field(default_factory=list)

    async def find(self, name: str) -> VendorDocument:
        self.asked.append(name)
        return COLLATERAL


async def test_the_agent_is_asked_for_exactly_the_report_data() -> None:
    async with agent() as one:
        assert await get_quote(one.path, ASKED) == bytes.fromhex(RECORDED["quote"])
        assert one.asked == [("/GetQuote", {"report_data": ASKED.hex()})]


async def test_a_quote_comes_with_the_collateral_of_its_processors() -> None:
    source = Source()
    async with agent() as one:
        quoter = DstackQuoter(one.path, source=source)
        quote = await quoter.quote(ASKED)
    assert (quoter.platform, quote.collateral) == ("tdx", COLLATERAL)
    assert source.asked == ["tdx/90c06f000000/platform"]
    assert bytes.fromhex(RECORDED["quote"]).startswith(quote.raw)


async def test_what_the_machine_measured_can_be_told() -> None:
    async with agent() as one:
        told = await DstackQuoter(one.path, source=Source()).measured()
    assert set(told) == {"mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3"}


async def test_a_quote_over_other_report_data_is_not_shown() -> None:
    async with agent() as one:
        with pytest.raises(AttestationError, match="other report data"):
            await DstackQuoter(one.path, source=Source()).quote(b"\1" * 64)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda _: web.json_response({"error": "busy"}, status=500), "status 500"),
        (lambda _: web.json_response({}), "without a quote"),
        (lambda _: web.json_response({"quote": 7}), "without a quote"),
        (lambda _: web.json_response({"quote": "zz"}), "no hex"),
        (lambda _: web.json_response({"quote": "00" * 20_000}), "bounded size"),
        (lambda _: web.Response(text="<!DOCTYPE html>"), "no JSON"),
        (lambda _: web.Response(body=b" " * (dstack.MAX_ANSWER_BYTES + 1)), "sends more"),
        (
            lambda _: web.Response(status=302, headers={"location": "http://elsewhere/"}),
            "status 302",
        ),
    ],
)
async def test_an_agent_that_answers_otherwise_is_refused(answer: Answer, why: str) -> None:
    async with agent(answer) as one:
        with pytest.raises(AttestationError, match=why):
            await get_quote(one.path, ASKED)


async def test_an_agent_that_is_silent_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dstack, "ANSWER_SECONDS", 0.05)
    with (
        tempfile.TemporaryDirectory(prefix="ds") as folder,
        socket.socket(socket.AF_UNIX) as silent,
    ):
        path = Path(folder) / "sock"
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(AttestationError, match=r"cannot be asked: .*Timeout"):
            await get_quote(path, ASKED)


async def test_whether_an_agent_listens_is_found_without_asking_it() -> None:
    async with agent() as one:
        find_agent(one.path)
        assert one.asked == []
    with pytest.raises(AttestationError, match="no dstack agent at"):
        find_agent(one.path)


async def test_report_data_has_64_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        await get_quote(tmp_path / "sock", b"short")
