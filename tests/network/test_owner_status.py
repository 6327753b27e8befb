"""`bombyx owner status`: what was earned, and in one sentence why a worker is not asked."""

import asyncio
import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bombyx.attestation.simulated import image_measurement
from bombyx.control.document import LAST_WORDS, LastWords
from tests.network.harness import MODEL, Network, network
from tests.network.owners import bombyx, owned, owner_status, told_of
from tests.network.requests import bearer, http
from tests.worker.gpu.library import ROOT, environment
from worker.clock import now_ms
from worker.models.manifests import build_manifest, write_manifest

TINY = ROOT / "tests" / "fixtures" / "tiny-llama" / "tiny-f16.gguf"
# A worker on a machine whose kernel offers TDX: the interpreter plays the driver.
ON_TDX = """
import pathlib, sys
from tests.worker.attest.fake_tsm import FakeTsm, running
from bombyx.cli.main import run
root = pathlib.Path(sys.argv.pop(1))
with running(FakeTsm(root, "tdx_guest", lambda data: (data, b""))):
    run()
"""


async def serves(net: Network) -> bool:
    """Whether anybody is listed, or a request of the model comes to anything."""
    async with http() as client:
        listed = await client.get(f"{net.url}/v1/models", headers=bearer(net.api_key))
        answer = await client.post(
            f"{net.url}/v1/chat/completions",
            headers=bearer(net.api_key),
            json={"model": MODEL, "messages": [{"role": "user", "content": "say: a"}]},
        )
    return bool(listed.json()["data"]) or answer.status_code == 200


async def wrong_clock(net: Network, folder: Path) -> dict[str, Any]:
    async with owned(net, folder, clock=lambda: now_ms() + 400_000):
        told = await told_of(folder, "list")
        assert not await serves(net)
    return told


async def wrong_evidence(net: Network, folder: Path) -> dict[str, Any]:
    async with owned(net, folder, image=image_measurement("something else")):
        told = await told_of(folder, "link")
        assert not await serves(net)
    return told


async def wrong_evidence_as_a_process(net: Network, folder: Path) -> dict[str, Any]:
    """The root is a new one of its own, which this network's policy does not name."""
    code, _, _ = await bombyx(
        "worker", "--gateway", net.url, "--engine", "scripted", "--state", str(folder),
        "--platform", "simulated",
    )  # fmt: skip
    assert code == 1
    assert not await serves(net)
    return await told_of(folder, "setup_error")


async def altered_model(net: Network, folder: Path) -> dict[str, Any]:
    """The folder is not what its manifest says any more."""
    model = folder.parent / "model"
    model.mkdir()
    shutil.copy(TINY, model)
    (model / "notes.json").write_text("{}")
    write_manifest(model, build_manifest(model))
    (model / "notes.json").write_text("[]")
    code, _, _ = await bombyx(
        "worker", "--gateway", net.url, "--engine", "llamacpp", "--state", str(folder),
        "--platform", "simulated", "--model-path", str(model), "--threads", "1",
    )  # fmt: skip
    assert code == 1
    assert not await serves(net)
    return await told_of(folder, "setup_error")


async def _with_gpus(net: Network, folder: Path, **mode: object) -> dict[str, Any]:
    report = folder.parent / "report"
    report.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ON_TDX, str(report), "worker", "--platform", "tdx"),
        *("--gateway", net.url, "--engine", "scripted", "--state", str(folder)),
        env={**environment(**mode), "BOMBYX_WORKER_TSM_PATH": str(report)},
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)
    await asyncio.sleep(0.01)
    assert process.returncode == 1, err.decode()
    assert not await serves(net)
    return await told_of(folder, "")


async def gpus_in_the_open(net: Network, folder: Path) -> dict[str, Any]:
    return await _with_gpus(net, folder, cc=0)


async def gpus_with_a_debugger(net: Network, folder: Path) -> dict[str, Any]:
    return await _with_gpus(net, folder, devtools=1)


@dataclass(frozen=True)
class Case:
    """What is wrong, and the sentence."""

    make: Callable[[Network, Path], Awaitable[dict[str, Any]]]
    sentence: str
    runs: bool = False


