"""A worker for each group: both ready before it is said, restarted alone, stopped together."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog

from bombyx.cli.output import Output
from bombyx.errors import SetupError
from worker.gpu.supervise import MAX_CRASHES, Crew, Pace, arguments, serve_groups
from worker.settings import WorkerSettings

# Notes how it was called, says that it is ready, and stays until it is told to go.
STAYS = """
import json, os, pathlib, signal, sys
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
state = pathlib.Path(flags["--state"])
state.mkdir(parents=True, exist_ok=True)
with (state / "pids").open("a") as file:
    file.write(f"{os.getpid()}\\n")
print(json.dumps({"no": "ready line"}), flush=True)
print(json.dumps({"worker": "w" + flags["--gpus"], "argv": sys.argv[1:]}), flush=True)
signal.pause()
"""
DIES = "raise SystemExit(3)"
QUICK = Pace(first=0.01, last=0.02, steady=60.0, stop=2.0)


@pytest.fixture(autouse=True)
def _logs_as_before() -> object:
    yield
    structlog.reset_defaults()


def crew(folder: Path, program: str, **flags: Any) -> Crew:
    called = (sys.executable, "-c", program)
    return Crew(flags, folder, grace_seconds=0, pace=QUICK, program=called)


async def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    out = ""
    while not out:
        await asyncio.sleep(0.01)
        out = capsys.readouterr().out
    document: dict[str, Any] = json.loads(out)
    return document


def pids(folder: Path, group: str) -> list[int]:
    return [int(line) for line in (folder / f"gpu-{group}" / "pids").read_text().split()]


async def until_restarted(folder: Path, group: str, before: int) -> int:
    async with asyncio.timeout(10):
        while len(pids(folder, group)) <= before:
            await asyncio.sleep(0.01)
    return pids(folder, group)[-1]


async def test_groups_are_ready_together_restart_alone_and_stop_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = crew(tmp_path, STAYS, model="m", gateway=("http://a", "http://b"), threads=None)
    running = asyncio.create_task(serve_groups([(0, 1), (2,)], one, Output(as_json=True)))
    ready = await asyncio.wait_for(printed(capsys), 20)
    first, second = ready["workers"]
    assert (first["gpus"], first["worker"]) == ("0-1", "w0-1")
    assert (second["gpus"], second["worker"]) == ("2", "w2")
    assert first["argv"][:8] == [
        "--model", "m", "--gateway", "http://a", "--gateway", "http://b", "--gpus", "0-1",
    ]  # fmt: skip
    assert first["argv"][-1] == "--json"
    others = pids(tmp_path, "2")
    os.kill(pids(tmp_path, "0-1")[0], signal.SIGKILL)
    again = await until_restarted(tmp_path, "0-1", 1)
    assert pids(tmp_path, "2") == others
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 10)
    assert not psutil.pid_exists(again)
    assert not psutil.pid_exists(others[0])
    assert capsys.readouterr().out == ""


async def test_groups_that_cannot_be_kept_running_are_given_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = crew(tmp_path, DIES)
    with pytest.raises(SetupError, match="no group of GPUs keeps running"):
        await asyncio.wait_for(serve_groups([(0,), (1,)], one, Output(as_json=True)), 30)
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one["event"] for one in events].count("group_given_up") == 2
    ended = [one for one in events if one["event"] == "group_ended"]
    assert len(ended) == 2 * MAX_CRASHES
    assert {one["code"] for one in ended} == {3}


async def test_a_group_that_ignores_sigterm_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAYS
    pace = Pace(first=0.01, last=0.02, stop=0.05)
    one = Crew({}, tmp_path, grace_seconds=0, pace=pace, program=(sys.executable, "-c", deaf))
    running = asyncio.create_task(serve_groups([(0,)], one, Output(as_json=True)))
    await asyncio.wait_for(printed(capsys), 20)
    (pid,) = pids(tmp_path, "0")
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(running, 10)
    assert not psutil.pid_exists(pid)


def test_a_group_is_called_as_its_owner_called_the_worker(tmp_path: Path) -> None:
    settings = WorkerSettings(grace_seconds=7)
    one = Crew.of({"price_prompt": 7}, settings, tmp_path, config=Path("b.toml"))
    command = one.command((4, 5))
    assert one.grace_seconds == 7
    assert command[:4] == [sys.executable, "-m", "bombyx", "worker"]
    assert command[4:] == [
        "--price-prompt", "7", "--gpus", "4-5", "--state", str(tmp_path / "gpu-4-5"),
        "--config", "b.toml", "--die-with-parent", "--json",
    ]  # fmt: skip
    assert arguments({"a_b": None, "c": (), "d": [1]}) == ["--d", "1"]
