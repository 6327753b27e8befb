"""CPU of the worker per streamed token, besides the engine's.

Real gateway, real worker process, bare streams (one HPKE per session, so that what is left is the
path of a token: SSE, coalescing, sealing, link, statements, journal).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.bench_worker import MODEL, STREAMS, TOKENS
from benchmarks.processes import bombyx, cpu_seconds, read_json, started
from benchmarks.relay import CREDIT, write_policy


def measure(*, rounds: int) -> dict[str, Any]:
    """Median over rounds, microseconds per token."""
    with started([sys.executable, "-m", "benchmarks.bench_worker", "alone"], cpu=0) as engine:
        own = float(read_json(engine)["us_cpu"])
    results = sorted(_round() - own for _ in range(rounds))
    return {
        "case": "worker, per token besides the engine",
        "us_cpu": round(results[len(results) // 2], 1),
        "rounds": [round(result, 1) for result in results],
        "unit": "token",
    }


def _round() -> float:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        flags = ["--state", folder, "--port", "0", "--policy", str(write_policy(state)), "--json"]
        with started(bombyx("gateway", *flags), cpu=1) as gateway:
            url = read_json(gateway)["url"]
            made = subprocess.run(
                bombyx("keys", "create", "--state", folder, "--credit-nano", str(CREDIT), "--json"),
                check=True,
                capture_output=True,
                text=True,
            )
            key = json.loads(made.stdout)["api_key"]
            command = [sys.executable, "-m", "benchmarks.bench_worker", url]
            command += [str(state / "simulated-root.pem"), folder]
            with started(command, cpu=0) as worker:
                read_json(worker)
                before = cpu_seconds(worker.pid)
                _load(url, key)
                used = cpu_seconds(worker.pid) - before
    return used / STREAMS / TOKENS * 1e6


def _load(url: str, key: str) -> None:
    plan = {"url": url, "key": key, "model": MODEL, "streams": STREAMS}
    command = [sys.executable, "-m", "benchmarks.bare_load", msgspec.json.encode(plan).decode()]
    with started(command, cpu=1, quiet=False) as load:
        outcome = read_json(load)
    if outcome["whole"] != STREAMS:
        raise SystemExit(f"only {outcome['whole']} of {STREAMS} streams were whole")