CASES = [
    Case(
        wrong_clock, r"this machine's clock is (399|40[0-3]) s ahead of that of http://", runs=True
    ),
    Case(wrong_evidence, "the policy does not allow this image", runs=True),
    Case(
        wrong_evidence_as_a_process,
        "no gateway wants this worker: .*the policy does not pin this simulated root",
    ),
    Case(altered_model, "notes.json: has another SHA-256"),
    Case(gpus_in_the_open, "confidential computing is off on these GPUs"),
    Case(gpus_with_a_debugger, "devtools mode is on: a debugger can read the GPUs' memory"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.make.__name__)
async def test_who_may_not_serve_gets_no_request_and_its_owner_is_told_why(
    tmp_path: Path, case: Case
) -> None:
    async with network(
        tmp_path, workers=0, first_byte_stream_s=1, first_byte_whole_s=1, queue_wait_s=1
    ) as net:
        told = await case.make(net, tmp_path / "state")
    first = told["problems"][0]
    assert re.search(case.sentence, first["sentence"]), first
    assert "\n" not in first["sentence"]
    assert (first["stops"], told["serving"], told["running"]) == (True, False, case.runs)
    assert told["hours"] == []


async def test_what_was_earned_is_what_was_signed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    async with network(tmp_path, workers=0) as net, owned(net, folder) as worker:
        async with asyncio.timeout(10):
            await worker.linked.wait()
        for _ in range(3):
            assert await serves(net)
        await net.settled()
        document = await owner_status(folder)
        (told,) = document["workers"]
        (hour,) = [one for one in told["hours"] if one["requests"]]
        assert (hour["model"], hour["requests"], told["requests_hour"]) == (MODEL, 3, 3)
        unpaid = worker._parts.journal.all_unpaid()[net.context.gateway]
        assert int(told["earned_hour_nano"]) == unpaid > 0
        assert told["unpaid_nano"] == {net.context.gateway: str(unpaid)}
        assert document["totals"]["earned_kept_nano"] == str(unpaid)
        assert hour["busy_ms"] > 0
        assert told["serving"]
        assert [one["stops"] for one in told["problems"]] == [False] * len(told["problems"])
        (gateway,) = told["gateways"]
        assert gateway["standing"]["reason"] == "listed"
        assert gateway["standing"]["repute"]["answered"] == 3
        assert [one["gateway"] for one in told["links"]] == [net.context.gateway]
        code, out, _ = await bombyx("owner", "status", "--state", str(folder))
        assert code == 0
        assert "serves scripted on simulated" in out
        assert "1 of 1 workers serve" in out


async def test_a_dear_worker_learns_the_price_of_the_cheapest_quarter(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    async with network(tmp_path, workers=0) as net:
        for many in range(1, 5):
            await net.add_worker(price_prompt=many * 10**6, price_completion=many * 10**6)
        async with owned(net, folder) as worker:
            async with asyncio.timeout(10):
                await worker.linked.wait()
            (told,) = (await owner_status(folder))["workers"]
    (price,) = told["prices"]
    assert (price["offers"], price["cheaper"], price["cheaper_share"]) == (5, 4, 1.0)
    assert not price["among_cheapest_quarter"]
    wanted = {name: int(value) for name, value in price["quarter_prices"].items()}
    cost = (wanted["price_prompt"] * 1000 + wanted["price_completion"] * 500) / 10**6
    assert 0.9 * int(price["quartiles_nano"][0]) < cost <= int(price["quartiles_nano"][0])
    sentences = [one["sentence"] for one in told["problems"]]
    assert any(one.startswith("4 of 4 other offers for scripted") for one in sentences)
    assert told["serving"]


async def test_prices_are_told_before_there_is_a_worker(tmp_path: Path) -> None:
    async with network(tmp_path, workers=2) as net:
        told = await owner_status(tmp_path / "none", gateway=net.url, model=MODEL)
    (worker,) = told["workers"]
    assert [one["code"] for one in worker["problems"]] == ["not_running"]
    (model,) = worker["gateways"][0]["standing"]["models"]
    assert (model["model"], model["offers"]) == (MODEL, 2)


async def test_a_paused_worker_and_a_gateway_that_is_gone_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    async with network(tmp_path, workers=0) as net, owned(net, folder) as worker:
        async with asyncio.timeout(10):
            await worker.linked.wait()
        await bombyx("worker", "pause", "--state", str(folder))
        told = await told_of(folder, "paused")
        assert (told["problems"][0]["sentence"], told["serving"]) == (
            "it is paused: bombyx worker resume",
            False,
        )
        (away,) = (await owner_status(folder, gateway="http://127.0.0.1:9"))["workers"]
        assert "gateway_silent" in [one["code"] for one in away["problems"]]


async def test_a_worker_of_a_group_of_gpus_is_found_below_its_folder(tmp_path: Path) -> None:
    for name in ("gpu-0-3", "gpu-4-7"):
        (tmp_path / name).mkdir()
        words = LastWords(at=1, code="setup_error", sentence=f"{name} is no good")
        (tmp_path / name / LAST_WORDS).write_bytes(msgspec.json.encode(words))
    told = await owner_status(tmp_path)
    sentences = [one["problems"][0]["sentence"] for one in told["workers"]]
    assert sentences == [f"the worker has stopped: gpu-{n} is no good" for n in ("0-3", "4-7")]
