"""The gateway's routing beside others', in a small simulated network (docs/routing.md)."""

import functools

import pytest

from benchmarks.simulator.fleet import Kind
from benchmarks.simulator.network import Outcome, Scenario, Simulation
from benchmarks.simulator.report import BARE, SEALED, show, summary

SMALL = Scenario(workers=60, requests=4000, load=0.7)
OVERLOAD = Scenario(workers=10, requests=1500, load=1.3)


@functools.cache
def outcome(name: str, scenario: Scenario = SMALL) -> Outcome:
    return Simulation(scenario, (BARE | SEALED)[name]).run()


def cost(name: str) -> float:
    told = outcome(name)
    return told.cost / told.tokens


def first_p99(name: str) -> float:
    times = sorted(outcome(name).first_tokens)
    return times[int(len(times) * 0.99)]


def test_one_seed_has_one_course() -> None:
    assert Simulation(SMALL, BARE["balanced"]).run() == outcome("balanced")


def test_fast_is_faster_and_cheap_is_cheaper_than_routing_by_turns_or_by_load() -> None:
    for other in ("round-robin", "least loaded"):
        assert first_p99("fast") < first_p99(other)
        assert first_p99("balanced") < first_p99(other)
        assert cost("cheap") < cost(other)
        assert cost("balanced") < cost(other)


def test_who_lies_about_its_load_gets_less() -> None:
    def share(name: str) -> float:
        told = outcome(name)
        return told.to_liars / len(told.latencies)

    assert Kind.LIAR in {worker.kind for worker in Simulation(SMALL, BARE["fast"]).fleet}
    assert share("balanced") < share("least loaded")
    assert share("fast") < share("least loaded")


@pytest.mark.parametrize("name", ["balanced", "sealed, 3 candidates"])
def test_every_request_ends_also_when_more_come_than_can_be_run(name: str) -> None:
    scenario = OVERLOAD if name == "balanced" else Scenario(10, 1500, 1.3, sealed=True)
    told = outcome(name, scenario)
    assert len(told.latencies) + told.failed == pytest.approx(1000, abs=100)
    assert told.latencies


def test_the_table_has_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"load": 0.7, "routing": "fast", **summary(outcome("fast"))}])
    assert capsys.readouterr().out.count("\n") == 3
