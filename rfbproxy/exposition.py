"""Snapshots of any number of processes as one page in Prometheus' text format."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from rfbproxy import __version__
from rfbproxy.metrics import OURS, Metric, Snapshot, key

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # whatever later ones allow, the names here are plain

# Of prometheus-client's ProcessCollector, which has them on Linux alone.
PROCESS = (
    Metric("process_cpu_seconds_total", "counter", "CPU time spent, in the system and outside."),
    Metric("process_resident_memory_bytes", "gauge", "Memory that is resident."),
    Metric("process_virtual_memory_bytes", "gauge", "Memory that is mapped."),
    Metric("process_open_fds", "gauge", "File descriptors that are open."),
    Metric("process_max_fds", "gauge", "File descriptors that may be open in one process.", is_least=True),
    Metric("process_start_time_seconds", "gauge", "When the first process started, in Unix seconds.", is_least=True),
)
BUILD = Metric("consoleproxy_build_info", "gauge", "Always 1; the label says which version runs.", ("version",),
               ((__version__,),))  # fmt: skip
METRICS = (*OURS, *PROCESS, BUILD)

_of_this_process = ProcessCollector(registry=None)


def process_snapshot() -> dict[str, float]:
    """What the system says of this process."""
    names = {metric.name for metric in PROCESS}
    samples = [sample for family in _of_this_process.collect() for sample in family.samples]
    return {key(sample.name): sample.value for sample in samples if sample.name in names}


def summed(snapshots: Sequence[Snapshot]) -> dict[str, float]:
    """What several processes are together; a series that one does not tell of is left to the others."""
    result = {}
    for metric in METRICS:
        together = min if metric.is_least else sum
        for name in metric.keys():  # noqa: SIM118 - a Metric is no mapping
            if said := [snapshot[name] for snapshot in snapshots if name in snapshot]:
                result[name] = together(said)
    return result


def remains_of(snapshot: Snapshot) -> dict[str, float]:
    """What must be kept of a process that has ended, lest the sums of counters go down."""
    lasting = {name for metric in METRICS if metric.kind != "gauge" for name in metric.keys()}  # noqa: SIM118
    return {name: number for name, number in snapshot.items() if name in lasting}


def exposition(snapshots: Sequence[Snapshot]) -> bytes:
    """The page; its content type is `CONTENT_TYPE`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector({**summed(snapshots), key(BUILD.name, __version__): 1}))
    return bytes(generate_latest(registry))


@dataclass(frozen=True, slots=True, eq=False)
class _Collector(Collector):
    numbers: Snapshot

    def collect(self) -> Iterable[Family]:
        """See `Collector`."""
        for metric in METRICS:
            # A count that nothing has added to is nought; what nobody can tell, as of a process, is left out.
            if metric not in PROCESS or any(name in self.numbers for name in metric.keys()):  # noqa: SIM118
                yield self._family(metric)

    def _family(self, metric: Metric) -> Family:
        if metric.kind == "histogram":
            histogram = HistogramMetricFamily(metric.name, metric.what, labels=metric.labels)
            for values in metric.series:
                histogram.add_metric(values, list(self._buckets(metric, values)), self._number(metric.sum_name, values))
            return histogram
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.name, metric.what, labels=metric.labels)
        for values in metric.series:
            family.add_metric(values, self._number(metric.name, values))
        return family

    def _buckets(self, metric: Metric, values: tuple[str, ...]) -> Iterator[tuple[str, float]]:
        for bound in metric.bounds:
            yield bound, self._number(metric.bucket_name, (*values, bound))

    def _number(self, name: str, values: tuple[str, ...]) -> float:
        return self.numbers.get(key(name, *values), 0)
