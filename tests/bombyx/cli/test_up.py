"""`bombyx up` end to end, with the scripted engine: started, used, killed, stopped."""

import json
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from tests.bombyx.cli.network.processes import command, environment, family, left, stop, up


@pytest.fixture
def ports() -> tuple[str, ...]:
    """Ports that other tests at the same time do not try first."""
    return ("--port", str(unused()), "--gateway-port", str(unused()))


def unused() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(document: dict[str, str]) -> httpx2.Response:
    return httpx2.post(
        f"{document['sidecar']}/v1/chat/completions",
        json={"model": "scripted", "messages": [{"role": "user", "content": "say: silk"}]},
        headers={"authorization": f"Bearer {document['api_key']}"},
        timeout=20,
        trust_env=False,
    )


def test_a_network_starts_answers_and_stops_and_starts_again_as_the_same(
    tmp_path: Path, ports: tuple[str, ...]
) -> None:
    with up(tmp_path, *ports) as (process, first):
        assert set(first) == {
            "sidecar", "gateway", "api_key", "admin_key", "models", "policy", "chain", "wallet",
            "owner", "pids",
        }  # fmt: skip
        assert first["models"] == ["scripted"]
        assert set(first["pids"]) - {"chain"} == {"gateway", "worker-1", "worker-2", "sidecar"}
        assert Path(first["policy"]) == tmp_path / "policy.toml"
        assert all(psutil.pid_exists(pid) for pid in first["pids"].values())
        answer = ask(first)
        assert answer.json()["choices"][0]["message"]["content"] == "silk"
        assert answer.json()["usage"]["bombyx"]["verified"] is True
        channel = paying_channel(first)
        everybody = family(process.pid)
        assert stop(process, signal.SIGINT) == 0
        assert left(everybody, seconds=1) == []
    for name in ("api-key", "admin-key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    with up(tmp_path, *ports, "--workers", "1") as (process, second):
        assert (second["api_key"], second["admin_key"]) == (first["api_key"], first["admin_key"])
        assert (second["wallet"], second["owner"]) == (first["wallet"], first["owner"])
        assert ask(second).status_code == 200
        again = paying_channel(second)
        assert again["channel"] == channel["channel"]
        assert int(again["charged_nano"]) == 2 * int(channel["charged_nano"])
        assert stop(process, signal.SIGTERM) == 0


def paying_channel(document: dict[str, Any]) -> dict[str, Any]:
    """The one channel, once all calls are settled."""
    for _ in range(100):
        told = httpx2.get(
            f"{document['gateway']}/v1/channels",
            headers={"authorization": f"Bearer {document['api_key']}"},
            trust_env=False,
        )
        (channel,) = told.json()["data"]
        if channel["reserved_nano"] == "0" and channel["charged_nano"] != "0":
            break
        time.sleep(0.1)
    else:
        pytest.fail("the calls are not settled after ten seconds")
    assert (channel["state"], channel["deposited_nano"]) == ("open", "200000000")
    found: dict[str, Any] = channel
    return found


def test_without_a_chain_credit_pays_also_where_there_was_one(
    tmp_path: Path, ports: tuple[str, ...]
) -> None:
    with up(tmp_path, *ports, "--workers", "1", "--chain", "devnet") as (process, first):
        assert ask(first).status_code == 200
        assert stop(process, signal.SIGTERM) == 0
    with up(tmp_path, *ports, "--workers", "1", "--chain", "none") as (process, second):
        assert (second["chain"], second["wallet"], second["owner"]) == (None, None, None)
        assert set(second["pids"]) == {"gateway", "worker-1", "sidecar"}
        assert ask(second).status_code == 200
        assert stop(process, signal.SIGTERM) == 0


def test_nothing_outlives_a_killed_up_and_who_dies_is_replaced(
    tmp_path: Path, ports: tuple[str, ...]
) -> None:
    with up(tmp_path, *ports, "--workers", "1") as (process, document):
        psutil.Process(document["pids"]["worker-1"]).kill()
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("worker-1 ended"):
                break
        assert line == "worker-1 ended with SIGKILL; starting it again in 0.5 s\n"
        for _ in range(100):
            if ask(document).status_code == 200:
                break
            time.sleep(0.1)
        assert ask(document).json()["usage"]["bombyx"]["verified"] is True
        everybody = family(process.pid)
        assert len(everybody) >= 3
        process.kill()
        assert left(everybody, seconds=3) == []


def test_busy_ports_give_the_next_free_ones(tmp_path: Path) -> None:
    with socket.socket() as sidecar, socket.socket() as gateway:
        for one in (sidecar, gateway):
            one.bind(("127.0.0.1", 0))
            one.listen()
        busy = (sidecar.getsockname()[1], gateway.getsockname()[1])
        flags = ("--port", str(busy[0]), "--gateway-port", str(busy[1]), "--workers", "1")
        with up(tmp_path, *flags) as (_, document):
            got = [int(document[name].rpartition(":")[2]) for name in ("sidecar", "gateway")]
            assert all(0 < port - first <= 100 for port, first in zip(got, busy, strict=True))


def test_a_child_that_cannot_start_is_shown_with_its_own_reason(tmp_path: Path) -> None:
    done = subprocess.run(
        command("up", "--engine", "openai", "--engine-url", "http://127.0.0.1:9", "--json",
                "--state", str(tmp_path)),
        capture_output=True, text=True, check=False, timeout=60, env=environment(tmp_path),
    )  # fmt: skip
    assert done.returncode == 1
    message = json.loads(done.stdout)["error"]["message"]
    assert message.startswith("bombyx worker --describe: ")
    assert done.stderr.count("Traceback") == 0
