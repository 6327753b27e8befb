"""What is wrong with the chain, for Prometheus; read only when asked."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.channels.treasury import Watch


class ChainCollector(Collector):
    """Troubles of the process that watches, by their words; no names of accounts or channels."""

    def __init__(self, watch: Callable[[], Watch | None]) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        """What `/metrics` shows."""
        watch = self._watch()
        if watch is None:
            return
        gauge = GaugeMetricFamily(
            "bombyx_chain_troubles", "What a person must look at.", labels=["word"]
        )
        for word, count in Counter(one.word for one in watch.troubles()).items():
            gauge.add_metric([word], count)
        yield gauge
