"""`bombyx owner init|earnings|claim|watch` against a devnet over HTTP."""

import asyncio
import hashlib
import json
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bombyx.cli import output
from bombyx.cli.main import main
from bombyx.money.channel.addresses import account_of
from bombyx.money.channel.payout_documents import SEEN_FILE
from tests.ton.channels.parties import GRAM
from tests.ton.owner.payouts.workers import Scene
from ton.chain.agreed import AgreedChain
from ton.devnet.chain import Devnet
from ton.devnet.process import Running
from worker.cli import worker
from worker.ledger.payout_books import Payee
from worker.paying import rules_of
from worker.settings import WorkerSettings

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


async def test_a_worker_takes_the_flags_that_init_prints(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(tmp_path / "owner")
    made = await run("init", "--folder", home)
    output._stdout.answered = False
    assert await asyncio.to_thread(main, ["owner", "init", "--folder", home]) == 0
    (line,) = (one for one in capsys.readouterr().out.splitlines() if "bombyx worker" in one)
    _, _, *flags = shlex.split(line)
    assert {one for one in flags if one.startswith("--")} == {"--wallet", "--payout-key"}
    context = get_command(worker).make_context("worker", flags)
    told = {name: context.params[name] for name in ("wallet", "payout_key")}
    assert told == {name: made[name] for name in told}
    assert rules_of(WorkerSettings(**told)).payee == Payee(
        account_of(made["wallet"]) or b"", bytes.fromhex(made["payout_key"])
    )


async def test_a_folder_that_is_none_is_named(run: Run, tmp_path: Path) -> None:
    refused = await run("earnings", "--state", str(tmp_path / "none"), code=1)
    assert "name it with --state" in refused["error"]["message"]


async def test_claim_is_not_done_where_no_worker_is_paid(
    run: Run, chain: AgreedChain, devnet: Devnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tmp_path / "words"
    words.write_text(hashlib.sha256(b"owner").hexdigest())
    words.chmod(0o600)
    scene = Scene(chain, devnet, tmp_path)
    await scene.deposit()
    scene.worker("new")
    (tmp_path / "all").mkdir()
    scene.worker("all/worker-0", [scene.held(GRAM)])
    scene.worker("all/worker-1")
    wallet = ("--folder", str(tmp_path / "owner"), "--mnemonic-file", str(words))
    named = ("--state", str(tmp_path / "all"), "--state", str(tmp_path / "new"))
    claimed = await run("claim", *named, *wallet, code=1)
    assert [one["paid_nano"] for one in claimed["claims"]] == [str(GRAM)]
    assert (await run("claim", *named[:2], *wallet))["claims"] == []
    assert not (tmp_path / "all" / SEEN_FILE).exists()
    shown = await asyncio.to_thread(main, ["owner", "earnings", *named])
    told = "".join(capsys.readouterr())
    assert shown == 0
    assert "voucher 1.00, claimable 0.00 GRAM" in told
    for folder in ("new", "all/worker-1"):
        assert f"{tmp_path / folder} holds no vouchers" in told
    assert "worker-0 holds" not in told


async def test_folders_that_cannot_be_made_are_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "x", Path("/proc/x")):
        refused = await run("init", "--folder", str(folder), code=1)
        assert f"cannot write {folder}/wallet.words: " in refused["error"]["message"]
    home = tmp_path / "owner"
    await run("init", "--folder", str(home))
    (home / "outbox").write_text("")
    (tmp_path / "w").mkdir()
    refused = await run("claim", "--state", str(tmp_path / "w"), "--folder", str(home), code=1)
    assert f"{home}/outbox cannot be a wallet's outbox" in refused["error"]["message"]


async def test_a_gateway_that_is_none_is_named(run: Run, tmp_path: Path) -> None:
    refused = await run("status", "--state", str(tmp_path), "--gateway", "http://[", code=1)
    assert "http://[ is no gateway" in refused["error"]["message"]


@pytest.mark.parametrize("command", ["claim", "watch"])
async def test_without_a_wallet_the_command_that_makes_one_is_named(
    run: Run, chain: AgreedChain, devnet: Devnet, tmp_path: Path, command: str
) -> None:
    scene = Scene(chain, devnet, tmp_path)
    folder = str(scene.worker("a"))
    home = str(tmp_path / "none")
    refused = await run(command, "--state", folder, "--folder", home, code=1)
    assert "`bombyx owner init` makes one" in refused["error"]["message"]


async def test_the_network_of_the_wallet_is_named(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, shown = str(tmp_path / "owner"), []
    for network in ("-239", "7"):
        monkeypatch.setenv("BOMBYX_TON_NETWORK", network)
        capsys.readouterr()
        assert await asyncio.to_thread(main, ["owner", "init", "--folder", home]) == 0
        shown.append(capsys.readouterr().out)
    assert "an address of mainnet" in shown[0]
    assert "an address of a devnet" in shown[1]
    assert shown[0].split()[3] != shown[1].split()[3]
