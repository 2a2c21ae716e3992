"""What a process counts of its own work, as plain numbers that add up over processes.

A *snapshot* is a flat dictionary of numbers, one for each series, which JSON holds as it is: any number of processes
can each give one, and `rfbproxy.exposition` writes them, summed, as one page of metrics. Every label has a closed list
of values, none of which is of a client, an instance or a token, so that the page has always the same length.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from rfbproxy.consoleauth import CONSOLE_TYPES
from rfbproxy.reasons import CloseReason

Snapshot = Mapping[str, float]
Protocol = Literal["vnc", "spice"]
Labels = tuple[str, ...]

PROTOCOLS: tuple[Protocol, ...] = ("vnc", "spice")
HANDSHAKE_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
STORE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
INFINITE = "+Inf"

_ALONE: tuple[Labels, ...] = ((),)
_BY_PROTOCOL: tuple[Labels, ...] = tuple((protocol,) for protocol in PROTOCOLS)
_BY_REASON: tuple[Labels, ...] = tuple((protocol, reason.value) for protocol in PROTOCOLS for reason in CloseReason)
_BY_TYPE: tuple[Labels, ...] = tuple(
    ("spice" if console_type.startswith("spice") else "vnc", console_type) for console_type in CONSOLE_TYPES
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as it is told; a counter's ends with `_total`.
        kind: a histogram's series are cumulative counts by bucket, and a sum.
        labels: their names.
        series: the values of the labels, of every series that there is.
        buckets: a histogram's, without the infinite one.
        is_least: over processes the least number counts, not the sum.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    what: str
    labels: Labels = ()
    series: tuple[Labels, ...] = _ALONE
    buckets: tuple[float, ...] = ()
    is_least: bool = False

    def keys(self) -> Iterable[str]:
        """The keys of its numbers in a snapshot."""
        for values in self.series:
            if self.kind == "histogram":
                yield from (key(self.bucket_name, *values, bound) for bound in self.bounds)
                yield key(self.sum_name, *values)
            else:
                yield key(self.name, *values)

    @property
    def bounds(self) -> tuple[str, ...]:
        """Of a histogram's buckets, as their label has them."""
        return (*map(str, self.buckets), INFINITE)

    @property
    def bucket_name(self) -> str:
        """Of a histogram's buckets."""
        return f"{self.name}_bucket"

    @property
    def sum_name(self) -> str:
        """Of a histogram's sum."""
        return f"{self.name}_sum"


def key(name: str, *values: str) -> str:
    """The key of one number in a snapshot."""
    return "|".join((name, *values))


SESSIONS = Metric("consoleproxy_sessions", "gauge", "Sessions that live now.", ("protocol", "console_type"), _BY_TYPE)
VISITS = Metric(
    "consoleproxy_visits_total",
    "counter",
    "Visits that have ended, each of which left an audit record.",
    ("protocol", "close_reason"),
    _BY_REASON,
)
REFUSED = Metric(
    "consoleproxy_visits_refused_total",
    "counter",
    "Those of them that ended before they relayed anything.",
    ("protocol", "close_reason"),
    _BY_REASON,
)
TO_CLIENT = Metric(
    "consoleproxy_to_client_bytes_total",
    "counter",
    "Bytes of the desktop protocol that were relayed to clients.",
    ("protocol",),
    _BY_PROTOCOL,
)
TO_TARGET = Metric(
    "consoleproxy_to_target_bytes_total",
    "counter",
    "Bytes of the desktop protocol that were relayed to targets.",
    ("protocol",),
    _BY_PROTOCOL,
)
HANDSHAKE = Metric(
    "consoleproxy_handshake_duration_seconds",
    "histogram",
    "From the beginning of a visit to its relay, for those that come to it; each SPICE channel is one.",
    ("protocol",),
    _BY_PROTOCOL,
    HANDSHAKE_BUCKETS_S,
)
DIAL_FAILURES = Metric("consoleproxy_dial_failures_total", "counter", "Connections to targets that did not come about.")
STORE_CALLS = Metric(
    "consoleproxy_token_store_duration_seconds",
    "histogram",
    "Calls of the token store, waiting for a thread included.",
    buckets=STORE_BUCKETS_S,
)
STORE_ERRORS = Metric(
    "consoleproxy_token_store_errors_total", "counter", "Those of them that failed because the store did."
)
STORE_UP = Metric("consoleproxy_token_store_up", "gauge", "Whether the token store answers.", is_least=True)
READY = Metric("consoleproxy_ready", "gauge", "Whether a console could be opened, as /readyz says.", is_least=True)
UNAUTHENTICATED = Metric(
    "consoleproxy_unauthenticated_connections", "gauge", "Connections whose client has shown no good token yet."
)
OURS = (SESSIONS, VISITS, REFUSED, TO_CLIENT, TO_TARGET, HANDSHAKE, DIAL_FAILURES, STORE_CALLS, STORE_ERRORS, STORE_UP,
        READY, UNAUTHENTICATED)  # fmt: skip


class _Durations:
    """One series of a histogram, in which each duration is counted once, and summed up when it is told."""

    __slots__ = ("_bounds", "_bucket_keys", "_counts", "_seconds", "_sum_key")

    def __init__(self, metric: Metric, *values: str) -> None:
        self._bounds = metric.buckets
        self._counts = [0] * (len(metric.buckets) + 1)
        self._seconds = 0.0
        self._bucket_keys = [key(metric.bucket_name, *values, bound) for bound in metric.bounds]
        self._sum_key = key(metric.sum_name, *values)

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def numbers(self) -> dict[str, float]:
        """As a part of a snapshot; none where nothing was counted."""
        if not any(self._counts):
            return {}
        return dict(zip(self._bucket_keys, accumulate(self._counts), strict=True)) | {self._sum_key: self._seconds}


class Figures:
    """The counts of one process, for the reactor's thread alone; they begin at zero and never go down."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, float] = defaultdict(float)
        self._handshakes = {protocol: _Durations(HANDSHAKE, protocol) for protocol in PROTOCOLS}
        self._store_calls = _Durations(STORE_CALLS)

    def visit_ended(self, protocol: Protocol, reason: str, *, refused: bool) -> None:
        """A visit left its audit record; `refused`: it never relayed."""
        self._counts[key(VISITS.name, protocol, reason)] += 1
        if refused:
            self._counts[key(REFUSED.name, protocol, reason)] += 1

    def negotiated(self, protocol: Protocol, seconds: float) -> None:
        """A visit came to its relay."""
        self._handshakes[protocol].add(seconds)

    def relayed(self, protocol: Protocol, to_client: int, to_target: int) -> None:
        """A connection that relayed so many bytes is over."""
        self._counts[key(TO_CLIENT.name, protocol)] += to_client
        self._counts[key(TO_TARGET.name, protocol)] += to_target

    def dial_failed(self) -> None:
        """A target could not be connected to."""
        self._counts[key(DIAL_FAILURES.name)] += 1

    def store_called(self, seconds: float, *, failed: bool) -> None:
        """The token store has answered, or failed."""
        self._store_calls.add(seconds)
        if failed:
            self._counts[key(STORE_ERRORS.name)] += 1

    def snapshot(self, live: Snapshot) -> dict[str, float]:
        """All numbers as they are now.

        Args:
            live: what is not counted but looked at, gauges and counters' parts of what is not over yet.
        """
        counts = dict(self._counts)
        for durations in (*self._handshakes.values(), self._store_calls):
            counts |= durations.numbers()
        return {name: counts.get(name, 0) + live.get(name, 0) for name in counts.keys() | live.keys()}
