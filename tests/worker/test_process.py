"""The process around a worker: what it prepares, the ready line, signals, engines, parents."""

import asyncio
import ctypes
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from bombyx.cli.output import Output
from bombyx.control.asking import give
from bombyx.control.starting import is_starting
from bombyx.control.wire import Order
from bombyx.errors import SetupError
from bombyx.link.documents import Goaway
from tests.worker.peer import GatewayPeer, until
from worker.attest.choose import ROOT_FILE
from worker.engine.llamacpp import LlamaCppEngine
from worker.engine.openai_http import OpenAIEngine
from worker.engine.scripted import ScriptedEngine
from worker.engines import build_engine, served
from worker.lifeline import tie_to_parent
from worker.models.hashing import interrupt
from worker.process import JOURNAL_FILE, prepare, serve
from worker.settings import WorkerSettings


@pytest.fixture(autouse=True)
def _logs_as_before() -> object:
    yield
    structlog.reset_defaults()
    interrupt(stopping=False)  # what a process that ends need not take back


def scripted(gateway: GatewayPeer, **changes: object) -> WorkerSettings:
    given = {"gateway": (gateway.url,), "engine": "scripted", "grace_seconds": 0, **changes}
    return WorkerSettings.model_validate(given)


async def test_the_ready_line_comes_with_the_welcome_and_sigterm_ends_it(
    gateway: GatewayPeer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "state", Output(as_json=True)
    settings = scripted(gateway)
    running = asyncio.create_task(serve(settings, prepare(settings, folder, output), output))
    link = await gateway.link()
    out = ""
    while not out:
        await asyncio.sleep(0.01)
        out = capsys.readouterr().out
    ready = json.loads(out)
    assert ready["worker"] == link.listing.worker
    assert (ready["models"], ready["gateways"]) == (["scripted"], [gateway.url])
    assert (folder.stat().st_mode & 0o777, ready["pid"]) == (0o700, os.getpid())
    assert {path.name for path in folder.iterdir()} >= {JOURNAL_FILE, ROOT_FILE}
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 5)
    await until(lambda: link.is_lost)
    assert link.goaways[0].code == "draining"


async def test_that_it_starts_is_told_until_it_can_be_asked(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    class Slow(ScriptedEngine):
        async def start(self) -> None:
            with pytest.raises(SetupError, match="it starts: it reads and loads its models"):
                await asyncio.to_thread(give, tmp_path, Order("status"))
            await super().start()

    settings, output = scripted(gateway), Output(as_json=True)
    prepared = replace(prepare(settings, tmp_path, output), engine=Slow())
    running = asyncio.create_task(serve(settings, prepared, output))
    link = await gateway.link()
    await until(lambda: not is_starting(tmp_path))
    told = await asyncio.to_thread(give, tmp_path, Order("status"))
    assert told["worker"] == link.listing.worker
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 5)


def test_a_state_folder_that_cannot_be_made_is_told(gateway: GatewayPeer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot be the state folder: Not a directory"):
        prepare(scripted(gateway), tmp_path / "file" / "state", Output(as_json=True))


async def test_a_worker_that_nobody_wants_says_so(gateway: GatewayPeer, tmp_path: Path) -> None:
    gateway.refuse_with = Goaway(code="policy", message="not listed", retry=False)
    settings, output = scripted(gateway), Output(as_json=True)
    with pytest.raises(SetupError, match="no gateway wants"):
        await serve(settings, prepare(settings, tmp_path, output), output)


def test_the_engine_is_the_one_that_the_settings_name(tmp_path: Path) -> None:
    def build(**changes: object) -> object:
        settings = WorkerSettings.model_validate(changes)
        return build_engine(settings, state=tmp_path, say=lambda _: None)

    assert isinstance(build(engine="scripted"), ScriptedEngine)
    assert isinstance(build(engine="openai", engine_url="http://127.0.0.1:1"), OpenAIEngine)
    assert isinstance(build(model_path=tmp_path / "x.gguf"), LlamaCppEngine)
    with pytest.raises(SetupError, match="engine-url"):
        build(engine="openai")
    with pytest.raises(SetupError, match="loopback"):
        build(engine="openai", engine_url="http://engine.example:1")


def test_a_model_that_the_engine_lacks_is_a_mistake_of_set_up() -> None:
    engine = ScriptedEngine()
    assert served(engine, WorkerSettings()) == engine.models()
    with pytest.raises(SetupError, match="it has: scripted"):
        served(engine, WorkerSettings(model="other"))


def test_a_worker_whose_parent_is_gone_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = iter((4, 1))
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: _Kernel(0))
    with pytest.raises(SetupError, match="gone"):
        tie_to_parent()


def test_a_kernel_that_cannot_tie_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: _Kernel(-1))
    with pytest.raises(SetupError, match="refuses"):
        tie_to_parent()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SetupError, match="Linux"):
        tie_to_parent()


class _Kernel:
    def __init__(self, answer: int) -> None:
        self._answer = answer

    def prctl(self, *_: int) -> int:
        return self._answer
