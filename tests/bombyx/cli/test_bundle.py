"""`bombyx verify --save` and `--bundle`: a decision on disk, and the same decision from it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bombyx.attestation.bundle import read_bundle
from bombyx.attestation.policy import policy_hash, render_policy
from bombyx.cli import output
from bombyx.cli.main import main
from bombyx.client import opening
from tests.bombyx.client.peer import Peer, Received, Reply, entry, policy, serve
from tests.factories import MODEL, NOW, worker


@pytest.fixture
def policy_file(tmp_path: Path) -> str:
    path = tmp_path / "policy.toml"
    path.write_text(render_policy(policy()), encoding="utf-8")
    return str(path)


@pytest.fixture
def peer() -> Peer:
    return Peer(entries=[entry(worker("a")), entry(worker("b"))])


@pytest.fixture
async def url(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setattr(opening, "unix_seconds", lambda: NOW)
    async with serve(peer) as origin:
        yield origin


async def verify(*arguments: str) -> int:
    output._stdout.answered = False
    return await asyncio.to_thread(main, ["verify", *arguments])


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def content(path: Path | str) -> bytes:
    return Path(path).read_bytes()


def rewrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.mark.spec("17.12-a")
async def test_a_saved_decision_is_checked_again_without_the_gateway(
    url: str, policy_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "made" / "here"
    args = (url, "--model", MODEL, "--policy", policy_file, "--save", str(folder), "--json")
    assert await verify(*args) == 0
    saved = told(capsys)["saved"]
    assert saved == [str(folder / f"{worker(name).id}.json") for name in ("a", "b")]
    assert await verify("--bundle", saved[0], "--json") == 0
    found = told(capsys)
    assert (found["ok"], found["reproduced"], found["accepted"]) == (True, True, True)
    assert (found["worker"], found["at"]) == (worker("a").id, NOW)
    assert found["policy"] == policy_hash(policy())
    assert {step["name"]: step["result"] for step in found["steps"]}["measurement"] == "pass"
    assert await verify("--bundle", saved[0]) == 0
    shown = capsys.readouterr().out
    assert "accepted, and reproduced" in shown
    assert "may be sealed to" in shown


@pytest.mark.spec("17.12-a")
async def test_ones_own_policy_is_asked_about_an_old_decision(
    url: str, policy_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = (url, "--model", MODEL, "--policy", policy_file, "--save", str(tmp_path / "b"))
    assert await verify(*args, "--json") == 0
    saved = told(capsys)["saved"][0]
    assert await verify("--bundle", saved, "--policy", policy_file) == 0
    assert await verify("--bundle", saved, "--policy", "hardware", "--json") == 1
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["ok"] is False
    assert "your policy refuses it: platform_allowed" in err


async def test_a_refusal_is_saved_and_reproduced_as_one(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = (url, "--model", MODEL, "--policy", "hardware", "--save", str(tmp_path), "--json")
    assert await verify(*args) == 1
    saved = told(capsys)["saved"][0]
    assert read_bundle(content(saved)).decision.accepted is False
    assert await verify("--bundle", saved) == 1
    out, err = capsys.readouterr()
    assert "REFUSED, and reproduced" in out
    assert "the decision was to refuse the worker" in err


def always(reply: Reply) -> Callable[[Peer, Received], Reply]:
    return lambda _peer, _received: reply


@pytest.mark.spec("17.12-a")
async def test_a_bundle_that_does_not_hold_exits_1_with_its_code(
    url: str, policy_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = (url, "--model", MODEL, "--policy", policy_file, "--save", str(tmp_path), "--json")
    assert await verify(*args) == 0
    path = Path(told(capsys)["saved"][0])
    good = content(path)
    for bad, code in (
        (good.replace(b"UpToDate", b"UpToDates", 1), "bundle_altered"),
        (good[:-1], "bundle_malformed"),
        (b" " * (8 * 2**20 + 1), "bundle_too_large"),
    ):
        rewrite(path, bad)
        assert await verify("--bundle", str(path), "--json") == 1
        assert told(capsys)["error"]["code"] == code
    assert await verify("--bundle", str(tmp_path / "none"), "--json") == 1
    assert told(capsys)["error"]["code"] == "setup_error"
    taken = tmp_path / "file"
    taken.write_text("", encoding="utf-8")
    assert await verify(*args[:-2], str(taken), "--json") == 1
    assert "cannot be written" in told(capsys)["error"]["message"]


async def test_without_a_model_every_model_of_the_gateway_is_examined(
    url: str, policy_file: str, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await verify(url, "--policy", policy_file, "--json") == 0
    found = told(capsys)
    assert (found["models"], len(found["workers"])) == ([MODEL], 2)
    assert {one["model"] for one in found["workers"]} == {MODEL}
    for body, why in (
        (b'{"data":[]}', "no worker is linked"),
        (b"{}", "none"),
        (b'{"data":1}', "none"),
        (b"?", "none"),
    ):
        peer.instead = always(Reply(200, "application/json", [body]))
        assert await verify(url, "--policy", policy_file, "--json") == 1
        assert why in told(capsys)["error"]["message"]


@pytest.mark.spec("17.3-b")
@pytest.mark.parametrize("name", ["hardware", "hardware-strict"])
async def test_a_preset_stands_for_a_file_and_refuses_a_simulated_worker_in_a_sentence(
    url: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await verify(url, "--model", MODEL, "--policy", name) == 1
    out, err = capsys.readouterr()
    assert "FAIL platform_allowed" in out
    assert err.strip() == (
        f"no worker of {MODEL} passes the policy: the policy does not name the platform "
        "`simulated`: no hardware keeps what is sent there from its owner"
    )


async def test_each_step_names_the_factors_of_the_checklist_that_it_answers_for(
    url: str, policy_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await verify(url, "--model", MODEL, "--policy", policy_file, "--json") == 0
    steps = {one["name"]: one["factors"] for one in told(capsys)["workers"][0]["steps"]}
    assert steps["certificate_chain"] == ["tee_cert_chain"]
    assert "nvidia_signature" in steps["gpu_evidence"]
    assert steps["sealing_key"] == []
