"""`bombyx devnet`: one ready line, one clear error, and an end when told."""

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import httpx2
import pytest

from ton.settings import DEVNET

PROGRAM = "import sys; from bombyx.cli.main import main; sys.exit(main(sys.argv[1:]))"


async def start(*flags: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, "devnet", *flags, "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def line(process: asyncio.subprocess.Process) -> dict[str, object]:
    assert process.stdout is not None
    document: dict[str, object] = json.loads(await process.stdout.readline())
    return document


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_is_and_stops_when_told(
    node_modules: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    process = await start("--port", "0", "--state", str(tmp_path))
    ready = await line(process)
    assert set(ready) == {"url", "api_v2", "api_v3", "faucet", "network", "seqno"}
    assert ready["network"] == DEVNET
    async with httpx2.AsyncClient(trust_env=False) as http:
        given = await http.post(str(ready["faucet"]), json={"address": "0:" + "11" * 32})
        assert given.json()["seqno"] == 1
    process.send_signal(signum)
    await process.communicate()
    assert process.returncode == 0
    assert (tmp_path / "devnet/devnet.db").stat().st_mode & 0o077 == 0


async def test_a_port_that_is_taken_is_one_clear_error(node_modules: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await start("--port", str(port), "--memory", "--network", "7")
        out, err = await process.communicate()
    assert process.returncode == 1
    assert json.loads(out)["error"]["code"] == "setup_error"
    assert f"cannot listen on 127.0.0.1 port {port}" in err.decode()
    assert b"Traceback" not in err


async def test_a_machine_without_the_tvm_is_told_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMBYX_TON_EMULATOR", str(tmp_path))
    process = await start("--port", "0", "--memory")
    out, _ = await process.communicate()
    assert process.returncode == 1
    assert json.loads(out)["error"]["code"] == "emulator_missing"
