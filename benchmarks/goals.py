"""What is to be reached, in one run of all scenes."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.scenes import PRODUCT, WORKERS


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of one figure.

    Attributes:
        against: the peer whose figure it is divided by; None: the figure itself.
        at_most: else it is a lower bound.
    """

    scene: str
    figure: str
    bound: float
    against: str | None = "websockify"
    at_most: bool = True
    peer: str = PRODUCT

    def is_met(self, value: float) -> bool:
        """Whether a measured value reaches it."""
        return value <= self.bound if self.at_most else value >= self.bound


GOALS = (
    Goal("down", "cpu_s_per_gb", 0.40),
    Goal("down", "cpu_s_per_gb", 0.50, "haproxy"),
    Goal("down-16", "cpu_s_per_gb", 0.55),
    Goal("down-xvp", "cpu_s_per_gb", 0.35, "haproxy"),
    Goal("paint", "cpu_s_per_gb", 0.5),
    Goal("up-large", "mb_per_s", 5, at_most=False),
    Goal("up-small", "per_s", 12, at_most=False),
    Goal("keys", "added_us", 0.85),
    Goal("keys-busy", "p99_us", 0.7),
    Goal("connect", "visits_per_s", 4, at_most=False, peer=WORKERS),  # as it runs by itself: on all processors,
    Goal("connect-xvp", "visits_per_s", 8, at_most=False, peer=WORKERS),  # as websockify's processes do
    Goal("connect-tls", "visits_per_s", 3, at_most=False, peer=WORKERS),
    Goal("idle", "kib_per_session", 20, None),
    Goal("idle-tls", "kib_per_session", 50, None),
    Goal("hold", "sessions", 4000, None, at_most=False),
    Goal("down-tls", "cpu_s_per_gb", 1.6),
    Goal("down-tls", "cpu_s_per_gb", 1.15),  # with a pump of our own for TLS
    Goal("keys-tls", "p50_us", 1.6),
    Goal("stall", "growth_mib", 1, None),
    Goal("fair", "times_idle_p99", 3, None),
    Goal("start", "startup_s", 1, None),
    Goal("start", "startup_s", 1, None, peer=WORKERS),
)
