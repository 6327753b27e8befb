"""CPU of the gateway per request of either tier and per streamed token, everything on.

Real gateway process (claims, ledger, receipts, SQLite), scripted link peer, prepared requests; the
gateway on one CPU, peer and load on another.
"""

import hashlib
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from benchmarks.load import Plan
from benchmarks.processes import bombyx, cpu_seconds, read_json, started
from benchmarks.yardstick import beside
from bombyx.attestation.directory import Directory
from bombyx.attestation.policy import ModelRules, Policy, SimulatedRules, render_policy
from bombyx.attestation.simulated import image_measurement
from bombyx.money.offer import offer_hash
from worker.attest.simulated_root import load_or_create_root, root_sha256

DIGEST = "bench"
CREDIT = 10**15


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement: `requests` with `tokens` frames each, `gap` seconds apart."""

    name: str
    requests: int
    concurrency: int
    tokens: int
    gap: float
    per_token: bool = False
    bare: bool = False


CASES = (
    Case("sealed request, one frame", 6000, 32, 1, 0.0),
    Case("sealed stream, per token", 900, 300, 100, 0.05, per_token=True),
    Case("bare request, one frame", 4000, 32, 1, 0.0, bare=True),
)


def measure(case: Case, *, rounds: int) -> dict[str, Any]:
    """Median CPU per unit over some rounds in one network: microseconds, and yardstick's turns."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [_round(case, Path(folder), number) for number in range(rounds)]
    costs, turns = sorted(cost for cost, _ in rows), sorted(cost / turn for cost, turn in rows)
    return {
        "case": case.name,
        "us_cpu": round(costs[rounds // 2], 1),
        "turns": round(turns[rounds // 2], 3),
        "rounds": [round(cost, 1) for cost in costs],
        "unit": "token" if case.per_token else "request",
    }


def _round(case: Case, state: Path, number: int) -> tuple[float, float]:
    """What a unit took, and a turn of the yardstick beside it, in microseconds."""
    policy = write_policy(state)
    flags = ["--state", str(state), "--port", "0", "--policy", str(policy), "--json"]
    with started(bombyx("gateway", *flags), cpu=1) as gateway:
        ready = read_json(gateway)
        made = subprocess.run(
            bombyx("keys", "create", "--state", str(state), "--credit-nano", str(CREDIT), "--json"),
            check=True,
            capture_output=True,
            text=True,
        )
        key = json.loads(made.stdout)["api_key"]
        peer_command = [sys.executable, "-m", "benchmarks.link_peer", ready["link_url"]]
        peer_command += [str(state / "simulated-root.pem"), str(case.tokens), str(case.gap)]
        with started(peer_command, cpu=0) as peer, beside(cpu=1) as yardstick:
            read_json(peer)
            plan = _plan(case, ready, key)
            send(msgspec.structs.replace(plan, requests=max(64, case.concurrency)))
            before, _ = cpu_seconds(gateway.pid), yardstick.turn_us()
            outcome = send(plan)
            used, turn = cpu_seconds(gateway.pid) - before, yardstick.turn_us()
    if outcome["errors"] or outcome["answers"] != case.requests:
        raise SystemExit(f"round {number}: {outcome}")
    units = case.requests * (case.tokens if case.per_token else 1)
    return used / units * 1e6, turn


def write_policy(state: Path) -> Path:
    """For the scripted link peer."""
    digest = hashlib.sha256(DIGEST.encode()).hexdigest()
    return write_policy_for(state, ModelRules(name="bench", weights=(digest,), engines=(digest,)))


def write_policy_for(state: Path, *models: ModelRules) -> Path:
    """For workers of one simulated root that serve these."""
    root = load_or_create_root(state / "simulated-root.pem", now=int(time.time()))
    policy = Policy(
        version=1,
        network="local",
        platforms=("simulated",),
        simulated=SimulatedRules(
            roots=(root_sha256(root),),
            mr_td=(image_measurement(importlib.metadata.version("bombyx")).hex(),),
            accepted_tcb=("UpToDate",),
        ),
        models=models,
    )
    path = state / "policy.toml"
    path.write_text(render_policy(policy))
    return path


def _plan(case: Case, ready: dict[str, Any], key: str) -> Plan:
    answer = httpx2.get(
        f"{ready['url']}/v1/confidential/workers",
        params={"model": "bench"},
        headers={"authorization": f"Bearer {key}"},
        trust_env=False,
    )
    directory = msgspec.json.decode(answer.raise_for_status().content, type=Directory)
    entry = directory.workers[0]
    offer = entry.offers[0].offer
    url = httpx2.URL(ready["url"])
    return Plan(
        host=url.host,
        port=url.port or 80,
        api_key=key,
        gateway=directory.gateway,
        worker=offer.worker,
        key_id=entry.keyset.hpke[0].id,
        offer=offer_hash(offer),
        fee_bps=directory.fee_bps,
        requests=case.requests,
        concurrency=case.concurrency,
        bare=case.bare,
    )


def send(plan: Plan) -> dict[str, Any]:
    """One run of the load generator."""
    command = [sys.executable, "-m", "benchmarks.load", msgspec.json.encode(plan).decode()]
    with started(command, cpu=0, quiet=False) as load:
        if load.stdout is None or load.stdin is None:
            raise SystemExit("the load generator has no pipes")
        load.stdout.readline()
        load.stdin.write("go\n")
        load.stdin.flush()
        return read_json(load)
