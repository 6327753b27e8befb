"""`bombyx owner init|earnings|claim|watch` against a devnet over HTTP."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bombyx.cli import output
from bombyx.cli.main import main
from tests.ton.channels.parties import GRAM
from tests.ton.owner.payouts.workers import Scene
from ton.chain.agreed import AgreedChain
from ton.devnet.chain import Devnet
from ton.devnet.process import Running

Run = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, running: Running
) -> Run:
    monkeypatch.setenv("BOMBYX_TON_PROVIDERS", json.dumps([f"{running.url}/api/v2"]))
    monkeypatch.setenv("BOMBYX_TON_REQUESTS_PER_SECOND", "1000")

    async def ran(*arguments: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        output._stdout.answered = False
        found = await asyncio.to_thread(main, ["owner", *arguments, "--json"])
        told = capsys.readouterr()
        assert found == code, told.err
        (line,) = (line for line in told.out.splitlines() if line.startswith("{"))
        document: dict[str, Any] = json.loads(line)
        return document

    return ran


async def test_an_owner_begins_looks_and_claims(
    run: Run, chain: AgreedChain, devnet: Devnet, tmp_path: Path
) -> None:
    home = str(tmp_path / "owner")
    made = await run("init", "--folder", home)
    assert await run("init", "--folder", home) == made
    assert len(made["payout_key"]) == 64
    words = tmp_path / "words"
    words.write_text(hashlib.sha256(b"owner").hexdigest())
    words.chmod(0o600)
    scene = Scene(chain, devnet, tmp_path)
    await scene.deposit()
    folder = str(scene.worker("a", [scene.held(2 * GRAM)]))
    told = await run("earnings", "--state", folder)
    (shown,) = told["channels"]
    assert (shown["state"], shown["claimable_nano"]) == ("open", str(2 * GRAM))
    assert told["gap_nano"] == "0"
    with_wallet = ("--folder", home, "--mnemonic-file", str(words))
    claimed = await run("claim", "--state", folder, *with_wallet)
    (claim,) = claimed["claims"]
    assert (claim["paid_nano"], claim["exit_code"]) == (str(2 * GRAM), 0)
    assert claimed["channels"][0]["claimed_nano"] == str(2 * GRAM)
    assert (await run("claim", "--state", folder, *with_wallet))["claims"] == []


async def test_a_folder_that_is_none_is_named(run: Run, tmp_path: Path) -> None:
    refused = await run("earnings", "--state", str(tmp_path / "none"), code=1)
    assert "name it with --state" in refused["error"]["message"]
