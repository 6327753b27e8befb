"""What Prometheus is told of routing."""

from prometheus_client import CollectorRegistry, generate_latest

from gateway.inference.alarms import Alarms
from gateway.inference.router import Router
from gateway.inference.routing_metrics import RoutingCollector
from gateway.inference.waiting import WaitingRoom
from gateway.workers.registry import Registry


def test_choices_outcomes_breakers_and_the_queue_are_shown() -> None:
    registry, clock = Registry(), lambda: 100.0
    room = WaitingRoom(total=1, per_account=1, seconds=1, alarms=Alarms(), now=clock)
    router = Router(registry, room=room, now=clock, unix=lambda: 100)
    room.refused["tenant"] = 2
    for _ in range(5):
        registry.standings.of("owner", "machine").fail(100.0)
    registry.standings.of("owner", "other")
    shown = CollectorRegistry()
    shown.register(RoutingCollector(router, registry.standings, clock))
    text = generate_latest(shown).decode()
    for line in (
        'bombyx_route_choices_total{reason="queue"} 0.0',
        'bombyx_route_outcomes_total{outcome="answered"} 0.0',
        'bombyx_queue_refused_total{reason="tenant"} 2.0',
        "bombyx_queue_waiting 0.0",
        "bombyx_queue_wait_seconds_total 0.0",
        'bombyx_route_breakers{state="open"} 1.0',
        'bombyx_route_breakers{state="closed"} 1.0',
    ):
        assert line in text
