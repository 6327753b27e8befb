"""`bombyx channel`, from open to withdraw, against a real gateway and a devnet over HTTP."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from pytoniq_core import Address

from bombyx import canonical
from bombyx.attestation.policy import render_policy
from bombyx.cli import output
from bombyx.cli.main import main
from bombyx.client.channel.store import ChannelStore, read_purse, read_record
from bombyx.client.channel.wallet import channel_folders
from bombyx.client.secret_files import read_secret
from gateway.channels.chain.side import TonSide
from tests.bombyx.client.channel.chain_fixtures import (
    chain,
    devnet,
    devnet_tvm,
    flaky,
    node_modules,
    outbox,
    rich,
    running,
    wall,
)
from tests.factories import seed
from tests.network.harness import MODEL, Network, network, with_policy
from tests.ton.devnet.fixtures import Wall
from tests.ton.wallet.fixtures import OWN
from ton.chain.agreed import AgreedChain
from ton.devnet.chain import Devnet
from ton.devnet.process import Running
from ton.settings import DEVNET
from ton.wallet.keys import read_key
from ton.wallet.w5 import wallet_address

__all__ = [
    "chain",
    "devnet",
    "devnet_tvm",
    "flaky",
    "node_modules",
    "outbox",
    "rich",
    "running",
    "wall",
]
GRAM = 10**9
ASK: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "tell me of the moth"}],
    "max_tokens": 32,
}
Run = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def net(
    tmp_path: Path,
    chain: AgreedChain,
    devnet: Devnet,
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Network]:
    """A gateway, and a machine with a wallet of 100 GRAM whose settings name it."""
    folder = tmp_path / "net"
    folder.mkdir()
    words = tmp_path / "words"
    words.write_text(seed("client wallet").hex())
    words.chmod(0o600)
    devnet.give(wallet_address(read_key(words).public_key, network=DEVNET), 100 * GRAM)
    async with network(folder, chain=TonSide(chain, seed("the gateway's wallet"))) as net:
        counter = net.context.counter
        assert counter is not None
        net.policy = with_policy(net, channel_keys=(counter.cashier.key.hex(),))
        policy = tmp_path / "policy.toml"
        policy.write_text(render_policy(net.policy))
        given = {
            "BOMBYX_CLIENT_GATEWAY": net.base_url,
            "BOMBYX_CLIENT_POLICY": str(policy),
            "BOMBYX_CLIENT_API_KEY": net.api_key,
            "BOMBYX_CLIENT_MNEMONIC_FILE": str(words),
            "BOMBYX_TON_PROVIDERS": json.dumps([f"{running.url}/api/v2"]),
            "BOMBYX_TON_REQUESTS_PER_SECOND": "1000",
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        yield net


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    async def ran(*arguments: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        output._stdout.answered = False
        found = await asyncio.to_thread(main, ["channel", *arguments, "--json"])
        told = capsys.readouterr()
        assert found == code, told.err
        # The network of this process logs to the same place.
        (line,) = (line for line in told.out.splitlines() if line.startswith("{"))
        document: dict[str, Any] = json.loads(line)
        return document

    return ran


async def test_a_channel_lives_from_open_to_its_cooperative_end(
    net: Network, run: Run, tmp_path: Path
) -> None:
    assert await run("status") == {"channels": [], "broken": []}
    opened = await run("open", "--amount-nano", str(GRAM))
    name = opened["channel"]
    assert (opened["state"], opened["deposited_nano"]) == ("open", str(GRAM))
    assert opened["chain"]["deposited_nano"] == str(GRAM)
    filled = await run("topup", name[:8], "--amount-nano", str(GRAM // 2))
    assert filled["deposited_nano"] == str(GRAM + GRAM // 2)
    filled = await run("topup")
    assert filled["deposited_nano"] == str(GRAM + GRAM // 2 + 200_000_000)
    sdk = net.sealed(channel=True)
    await sdk.chat.completions.create(**ASK)
    await net.settled()
    await until_proven(tmp_path)
    (shown,) = (await run("status"))["channels"]
    assert int(shown["proven_nano"]) > 0
    assert shown["gateway_books"]["charged_nano"] == shown["proven_nano"]
    assert (await run("status", "--offline"))["channels"][0]["chain"] is None
    await sdk.close()
    ended = await run("close")
    assert (ended["how"], ended["claimed_nano"]) == ("cooperative", shown["proven_nano"])
    kinds = [one["kind"] for one in (await run("history"))["events"]]
    assert kinds == ["top_up", "top_up", "top_up", "coop_close"]
    for flags in ((), ("--offline",)):
        assert (await run("status", *flags))["channels"][0]["state"] == "closed"


async def until_proven(state: Path) -> None:
    """The books follow an answer at once, and reach the disk a moment later."""
    (folder,) = channel_folders(state / "client" / "channels")
    async with asyncio.timeout(5):
        while not read_purse(folder, read_record(folder)).proven:
            await asyncio.sleep(0.01)


async def test_a_channel_is_closed_with_a_gateway_that_has_moved(
    net: Network, run: Run, tmp_path: Path
) -> None:
    await run("open")
    (folder,) = channel_folders(tmp_path / "client" / "channels")
    record = read_record(folder)
    moved = msgspec.structs.replace(record, origin="http://127.0.0.1:9")
    (folder / "channel.json").write_bytes(canonical.encode(moved))
    assert "127.0.0.1:9" in (await run("close", code=1))["error"]["message"]
    assert (await run("close", "--gateway", f"{net.base_url}/"))["how"] == "cooperative"


async def test_a_channel_ends_without_its_gateway(net: Network, run: Run, wall: Wall) -> None:
    name = (await run("open", "--amount-nano", str(GRAM)))["channel"]
    refusal = await run("withdraw", code=1)
    assert "close" in refusal["error"]["message"]
    started = await run("close", name, "--alone")
    assert started["how"] == "started"
    assert "ends in" in (await run("withdraw", code=1))["error"]["message"]
    wall.at = started["close_at"] + 10
    ended = await run("withdraw")
    assert (ended["how"], ended["refunded_nano"]) == ("closed", str(GRAM))


async def test_what_cannot_be_done_is_said_in_one_sentence(
    net: Network, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "there is no channel" in (await run("close", code=1))["error"]["message"]
    assert "no channel ab" in (await run("status", "ab", code=1))["error"]["message"]
    monkeypatch.delenv("BOMBYX_CLIENT_MNEMONIC_FILE")
    assert "--wallet" in (await run("open", code=1))["error"]["message"]
    monkeypatch.delenv("BOMBYX_CLIENT_API_KEY")
    refusal = await run("open", "--wallet", OWN.to_str(), code=1)
    assert "--api-key-file" in refusal["error"]["message"]
    monkeypatch.delenv("BOMBYX_CLIENT_GATEWAY")
    refusal = await run("open", "--wallet", OWN.to_str(), code=1)
    assert "--gateway" in refusal["error"]["message"]


async def test_a_wallet_elsewhere_gets_a_link(
    net: Network,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("bombyx.client.channel.ton_side.LINK_SECONDS", 0.2)
    address = Address((0, bytes(OWN.hash_part))).to_str()
    found = await asyncio.to_thread(main, ["channel", "open", "--wallet", address])
    told = capsys.readouterr()
    assert found == 1
    assert "ton://transfer/" in told.out


async def test_people_read_sentences(
    net: Network, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asyncio.to_thread(main, ["channel", "status"]) == 0
    assert "no channel yet" in capsys.readouterr().out
    assert await asyncio.to_thread(main, ["channel", "open"]) == 0
    told = capsys.readouterr().out
    assert "deposited 0.2 GRAM" in told
    assert "the gateway accepts the channel" in told
    assert await asyncio.to_thread(main, ["channel", "history"]) == 0
    assert "top_up" in capsys.readouterr().out
    assert await asyncio.to_thread(main, ["channel", "close"]) == 0
    assert "0.2 GRAM came back" in capsys.readouterr().out


async def test_an_empty_wallet_is_told_what_it_lacks(
    net: Network, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor = tmp_path / "poor"
    poor.write_text(seed("poor").hex())
    poor.chmod(0o600)
    refusal = await run("open", "--mnemonic-file", str(poor), code=1)
    assert refusal["error"]["code"] == "wallet_short"
    (folder,) = channel_folders(tmp_path / "client" / "channels")
    assert read_purse(folder, read_record(folder)).deposited == 0
    assert "stays queued" in refusal["error"]["message"]
    again = ("open", "--mnemonic-file", str(poor), "--amount-nano", str(GRAM))
    refusal = await run(*again, code=1)
    assert refusal["error"]["code"] == "top_up_refused"
    assert "200000000 nano are queued" in refusal["error"]["message"]
    top_up = ("topup", "--mnemonic-file", str(poor), "--amount-nano", str(GRAM))
    assert (await run(*top_up, code=1))["error"]["code"] == "top_up_refused"


async def test_a_closed_channel_is_not_meant_where_none_is_named(net: Network, run: Run) -> None:
    first = (await run("open"))["channel"]
    await run("close")
    assert "all channels are closed" in (await run("topup", code=1))["error"]["message"]
    second = (await run("open"))["channel"]
    assert second != first
    assert (await run("topup"))["channel"] == second
    ended = await run("close")
    assert (ended["channel"], ended["how"]) == (second, "cooperative")
    states = [one["state"] for one in (await run("status", "--offline"))["channels"]]
    assert states == ["closed", "closed"]
    refusal = await run("close", first, code=1)
    assert refusal["error"]["code"] == "channel_closed"


async def test_a_broken_channel_is_told_of_and_stands_in_no_others_way(
    net: Network, run: Run, tmp_path: Path, wall: Wall
) -> None:
    name = (await run("open"))["channel"]
    broken = tmp_path / "client" / "channels" / ("00" * 32)
    broken.mkdir()
    (broken / "channel.json").write_bytes(b"{")
    for flags in ((), ("--offline",)):
        told = await run("status", *flags)
        assert [one["channel"] for one in told["channels"]] == [name]
        assert [one["channel"] for one in told["broken"]] == [broken.name]
        assert "is broken" in told["broken"][0]["why"]
    assert "is broken" in (await run("status", broken.name, code=1))["error"]["message"]
    assert "is broken" in (await run("close", "0000", code=1))["error"]["message"]
    assert "cannot be counted" in (await run("open", code=1))["error"]["message"]
    started = await run("close", name, "--alone")
    wall.at = started["close_at"] + 10
    assert (await run("withdraw", name))["how"] == "closed"


async def test_the_sidecar_says_when_another_process_has_its_channel(
    net: Network, run: Run, tmp_path: Path
) -> None:
    await run("open")
    (folder,) = channel_folders(tmp_path / "client" / "channels")
    held = ChannelStore(folder)
    code = await asyncio.to_thread(main, ["proxy", "--json", "--port", "0"])
    assert code == 1
    held.close()


async def test_a_sidecar_with_pay_opens_a_channel_when_a_request_needs_one(
    net: Network, run: Run, tmp_path: Path
) -> None:
    command = "import sys; from bombyx.cli.main import run; sys.argv[0] = 'bombyx'; run()"
    sidecar = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, "proxy", "--pay", "--json", "--port", "0",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert sidecar.stdout is not None
    ready = json.loads(await asyncio.wait_for(sidecar.stdout.readline(), 30))
    before = await net.balance()
    token = read_secret(Path(ready["token_file"]))
    async with openai.AsyncOpenAI(base_url=ready["url"], api_key=token, max_retries=0) as sdk:
        await asyncio.gather(*(sdk.chat.completions.create(**ASK) for _ in range(3)))
    await net.settled()
    await until_proven(tmp_path)
    (shown,) = (await run("status"))["channels"]
    assert shown["deposited_nano"] == "200000000"
    assert await net.balance() == before
    refusal = await run("close", code=1)
    assert f"in use by process {sidecar.pid}" in refusal["error"]["message"]
    sidecar.terminate()
    await asyncio.wait_for(sidecar.wait(), 20)
    assert (await run("close"))["how"] == "cooperative"


async def test_the_openai_sdk_is_served_and_billed(net: Network, run: Run) -> None:
    await run("open")
    sdk: openai.AsyncOpenAI = net.sealed(channel=True)
    before = await net.balance()
    await sdk.chat.completions.create(**ASK)
    await net.settled()
    assert await net.balance() == before
