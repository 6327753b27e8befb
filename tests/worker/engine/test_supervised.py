"""A server that the worker starts itself: what it is given, how it is watched, how it ends."""

import asyncio
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bombyx.errors import EngineFailed, EngineTimeout, SetupError
from bombyx.manifest import ManifestEngine
from bombyx.money.cost import Tokens
from tests.worker.engine.contract import Subject, collect, request_of
from worker.engine import supervised
from worker.engine.port import EngineRequest, Load
from worker.engine.server import launcher
from worker.engine.server.launcher import ServerLauncher
from worker.engine.server.plan import Brand, ServerPlan
from worker.engine.server.sglang import SGLANG
from worker.engine.server.vllm import VLLM
from worker.engine.supervised import SupervisedEngine
from worker.models.manifests import build_manifest, write_manifest

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "tests" / "fixtures" / "tiny-llama" / "hf"
TOY = Subject(model="toy", short="say a b c", long="hang", stop="x")
BRANDS = [SGLANG, VLLM]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "installed_version", lambda *_: "0.0.1")
    monkeypatch.setattr(launcher, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(launcher, "POLITE_SECONDS", 0.3)
    monkeypatch.setattr(supervised, "FIRST_BACKOFF_SECONDS", 0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "model"
    shutil.copytree(MODEL, target)
    return target


def plan(folder: Path, **changes: Any) -> ServerPlan:
    given = {"slots": 8, "ready_seconds": 20.0, "idle_seconds": 5.0, **changes}
    name = given.pop("model", "toy")
    return ServerPlan(folder, name, Path(sys.executable), folder.parent / "scratch", **given)


def build(brand: Brand, folder: Path, **changes: Any) -> SupervisedEngine:
    stand_in = dataclasses.replace(brand, module="tests.worker.engine.fake_server")
    return SupervisedEngine(ServerLauncher(stand_in, plan(folder, **changes)))


@asynccontextmanager
async def running(brand: Brand, folder: Path, **changes: Any) -> AsyncIterator[SupervisedEngine]:
    engine = build(brand, folder, **changes)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def asked(prompt: str, **fields: Any) -> EngineRequest:
    return request_of(TOY, prompt, stream=True, **fields)


async def told(engine: SupervisedEngine) -> dict[str, Any]:
    found: dict[str, Any] = await engine._server()._get("/told")
    return found


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def answers(engine: SupervisedEngine) -> bool:
    try:
        await collect(engine, asked("say a"))
    except EngineFailed:
        return False
    return True


@pytest.mark.parametrize("brand", BRANDS, ids=lambda brand: brand.name)
@pytest.mark.parametrize("choices", [1, 3])
async def test_answers_are_counted_by_their_token_ids(
    brand: Brand, choices: int, folder: Path
) -> None:
    async with running(brand, folder) as engine:
        assert await engine.count_prompt("/v1/chat/completions", asked("say a").body) == 7
        events = await collect(engine, asked("say a b c", n=choices))
        assert events[-1].tokens == Tokens(prompt=7, completion=4 * choices)
        with pytest.raises(EngineFailed, match="token ids"):
            await collect(engine, asked("lie a b c", n=choices))


@pytest.mark.parametrize("brand", BRANDS, ids=lambda brand: brand.name)
async def test_a_stream_that_is_cut_is_counted_over_all_its_choices(
    brand: Brand, folder: Path
) -> None:
    async with running(brand, folder, idle_seconds=0.3) as engine:
        run = engine.run(asked("hang well b c", n=2))
        seen = [await anext(run) for _ in range(2 + 3 * 2)]
        with pytest.raises(EngineTimeout):
            await anext(run)
        assert seen[-1].tokens == Tokens(prompt=7, completion=6)


async def test_an_answer_without_token_ids_is_refused_where_they_were_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engine.flavour._CHAT_IDS", ())
    async with running(SGLANG, folder) as engine:
        with pytest.raises(EngineFailed, match="did not show"):
            await collect(engine, asked("say a"))


@pytest.mark.parametrize("brand", BRANDS, ids=lambda brand: brand.name)
async def test_the_load_is_the_servers_own(brand: Brand, folder: Path) -> None:
    async with running(brand, folder) as engine:
        run = engine.run(asked("hang well"))
        await anext(run)
        expected = Load(1, 2, 6) if brand is SGLANG else Load(1, 0, 8)
        assert await engine.load() == expected
        await run.aclose()


async def test_who_leaves_is_aborted_by_the_name_of_its_request(folder: Path) -> None:
    async with running(SGLANG, folder) as engine:
        request = asked("hang well")
        run = engine.run(request)
        await anext(run)
        await run.aclose()

        async def is_told() -> bool:
            return bool((await told(engine))["aborted"] == [request.request_id])

        await until(is_told, 1)


@pytest.mark.parametrize("brand", BRANDS, ids=lambda brand: brand.name)
async def test_a_server_gets_safe_flags_and_no_environment_of_ours(
    brand: Brand, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BOMBYX_SECRET", "SGLANG_LOG_REQUESTS", "VLLM_SERVER_DEV_MODE", "HF_TOKEN"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    async with running(brand, folder) as engine:
        found = await told(engine)
        environ, argv = found["environ"], found["argv"]
        assert environ["CUDA_VISIBLE_DEVICES"] == "0,1"
        assert environ["HF_HUB_OFFLINE"] == "1"
        assert not {
            "BOMBYX_SECRET",
            "SGLANG_LOG_REQUESTS",
            "VLLM_SERVER_DEV_MODE",
            "HF_TOKEN",
        } & set(environ)
        assert argv[argv.index("--host") + 1] == "127.0.0.1"
        assert argv[argv.index("--allowed-media-domains") + 1].endswith(".invalid")
        forbidden = ("trust", "log-requests-level", "crash", "custom-logit", "middleware")
        assert not [word for word in argv if any(bad in word for bad in forbidden)]
        assert "--log-requests" not in argv
        assert engine.pid is not None
        process = psutil.Process(engine.pid)
        key = engine._server()._server.api_key
        assert len(key) == 48
        assert key not in " ".join(process.cmdline())
        assert key not in repr(engine._server()._server)


async def test_keys_are_drawn_anew_at_each_start(folder: Path) -> None:
    keys = set()
    for _ in range(2):
        async with running(SGLANG, folder) as engine:
            server = engine._server()._server
            keys |= {server.api_key, server.admin_key}
    assert len(keys) == 4


async def test_a_server_that_dies_fails_its_requests_and_is_started_again(folder: Path) -> None:
    async with running(SGLANG, folder) as engine:
        first = engine.pid
        run = engine.run(asked("die a b"))
        with pytest.raises(EngineFailed):
            async for _ in run:
                pass

        async def is_replaced() -> bool:
            return engine.pid not in (None, first) and await answers(engine)

        await until(is_replaced)


async def test_between_two_lives_there_is_no_load_and_no_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "FIRST_BACKOFF_SECONDS", 5)
    async with running(SGLANG, folder) as engine:
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)

        async def is_gone() -> bool:
            return engine.pid is None

        await until(is_gone)
        with pytest.raises(EngineFailed, match="starting again"):
            await engine.load()
        with pytest.raises(EngineFailed):
            engine.run(asked("say a"))


async def test_a_server_that_hangs_is_killed_and_started_again(folder: Path) -> None:
    async with running(SGLANG, folder, idle_seconds=0.2) as engine:
        first = engine.pid
        with pytest.raises(EngineTimeout):
            await collect(engine, asked("hang"))

        async def is_replaced() -> bool:
            return engine.pid not in (None, first) and await answers(engine)

        await until(is_replaced, 15)


async def test_a_slow_answer_of_a_healthy_server_does_not_end_it(folder: Path) -> None:
    async with running(SGLANG, folder, idle_seconds=0.2) as engine:
        first = engine.pid
        with pytest.raises(EngineTimeout):
            await collect(engine, asked("hang well"))
        await asyncio.sleep(0.1)
        assert engine.pid == first
        assert await answers(engine)
        assert not engine._server().suspect.is_set()


async def test_a_folder_that_changed_is_not_served_again(folder: Path) -> None:
    async with running(SGLANG, folder) as engine:
        weights = bytearray((folder / "model.safetensors").read_bytes())
        weights[-1] ^= 1
        (folder / "model.safetensors").write_bytes(weights)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        await asyncio.sleep(0.2)
        for _ in range(10):
            assert not await _serves(engine)
            await asyncio.sleep(0.05)
        await until(lambda: _told_of(engine, "are not what this worker attested"))


async def _told_of(engine: SupervisedEngine, words: str) -> bool:
    return words in (engine.trouble or "")


async def _serves(engine: SupervisedEngine) -> bool:
    try:
        await engine.load()
    except EngineFailed:
        return False
    return True


async def test_a_start_that_fails_says_why_without_our_keys(folder: Path) -> None:
    with pytest.raises(EngineFailed, match="it sees no GPU") as caught:
        await build(SGLANG, folder, model="broken").start()
    assert "RuntimeError: no accelerator, key …" in str(caught.value)


async def test_a_server_that_is_never_ready_is_given_up(folder: Path) -> None:
    stand_in = dataclasses.replace(
        SGLANG, module="tests.worker.engine.fake_server", ready_path="/nothing"
    )
    engine = SupervisedEngine(ServerLauncher(stand_in, plan(folder, ready_seconds=0.8)))
    with pytest.raises(EngineFailed, match="not ready in time"):
        await engine.start()


async def test_closing_leaves_no_process(folder: Path) -> None:
    engine = build(VLLM, folder)
    await engine.start()
    pid = engine.pid
    assert pid is not None
    assert os.getpgid(pid) == pid
    await engine.close()
    await engine.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(EngineFailed):
        await engine.load()


async def test_a_worker_that_is_killed_takes_its_server_along(folder: Path) -> None:
    program = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from worker.engine.server import launcher\n"
        "from tests.worker.engine.test_supervised import SGLANG, build\n"
        "launcher.installed_version = lambda *_: '1'\n"
        "async def main():\n"
        f"    engine = build(SGLANG, Path({str(folder)!r}))\n    await engine.start()\n"
        "    print(engine.pid, flush=True)\n    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()

    async def is_gone() -> bool:
        return not psutil.pid_exists(child) or (
            psutil.Process(child).status() == psutil.STATUS_ZOMBIE
        )

    await until(is_gone, 3)


async def test_the_record_is_of_files_version_and_flags_and_needs_no_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = build(SGLANG, folder)
    await engine.examine()
    (record,) = engine.models()
    assert engine.pid is None
    assert (record.id, record.context) == ("toy", 2048)

    async def other(**changes: Any) -> Any:
        made = build(SGLANG, folder, **changes)
        await made.examine()
        return made.models()[0]

    assert await other() == record
    assert (await other(context=512)).context == 512
    assert (await other(context=9999)).context == 2048
    for changes in ({"tool_parser": "qwen25"}, {"flags": ("--dtype=bfloat16",)}):
        changed = await other(**changes)
        assert changed.engine != record.engine
        assert changed.weights == record.weights
    monkeypatch.setattr(launcher, "installed_version", lambda *_: "0.0.2")
    assert (await other()).engine != record.engine
    (folder / "vocab.json").write_text("{}")
    assert (await other()).weights != record.weights


async def test_a_manifest_names_parsers_context_and_flags(folder: Path) -> None:
    flags = {"tool_call_parser": "qwen25", "context_length": "1024", "tp_size": "2"}
    asks = ManifestEngine(name="sglang", flags=flags)
    write_manifest(folder, build_manifest(folder, engine=asks))
    async with running(SGLANG, folder, flags=("--dtype", "bfloat16")) as engine:
        argv = (await told(engine))["argv"]
        assert engine.models()[0].context == 1024
    for name, value in (("tool-call-parser", "qwen25"), ("tp-size", "2"), ("dtype", "bfloat16")):
        assert argv[argv.index("--" + name) + 1] == value
    with pytest.raises(SetupError, match="for the engine sglang"):
        await build(VLLM, folder).start()
    write_manifest(
        folder,
        build_manifest(folder, engine=ManifestEngine(name="sglang", flags={"log_requests": ""})),
    )
    with pytest.raises(SetupError, match="may not be given --log-requests"):
        await build(SGLANG, folder).start()


@pytest.mark.parametrize(
    "flags",
    [
        ("--trust-remote-code",),
        ("--log-requests",),
        ("--host", "0.0.0.0"),
        ("--api-key=x",),
        ("--tp-size",),
        ("--tp-size", "--log-requests"),
        ("--dtype=../x",),
        ("bare",),
    ],
)
def test_flags_off_the_allow_list_are_refused(flags: tuple[str, ...], folder: Path) -> None:
    with pytest.raises(SetupError):
        build(SGLANG, folder, flags=flags)


async def test_what_is_not_installed_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(SetupError, match="--engine-python"):
        await build(SGLANG, folder).start()
    missing = plan(folder)
    missing = dataclasses.replace(missing, python=folder / "no-python")
    with pytest.raises(SetupError, match="has no vllm"):
        await SupervisedEngine(ServerLauncher(VLLM, missing)).start()
