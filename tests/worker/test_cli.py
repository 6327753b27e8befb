"""`bombyx worker` as a process: ready line, signals, files, and what it refuses."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.peer import GatewayPeer, unix, until
from tests.worker.sealing import chat, open_answer, seal

COMMAND = [sys.executable, "-c", "from bombyx.cli.main import run; run()", "worker"]


async def start(*flags: str, env: dict[str, str] | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *flags,
        "--json",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )


async def test_it_serves_says_so_once_and_leaves_on_sigterm(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    process = await start(
        "--gateway", f"http://127.0.0.1:{gateway.port}", "--engine", "scripted",
        "--model", "toy", "--state", str(tmp_path / "state"), "--price-prompt", "7",
    )  # fmt: skip
    assert process.stdout is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    link = await gateway.link()
    assert ready == {
        "worker": link.listing.worker,
        "models": ["toy"],
        "gateways": [gateway.url],
        "pid": process.pid,
    }
    assert link.listing.offers[0].offer.prices.prompt == "7"
    secret = "canary-" + os.urandom(8).hex()
    sealed = seal(link.listing, chat(f"say: {secret}", model="toy"), now=unix())
    stream = await (await link.ask(sealed)).over()
    assert open_answer(sealed, link.listing, bytes(stream.data)).text == secret
    process.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(process.communicate(), 10)
    await asyncio.sleep(0.01)  # its transport closes in the loop's next turns
    assert process.returncode == 0
    assert out == b""
    assert secret.encode() not in err
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events.index("attesting") < events.index("linked")
    for file in (tmp_path / "state").rglob("*"):
        assert file.is_dir() or secret.encode() not in file.read_bytes()


async def test_it_dies_with_its_parent(gateway: GatewayPeer, tmp_path: Path) -> None:
    script = (
        "import subprocess,sys,time\n"
        f"child = subprocess.Popen({COMMAND!r} + sys.argv[1:])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    flags = ["--gateway", gateway.url, "--engine", "scripted", "--state", str(tmp_path)]
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *flags, "--die-with-parent",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert parent.stdout is not None
    await parent.stdout.readline()
    link = await gateway.link(seconds=20)
    parent.kill()
    await until(lambda: link.is_lost)
    await parent.wait()
    await asyncio.sleep(0.01)  # its transport closes in the loop's next turns


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "name a gateway"),
        (["--gateway", "nonsense"], "is no gateway"),
        (["--gateway", "http://127.0.0.1:1", "--engine", "openai"], "--engine-url"),
        (["--gateway", "http://127.0.0.1:1", "--engine", "magic"], "engine"),
        (["--gateway", "http://127.0.0.1:1", "--payout-key", "canary"], "payout_key"),
    ],
)
def test_what_is_set_up_wrong_is_said_in_one_sentence(
    flags: list[str], said: str, tmp_path: Path
) -> None:
    command = [*COMMAND, *flags, "--state", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=20)
    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert json.loads(done.stdout)["error"]["code"] == "setup_error"


async def test_killed_in_mid_stream_it_leaves_its_receipts_to_the_next(
    gateway: GatewayPeer, tmp_path: Path
) -> None:
    flags = ("--gateway", gateway.url, "--engine", "scripted", "--state", str(tmp_path))
    process = await start(*flags)
    link = await gateway.link(seconds=20)
    sealed = seal(link.listing, chat("say: hi", model="scripted"), now=unix())
    done = await (await link.ask(sealed)).over()
    opened = open_answer(sealed, link.listing, bytes(done.data))
    running = await link.ask(seal(link.listing, chat("count: 99\npace: 20"), now=unix()))
    await until(lambda: running.data)
    process.kill()
    await process.communicate()
    again = await start(*flags)
    link = await gateway.link(1, seconds=20)
    await until(lambda: link.resent_bytes)
    assert link.resent_bytes == [opened.usages[-1].receipt]
    again.terminate()
    await again.communicate()
    await asyncio.sleep(0.01)  # its transport closes in the loop's next turns
