"""Routing for Prometheus. Counted as plain integers where it happens, read only when asked."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.inference.router import Router
from gateway.routing.breaker import State
from gateway.routing.standing import Standings


class RoutingCollector(Collector):
    """One process's choices, outcomes, breakers and queue; `now` is monotonic seconds."""

    def __init__(self, router: Router, standings: Standings, now: Callable[[], float]) -> None:
        self._router = router
        self._standings = standings
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """What `/metrics` shows."""
        router, room = self._router, self._router.room
        yield _counts(
            "bombyx_route_choices",
            "Workers chosen, by what decided.",
            "reason",
            {reason.value: count for reason, count in router.choices.items()},
        )
        yield _counts("bombyx_route_outcomes", "Attempts that ended.", "outcome", router.outcomes)
        yield _counts(
            "bombyx_queue_refused", "Requests that waited in vain.", "reason", room.refused
        )
        yield CounterMetricFamily(
            "bombyx_queue_served", "Requests served after a wait.", room.served
        )
        yield CounterMetricFamily(
            "bombyx_queue_wait_seconds", "Time spent waiting, in all.", room.waited_seconds
        )
        yield GaugeMetricFamily("bombyx_queue_waiting", "Requests that wait now.", len(room))
        states = Counter(one.state(self._now()) for one in self._standings.all())
        gauge = GaugeMetricFamily(
            "bombyx_route_breakers", "Known machines, by their breaker.", labels=["state"]
        )
        for state in State:
            gauge.add_metric([state.value], states[state])
        yield gauge


def _counts(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
