"""`python -m benchmarks --only routing`: the table of docs/routing.md."""

import sys
from collections.abc import Callable
from random import Random

from benchmarks.simulator.network import Outcome, Scenario, Simulation
from benchmarks.simulator.strategies import LeastLoaded, Own, RoundRobin, Strategy
from gateway.routing.route import Policy

WORKERS, REQUESTS = 1000, 30_000
LOADS = (0.5, 0.8)
Make = Callable[[Random], Strategy]

BARE: dict[str, Make] = {
    "round-robin": RoundRobin,
    "least loaded": LeastLoaded,
    "balanced": lambda chance: Own(chance, Policy.BALANCED),
    "cheap": lambda chance: Own(chance, Policy.CHEAP),
    "fast": lambda chance: Own(chance, Policy.FAST),
}
SEALED: dict[str, Make] = {"sealed, 3 candidates": BARE["balanced"]}


def measure(workers: int = WORKERS, requests: int = REQUESTS) -> list[dict[str, object]]:
    """All strategies at all loads; the same numbers each time."""
    rows = []
    for load in LOADS:
        for name, make in (BARE | SEALED).items():
            scenario = Scenario(workers, requests, load, sealed=name in SEALED)
            rows.append(
                {"load": load, "routing": name, **summary(Simulation(scenario, make).run())}
            )
            print(f"simulated: {load} {name}", file=sys.stderr)
    return rows


def summary(outcome: Outcome) -> dict[str, object]:
    """Seconds, nano per token, shares."""
    answered = len(outcome.latencies)
    asked = answered + outcome.failed
    return {
        "p50_s": round(_quantile(outcome.latencies, 0.5), 2),
        "p99_s": round(_quantile(outcome.latencies, 0.99), 2),
        "first_p99_s": round(_quantile(outcome.first_tokens, 0.99), 2),
        "cost": round(outcome.cost / max(1, outcome.tokens), 1),
        "liars_percent": round(100 * outcome.to_liars / max(1, answered), 1),
        "failed_percent": round(100 * outcome.failed / max(1, asked), 2),
    }


def show(rows: list[dict[str, object]]) -> None:
    """The rows as a table in Markdown."""
    print("| load | routing | p50, s | p99, s | first token p99, s | cost | to liars | failed |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)] if values else 0.0
