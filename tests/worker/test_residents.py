"""Models that come and go on a running worker; nobody's stream ends for it (SPEC 1.7, 4.2)."""

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bombyx.control.asking import give
from bombyx.control.wire import SOCKET, Order
from bombyx.errors import BombyxError, SetupError
from bombyx.link.documents import Goaway
from tests.worker.engine.contract import Subject, collect, request_of
from tests.worker.peer import GatewayPeer, PeerLink, unix, until
from tests.worker.sealing import chat, open_answer, seal
from tests.worker.test_cli import start
from worker import engines
from worker.engine.port import EngineModel
from worker.engine.server import launcher
from worker.engine.server.sglang import SGLANG
from worker.engine.supervised import SupervisedEngine
from worker.engines import build_engine
from worker.residents import Residents, Wanted
from worker.settings import WorkerSettings

TINY = Path(__file__).parents[1] / "fixtures" / "tiny-llama"
PATIENT_SECONDS = 45.0
"""For a process to end on a busy machine; to hash `LARGE` takes twice as long on a fast one."""
LARGE = 200 * 2**30
GGUF, MODEL = TINY / "tiny-f16.gguf", TINY / "hf"


@asynccontextmanager
async def running(
    gateway: GatewayPeer, state: Path, *flags: str, engine: str = "scripted"
) -> AsyncIterator[PeerLink]:
    """A worker process, and its first link; it ends as it should when it is told to."""
    given = ("--gateway", gateway.url, "--engine", engine, "--state", str(state))
    process = await start(*given, "--grace-seconds", "1", *flags)
    try:
        yield await gateway.link(seconds=30)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), PATIENT_SECONDS)
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await asyncio.sleep(0.01)


async def ordered(state: Path, do: str, model: str = "") -> dict[str, Any]:
    return await asyncio.to_thread(give, state, Order(do, model), seconds=30)


async def said(link: PeerLink, model: str, words: str) -> str:
    sealed = seal(link.listing, chat(words, model=model), now=unix(), model=model)
    stream = await (await link.ask(sealed)).over(20)
    return open_answer(sealed, link.listing, bytes(stream.data)).text


