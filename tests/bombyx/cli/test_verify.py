"""`bombyx verify` and `bombyx policy show`: the whole argument for each worker, or why not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bombyx.attestation.policy import policy_hash, render_policy
from bombyx.attestation.steps import SIMULATED_UNKNOWN, StepName
from bombyx.cli.main import main
from bombyx.client import opening
from tests.bombyx.client.peer import Peer, Reply, entry, policy, serve
from tests.factories import MODEL, NOW, hex_of, worker


@pytest.fixture
def peer() -> Peer:
    return Peer(entries=[entry(worker("a"))])


@pytest.fixture
async def url(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setattr(opening, "unix_seconds", lambda: NOW)
    async with serve(peer) as origin:
        yield f"{origin}/v1"


@pytest.fixture
def policy_file(tmp_path: Path) -> str:
    path = tmp_path / "policy.toml"
    path.write_text(render_policy(policy()), encoding="utf-8")
    return str(path)


async def run(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["verify", "--model", MODEL, *arguments])


async def test_each_step_is_listed_with_its_result(
    url: str, policy_file: str, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await run("--url", url, "--policy", policy_file, "--api-key", "sk-1", "--json")
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    (one,) = told["workers"]
    assert (one["worker"], one["verified"]) == (worker("a").id, True)
    results = {step["name"]: step["result"] for step in one["steps"]}
    assert list(results) == [str(name) for name in StepName]
    unknown = {str(name) for name in SIMULATED_UNKNOWN}
    assert {name for name, result in results.items() if result == "unknown"} == unknown
    assert "fail" not in results.values()
    assert peer.received[0].headers["authorization"] == "Bearer sk-1"


def rewrite(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")


async def test_a_refused_worker_shows_the_step_and_exits_1(
    url: str, policy_file: str, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.entries = [entry(worker("c"))]
    rewrite(policy_file, render_policy(policy(platforms=[])))
    assert await run("--url", url, "--policy", policy_file) == 1
    said = capsys.readouterr()
    assert "REFUSED" in said.out
    assert "FAIL platform_allowed" in said.out
    assert "passes the policy" in said.err


async def test_a_gateway_that_is_not_pinned_or_not_there_is_refused(
    url: str, policy_file: str, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.gateway = hex_of("strange")
    assert await run("--url", url, "--policy", policy_file) == 1
    peer.instead = lambda _peer, _got: Reply(401, "application/json", [b"{}"])
    assert await run("--url", url, "--policy", policy_file) == 1
    assert await run("--url", "http://127.0.0.1:9", "--policy", policy_file) == 1
    assert await run("--policy", policy_file) == 1
    shown = capsys.readouterr().err
    assert "pins" in shown
    assert "401" in shown
    assert "cannot be reached" in shown
    assert "--url" in shown


def test_a_policy_is_shown_in_its_one_spelling(
    policy_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "show", policy_file, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["hash"] == policy_hash(policy())
    assert told["policy"]["platforms"] == ["simulated"]
    assert main(["policy", "show", policy_file]) == 0
    assert render_policy(policy()).splitlines()[0] in capsys.readouterr().out


def test_the_clock_of_verification_is_the_machines() -> None:
    assert abs(opening.unix_seconds() - time.time()) < 5  # noqa: TID251
