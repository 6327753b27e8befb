"""What the network costs over a bare engine, with real engines on the same small model.

CPU of gateway and worker together, engine excluded: a line through streams of one token and of
many gives the cost of a request and of a token. Beside it tokens per second and the time to the
first token, bare and sealed, medians of interleaved runs on the same engine process.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bench_engine import BUILT, MODEL, build
from benchmarks.processes import bombyx, read_json, started
from benchmarks.relay import CREDIT, write_policy_for
from bombyx.attestation.policy import ModelRules

RUNS = 5
CLIENTS = 4
SHORT, LONG = 1, 129
REQUESTS = {SHORT: 40, LONG: 6}
"""Of each client."""
_SLOW_REQUESTS = {SHORT: 12, LONG: 2}
"""On SGLang without a GPU, which writes some 50 tokens a second."""


def measure() -> list[dict[str, Any]]:
    """A row per engine; SGLang only where `make test-sglang` built it."""
    kinds = ["llamacpp", *(["sglang"] if BUILT.exists() else [])]
    return [_measure(kind) for kind in kinds]


def show(rows: list[dict[str, Any]]) -> None:
    """The table for people."""
    print(f"\n{'engine':10} {'CPU us':>9} {'CPU us':>9}  {'tokens/s':>17}  {'first token ms':>17}")
    print(f"{'':10} {'/request':>9} {'/token':>9}  {'bare':>8} {'sealed':>8}  ", end="")
    print(f"{'bare':>8} {'sealed':>8}")
    for row in rows:
        bare, sealed = row["bare"], row["sealed"]
        print(f"{row['engine']:10} {row['us_request']:>9} {row['us_token']:>9}  ", end="")
        print(f"{bare['tokens_s']:>8} {sealed['tokens_s']:>8}  ", end="")
        print(f"{bare['first_ms']:>8} {sealed['first_ms']:>8}")


def _measure(kind: str) -> dict[str, Any]:
    print(f"measuring: engine {kind} …", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder, _network(kind, Path(folder)) as network:
        runs = [_run(network, kind) for _ in range(RUNS)]
    request = [run["us_request"] for run in runs]
    token = [run["us_token"] for run in runs]
    return {
        "engine": kind,
        "us_request": round(statistics.median(request)),
        "us_token": round(statistics.median(token), 1),
        "bare": _medians([run["bare"] for run in runs]),
        "sealed": _medians([run["sealed"] for run in runs]),
        "runs": RUNS,
        "unit": "CPU of gateway and worker, engine excluded",
    }


@contextmanager
def _network(kind: str, state: Path) -> Iterator[dict[str, Any]]:
    """Gateway, worker and engine; what a client needs, and whose CPU counts."""
    engine = build(kind, state)
    asyncio.run(engine.examine())
    (model,) = engine.models()
    rules = ModelRules(name=MODEL, weights=(model.weights,), engines=(model.engine,))
    policy = write_policy_for(state, rules)
    flags = ["--state", str(state), "--port", "0", "--policy", str(policy), "--json"]
    with started(bombyx("gateway", *flags), cpu=0) as gateway:
        url = read_json(gateway)["url"]
        credit = ["--credit-nano", str(CREDIT), "--json"]
        made = subprocess.run(
            bombyx("keys", "create", "--state", str(state), *credit),
            check=True,
            capture_output=True,
            text=True,
        )
        command = [sys.executable, "-m", "benchmarks.bench_engine", kind, url]
        command += [str(state / "simulated-root.pem"), str(state)]
        with started(command, cpu=0) as worker:
            bare = read_json(worker)
            yield {
                "bare": bare,
                "sealed": {
                    "url": url,
                    "key": json.loads(made.stdout)["api_key"],
                    "policy": str(policy),
                },
                "pids": (gateway.pid, worker.pid),
            }
            if worker.stdin is not None:
                worker.stdin.close()
            worker.wait(30)


def _run(network: dict[str, Any], kind: str) -> dict[str, Any]:
    requests = REQUESTS if kind == "llamacpp" else _SLOW_REQUESTS
    bare = _load(network["bare"], LONG, requests[LONG])
    costs, sealed = {}, bare
    for tokens in (SHORT, LONG):
        before = _own_cpu(network["pids"])
        sealed = _load(network["sealed"], tokens, requests[tokens])
        # The client asks once more, to have its connections.
        costs[tokens] = (_own_cpu(network["pids"]) - before) / (CLIENTS * requests[tokens] + 1)
    per_token = (costs[LONG] - costs[SHORT]) / (LONG - SHORT)
    return {
        "us_request": (costs[SHORT] - SHORT * per_token) * 1e6,
        "us_token": per_token * 1e6,
        "bare": bare,
        "sealed": sealed,
    }


def _load(where: dict[str, Any], tokens: int, requests: int) -> dict[str, float]:
    plan = {**where, "model": MODEL, "tokens": tokens, "clients": CLIENTS, "requests": requests}
    command = [sys.executable, "-m", "benchmarks.engine_load", json.dumps(plan)]
    with started(command, cpu=1, quiet=False) as load:
        return read_json(load)


def _own_cpu(pids: tuple[int, ...]) -> float:
    """Of these processes, without what they started."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(sum(one.user + one.system for one in times))


def _medians(loads: list[dict[str, float]]) -> dict[str, float]:
    return {
        "tokens_s": round(statistics.median(one["tokens"] / one["seconds"] for one in loads)),
        "first_ms": round(statistics.median(one["first_ms"] for one in loads), 1),
    }