async def test_a_model_is_loaded_and_unloaded_and_streams_go_on(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    async with running(gateway, tmp_path, "--model", "one") as first:
        slow = chat("pace: 20\ncount: 60", model="one")
        sealed = seal(first.listing, slow, now=unix(), model="one")
        stream = await first.ask(sealed)
        await until(lambda: stream.data)
        told = await ordered(tmp_path, "load", "two")
        assert told["models"] == ["one", "two"]
        second = await gateway.link(1)
        assert second.listing.worker == told["worker"] != first.listing.worker
        assert [one.id for one in second.listing.keyset.models] == ["one", "two"]
        assert {one.offer.model for one in second.listing.offers} == {"one", "two"}
        assert await said(second, "two", "say: hello from two") == "hello from two"
        assert not stream.is_over, "the old stream goes on"
        await stream.over(10)
        answer = open_answer(sealed, first.listing, bytes(stream.data))
        assert answer.text.split()[-1] == "60"
        assert answer.end is not None
        await until(lambda: first.is_lost)
        assert first.goaways[0].code == "draining"

        told = await ordered(tmp_path, "unload", "one")
        assert told["models"] == ["two"]
        third = await gateway.link(2)
        assert [one.id for one in third.listing.keyset.models] == ["two"]
        assert await said(third, "two", "say: still here") == "still here"
        with pytest.raises(SetupError, match="two is the only model"):
            await ordered(tmp_path, "unload", "two")
        with pytest.raises(SetupError, match="does not serve one; it has: two"):
            await ordered(tmp_path, "unload", "one")
        with pytest.raises(SetupError, match="serves two already"):
            await ordered(tmp_path, "load", "two")


async def test_a_second_llama_is_loaded_beside_the_first(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    pytest.importorskip("xllamacpp")
    flags = ("--model-path", str(GGUF), "--model", "a", "--threads", "1", "--also", f"b={GGUF}")
    async with running(gateway, tmp_path, *flags, engine="llamacpp") as first:
        assert [one.id for one in first.listing.keyset.models] == ["a", "b"]
        assert await said(first, "b", "Hello.")
        told = await ordered(tmp_path, "load", f"c={GGUF}")
        assert told["models"] == ["a", "b", "c"]
        second = await gateway.link(1)
        assert await said(second, "c", "Hello.")
        told = await ordered(tmp_path, "unload", "a")
        third = await gateway.link(2)
        assert [one.id for one in third.listing.keyset.models] == ["b", "c"]
        assert told["models"] == ["b", "c"]


async def test_a_model_that_no_gateway_takes_leaves_the_worker_as_it_was(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    async with running(gateway, tmp_path, "--model", "one") as first:
        gateway.refuse_with = Goaway(code="policy", message="two is not listed", retry=False)
        why = "no gateway takes the worker with these models.*two is not listed"
        with pytest.raises(SetupError, match=why):
            await ordered(tmp_path, "load", "two")
        async with asyncio.timeout(5):
            while (told := await ordered(tmp_path, "status"))["notices"]:
                await asyncio.sleep(0.01)  # it serves, so there is nothing to tell
        assert (told["worker"], told["models"]) == (first.listing.worker, ["one"])
        assert await said(first, "one", "say: as before") == "as before"


async def test_pause_lets_streams_end_and_resume_comes_back(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    async with running(gateway, tmp_path) as first:
        sealed = seal(first.listing, chat("pace: 20\ncount: 40"), now=unix())
        stream = await first.ask(sealed)
        await until(lambda: stream.data)
        assert (await ordered(tmp_path, "pause"))["paused"]
        await until(lambda: first.goaways)
        await stream.over(10)
        assert open_answer(sealed, first.listing, bytes(stream.data)).end is not None
        await until(lambda: first.is_lost)
        told = await ordered(tmp_path, "status")
        assert (told["paused"], told["gateways"]) == (True, [])
        assert not (await ordered(tmp_path, "resume"))["paused"]
        second = await gateway.link(1)
        assert await said(second, "scripted", "say: back") == "back"


async def test_the_socket_is_its_owners_and_refuses_nonsense(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    async with running(gateway, deep):
        assert (deep / SOCKET).stat().st_mode & 0o777 == 0o600
        with pytest.raises(SetupError, match="the orders are"):
            await ordered(deep, "dance")
        told = await ordered(deep, "status")
        assert told["state"]["sealed_by"] == "file"
        assert told["state"]["rollback"] == "unknown"
        assert (told["undisposed"], told["running"], told["notices"]) == (0, 0, [])
    assert not (deep / SOCKET).exists()
    with pytest.raises(SetupError, match="no worker runs on"):
        await ordered(deep, "status")


def _bombyx(*words: str) -> subprocess.CompletedProcess[bytes]:
    code = "from bombyx.cli.main import run; run()"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False)


async def test_the_command_line_gives_orders(gateway: GatewayPeer, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path))
    async with running(gateway, tmp_path, "--model", "one"):
        for words, models in (
            (("models", "load", "two", *state, "--json"), ["one", "two"]),
            (("models", "unload", "one", *state, "--json"), ["two"]),
            (("worker", "pause", *state, "--json"), ["two"]),
            (("worker", "resume", *state, "--json"), ["two"]),
        ):
            done = await asyncio.to_thread(_bombyx, *words)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["models"] == models
        done = await asyncio.to_thread(_bombyx, "worker", "status", *state)
        assert b"models two" in done.stdout
    done = await asyncio.to_thread(_bombyx, "worker", "pause", *state)
    assert done.returncode == 1
    assert b"no worker runs on" in done.stderr


def test_an_engine_that_is_not_ours_is_refused_precisely(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="load the model there, then start the worker again"):
        Wanted.parse("x", WorkerSettings(engine="openai"))
    assert Wanted.parse("x", WorkerSettings(engine="scripted")) == Wanted("x", None)
    file = tmp_path / "tiny.gguf"
    file.touch()
    settings = WorkerSettings(models=tmp_path)
    assert Wanted.parse(f"a={file}", settings) == Wanted("a", file)
    assert Wanted.parse(str(file), settings) == Wanted("tiny", file)
    with pytest.raises(SetupError, match="there is no model nobody"):
        Wanted.parse("nobody", settings)


def _is_read(file: Path) -> bool:
    """Whether a process that we started has the file open: it hashes it."""
    found: set[str] = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            found |= {one.path for one in child.open_files()}
    return str(file) in found


async def test_sigterm_ends_it_at_once_while_another_model_comes_in(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    pytest.importorskip("xllamacpp")
    sparse, state = tmp_path / "large.gguf", tmp_path / "state"
    with sparse.open("wb") as file:
        file.truncate(LARGE)
    flags = ("--model-path", str(GGUF), "--model", "a", "--threads", "1")
    async with running(gateway, state, *flags, engine="llamacpp"):
        loading = asyncio.create_task(ordered(state, "load", f"b={sparse}"))
        await until(lambda: _is_read(sparse), PATIENT_SECONDS)
        assert not loading.done()
    with pytest.raises(SetupError, match="cannot be asked"):
        await loading


async def test_sigterm_ends_it_at_once_while_a_model_is_being_read(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    """A large model is hashed for minutes, in a thread that nothing can cancel."""
    pytest.importorskip("xllamacpp")
    sparse = tmp_path / "large.gguf"
    with sparse.open("wb") as file:
        file.truncate(LARGE)
    process = await start(
        "--gateway", gateway.url, "--engine", "llamacpp", "--model-path", str(sparse),
        "--state", str(tmp_path / "state"),
    )  # fmt: skip
    await until(lambda: _is_read(sparse), PATIENT_SECONDS)
    os.kill(process.pid, signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), PATIENT_SECONDS)
    assert process.returncode == 0
    assert b"before the engine was ready" in err
    await asyncio.sleep(0.01)


def _toy_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "installed_version", lambda *_: "0.0.1")
    monkeypatch.setattr(launcher, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(launcher, "POLITE_SECONDS", 0.3)
    stand_in = dataclasses.replace(SGLANG, module="tests.worker.engine.fake_server")
    monkeypatch.setitem(engines._BRANDS, "sglang", stand_in)


async def test_a_second_server_is_supervised_beside_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _toy_server(monkeypatch)
    for name in ("first", "second"):
        shutil.copytree(MODEL, tmp_path / name)
    settings = WorkerSettings(
        engine="sglang", model_path=tmp_path / "first", model="first", engine_device="cpu"
    )
    residents = Residents(settings, tmp_path / "state", say=lambda _: None)
    served: list[list[str]] = []

    async def serve(models: Sequence[EngineModel]) -> "asyncio.Task[None]":
        served.append([one.id for one in models])
        return asyncio.create_task(asyncio.sleep(0))

    try:
        await residents.begin(build_engine(settings, state=tmp_path / "state", say=lambda _: None))
        assert await residents.load(f"second={tmp_path / 'second'}", serve) == ["second"]
        for name in ("first", "second"):
            subject = Subject(model=name, short="say a", long="hang", stop="x")
            events = await collect(residents.engine, request_of(subject, "say a", stream=True))
            assert events[-1].tokens.completion > 0
        assert set(residents.engine.troubles()) == {"first", "second"}
        before = residents.engine._engines["first"]
        assert isinstance(before, SupervisedEngine)
        server = before.pid
        await residents.unload("first", serve)
        await until(lambda: list(residents.engine.troubles()) == ["second"], 10)
        (tmp_path / "second" / "config.json").write_text("{}")
        with pytest.raises(BombyxError):
            await residents.load(f"third={tmp_path / 'second'}", serve)
        assert served == [["first", "second"], ["second"]]
        assert [one.id for one in residents.engine.models()] == ["second"]
    finally:
        await residents.close()  # also when a server is just being stopped
    assert server is not None
    assert not psutil.pid_exists(server)
