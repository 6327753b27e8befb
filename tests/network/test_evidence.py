"""Why a worker was listed: kept by the gateway, cited by receipts, checked again by anybody."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from bombyx.attestation.bundle import read_bundle, recheck
from bombyx.attestation.policy import policy_hash, render_policy
from bombyx.attestation.steps import SIMULATED_UNKNOWN, StepName
from bombyx.cli import output
from bombyx.cli.main import main
from tests.network.harness import MODEL, Network, network
from tests.network.requests import bearer, http


@pytest_asyncio.fixture(loop_scope="function")
async def net(tmp_path: Any) -> AsyncIterator[Network]:
    async with network(tmp_path) as opened:
        yield opened


async def get(net: Network, path: str, **parameters: Any) -> httpx2.Response:
    async with http() as client:
        return await client.get(
            f"{net.url}/v1/confidential/evidence/{path}",
            params=parameters,
            headers=bearer(net.api_key),
        )


async def cited(net: Network) -> str:
    """The worker that a receipt names."""
    client = net.sealed()
    answer = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "say: hello"}], max_tokens=20
    )
    await net.settled()
    async with http() as asking:
        told = await asking.get(
            f"{net.url}/v1/receipts/{answer.headers['x-bombyx-id']}", headers=bearer(net.api_key)
        )
    return str(told.json()["receipt"]["statement"]["worker"])


@pytest.mark.spec("17.12-a", "17.12-b")
async def test_a_receipts_worker_leads_to_a_decision_that_anybody_reproduces(
    net: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = await cited(net)
    while net.workers:
        await net.workers.pop().stop()
    answer = await get(net, worker)
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="{worker}.json"'
    bundle = read_bundle(answer.content)
    assert (bundle.decision.worker, bundle.decision.accepted) == (worker, True)
    assert bundle.decision.policy == policy_hash(net.policy)
    assert [step.name for step in bundle.decision.steps] == list(StepName)
    assert recheck(bundle).refusal is None
    file = tmp_path / "bundle.json"
    await asyncio.to_thread(file.write_bytes, answer.content)
    output._stdout.answered = False
    capsys.readouterr()
    assert await asyncio.to_thread(main, ["verify", "--bundle", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    unknown = {step["name"] for step in told["steps"] if step["result"] == "unknown"}
    assert (told["reproduced"], unknown) == (True, set(SIMULATED_UNKNOWN))


@pytest.mark.spec("17.12-b")
async def test_decisions_are_found_by_worker_and_time_and_nobody_elses_name(net: Network) -> None:
    worker = net.context.registry.all()[0].worker
    at = read_bundle((await get(net, worker)).content).decision.at
    assert (await get(net, worker, at=at)).status_code == 200
    for path, parameters in (
        (worker, {"at": at - 1}),
        ("ab" * 32, {}),
        (worker.upper(), {}),
        ("x", {}),
    ):
        answer = await get(net, path, **parameters)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert (await get(net, worker, at=-1)).status_code in (400, 422)
    async with http() as client:
        bare = await client.get(f"{net.url}/v1/confidential/evidence/{worker}")
    assert bare.status_code == 401


async def test_a_running_network_is_verified_through_the_command_line(
    net: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.toml"
    await asyncio.to_thread(file.write_text, render_policy(net.policy), "utf-8")
    ask = ["verify", net.url, "--api-key", net.api_key]
    capsys.readouterr()
    assert await asyncio.to_thread(main, [*ask, "--policy", str(file)]) == 0
    shown = capsys.readouterr().out
    assert all(str(name) in shown for name in StepName)
    assert await asyncio.to_thread(main, [*ask, "--policy", "hardware"]) == 1
    assert "no hardware keeps what is sent there" in capsys.readouterr().err
