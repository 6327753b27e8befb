"""A gateway process from its ready line to its last settlement."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import structlog

import bombyx
from bombyx.attestation.policy import ModelRules, Policy, SimulatedRules, render_policy
from bombyx.attestation.simulated import image_measurement
from bombyx.cli import output
from bombyx.cli.main import main
from bombyx.errors import PolicyError, SetupError
from gateway.parent import die_with
from gateway.serve import bind, read_policy
from worker.app import Parts, Worker
from worker.attest.simulated import SimulatedQuoter
from worker.attest.simulated_root import SimulatedRoot, root_sha256
from worker.clock import now_ms
from worker.engine.scripted import Scripted, ScriptedEngine
from worker.ledger.journal import Journal
from worker.settings import WorkerSettings


def test_a_policy_is_needed_and_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="--policy"):
        read_policy(None)
    with pytest.raises(PolicyError, match="cannot read"):
        read_policy(tmp_path / "absent")
    (tmp_path / "torn").write_text("= no TOML")
    with pytest.raises(PolicyError, match="not TOML"):
        read_policy(tmp_path / "torn")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="not TOML"):
        read_policy(tmp_path / "binary")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_busy_port_is_one_sentence(host: str) -> None:
    with bind(host, 0) as sock, pytest.raises(SetupError, match="cannot listen"):
        bind(host, sock.getsockname()[1])


def test_an_address_that_is_not_ours_is_one_sentence() -> None:
    with pytest.raises(SetupError, match="cannot listen"):
        bind("192.0.2.1", 0)


@dataclass
class Process:
    """A gateway of its own, and what a client needs."""

    folder: Path
    root: SimulatedRoot
    policy: Policy
    process: asyncio.subprocess.Process
    ready: dict[str, Any]
    api_key: str

    def client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=self.ready["url"] + "/v1",
            api_key=self.api_key,
            http_client=bombyx.async_http_client(policy=self.policy),
            max_retries=0,
        )


async def command(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BOMBYX_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "bombyx", *arguments, "--state", str(folder), "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=kept,
    )  # fmt: skip


@asynccontextmanager
async def gateway(folder: Path, *flags: str) -> AsyncIterator[Process]:
    root = SimulatedRoot.create(now=int(time.time()))  # noqa: TID251 - a shell of its own
    policy = Policy(
        version=1,
        network="local",
        platforms=("simulated",),
        simulated=SimulatedRules(
            roots=(root_sha256(root),),
            mr_td=(image_measurement(version("bombyx")).hex(),),
            accepted_tcb=("UpToDate",),
        ),
        models=tuple(
            ModelRules(name=model.id, weights=(model.weights,), engines=(model.engine,))
            for model in ScriptedEngine(Scripted()).models()
        ),
    )
    (folder / "policy.toml").write_text(render_policy(policy))
    process = await command(
        folder, "gateway", "--port", "0", "--policy", str(folder / "policy.toml"), *flags
    )
    try:
        assert process.stdout is not None
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        keys = await command(folder, "keys", "create", "--credit-nano", str(10**12))
        made = json.loads((await keys.communicate())[0])
        yield Process(folder, root, policy, process, ready, made["api_key"])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def worker(served: Process) -> AsyncIterator[Worker]:
    engine = ScriptedEngine(Scripted())
    image = image_measurement(version("bombyx"))
    quoter = SimulatedQuoter(served.root, image=image, clock=lambda: now_ms() // 1000)
    journal = await Journal.open(served.folder / "worker.db")
    settings = WorkerSettings(gateway=(served.ready["url"],), wallet="w", grace_seconds=1)
    one = await Worker.create(settings, Parts(engine, engine.models(), quoter, journal, now_ms))
    one.start()
    try:
        await asyncio.wait_for(one.linked.wait(), 10)
        yield one
    finally:
        await one.close()
        await journal.close()


async def test_sigterm_lets_streams_finish_and_writes_their_settlements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))
    async with gateway(tmp_path) as served, worker(served):
        assert served.ready["pid"] == served.process.pid
        client = served.client()
        stream = await client.chat.completions.create(
            model="scripted",
            messages=[{"role": "user", "content": "pace: 20\ncount: 60"}],
            stream=True,
        )
        text = ""
        async for chunk in stream:
            if not text:
                served.process.send_signal(signal.SIGTERM)
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        assert text.split()[-1] == "60"
        ended = time.monotonic()
        assert await asyncio.wait_for(served.process.wait(), 20) == 0
        assert time.monotonic() - ended < 3  # nothing is waited for that cannot come
        await client.close()
    books = sqlite3.connect(tmp_path / "gateway.db")
    (claims,) = books.execute("SELECT count(*), sum(state = 'settled'), sum(charge > 0) FROM claim")
    assert claims == (1, 1, 1)
    assert books.execute("SELECT disposition FROM receipt").fetchall() == [("billed",)]
    assert books.execute("SELECT sum(amount_nano) FROM ledger_entry").fetchone() == (0,)
    books.close()


async def test_an_idle_gateway_stops_at_once_and_nothing_new_is_taken_meanwhile(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path, "--die-with-parent") as served:
        async with httpx2.AsyncClient(trust_env=False) as http:
            ready = await http.get(served.ready["url"] + "/readyz")
            assert ready.json() == {"status": "ready"}
        served.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(served.process.wait(), 10) == 0


def test_a_gateway_without_policy_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BOMBYX_")]:
        monkeypatch.delenv(name)
    output._stdout.answered = False
    try:
        assert main(["gateway", "--state", str(tmp_path), "--port", "0", "--json"]) == 1
    finally:
        structlog.reset_defaults()  # the command logs to the stderr that this test has now
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "policy_error"


def test_an_orphan_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: _Kernel())
    with pytest.raises(SystemExit):
        die_with()
    monkeypatch.setattr(sys, "platform", "darwin")
    die_with()


class _Kernel:
    def prctl(self, *_: int) -> int:
        return 0
