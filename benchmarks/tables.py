"""From the figures of all runs to medians, ratios and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from benchmarks.goals import Goal
from benchmarks.scenes import PRODUCT

UNITS = {  # of every figure, as a table's head names it
    "cpu_s_per_gb": "CPU s/GB",
    "mb_per_s": "MB/s",
    "cpu_s_per_100k": "CPU s/100k",
    "per_s": "messages/s",
    "p50_us": "p50 µs",
    "p99_us": "p99 µs",
    "added_us": "added p50 µs",
    "idle_p99_us": "p99 µs alone",
    "times_idle_p99": "p99 ÷ alone",
    "visits_per_s": "visits/s",
    "cpu_ms_per_visit": "CPU ms/visit",
    "kib_per_session": "PSS KiB/session",
    "base_mib": "PSS MiB before",
    "sessions": "sessions",
    "growth_mib": "RSS MiB grown",
    "startup_s": "s",
}
_NO_RATIOS = ("sessions", "base_mib", "growth_mib", "times_idle_p99")  # of these a ratio says nothing
_RATIO_TO = ("websockify", "haproxy")

Round = Mapping[str, Mapping[str, float]]  # peer, figure
Rounds = Sequence[Round]


def middle(rounds: Rounds, peer: str, figure: str) -> float | None:
    """The median of one figure over the rounds; None where it was never measured."""
    values = [each[peer][figure] for each in rounds if figure in each.get(peer, {})]
    return median(values) if values else None


def ratio(rounds: Rounds, peer: str, figure: str, against: str) -> float | None:
    """The median of the ratios within each round, whose runs were neighbours in time."""
    values = [
        each[peer][figure] / each[against][figure]
        for each in rounds
        if figure in each.get(peer, {}) and each.get(against, {}).get(figure)
    ]
    return median(values) if values else None


def reached(goal: Goal, rounds: Rounds) -> float | None:
    """What was measured of a goal, if it was."""
    if goal.against is None:
        return middle(rounds, goal.peer, goal.figure)
    return ratio(rounds, goal.peer, goal.figure, goal.against)


def scene_table(rounds: Rounds) -> str:
    """One line a peer: medians, then ratios."""
    peers = list(dict.fromkeys(peer for each in rounds for peer in each))
    figures = [name for name in UNITS if any(middle(rounds, peer, name) is not None for peer in peers)]
    ratios = [
        (name, other) for name in figures if name not in _NO_RATIOS for other in _RATIO_TO if other in peers
    ]  # fmt: skip
    head = ["peer", "n", *(UNITS[name] for name in figures), *(f"{UNITS[name]} ÷ {other}" for name, other in ratios)]
    lines = [
        [
            peer,
            str(sum(peer in each for each in rounds)),
            *(number(middle(rounds, peer, name)) for name in figures),
            *(number(ratio(rounds, peer, name, other)) for name, other in ratios),
        ]
        for peer in peers
    ]
    return _markdown([head, *lines])


def goal_table(goals: Sequence[Goal], scenes: Mapping[str, Rounds], titles: Mapping[str, str]) -> str:
    """Every goal of the scenes that were played, and whether it is met."""
    return _markdown([["scene", "figure", "goal", "measured", ""], *_goal_lines(goals, scenes, titles)])


def _goal_lines(goals: Sequence[Goal], scenes: Mapping[str, Rounds], titles: Mapping[str, str]) -> Iterator[list[str]]:
    for goal in goals:
        if goal.scene not in scenes:
            continue
        value = reached(goal, scenes[goal.scene])
        figure = UNITS[goal.figure] + (f" ÷ {goal.against}" if goal.against else "")
        bound = f"{'≤' if goal.at_most else '≥'} {goal.bound:g}"
        verdict = "not measured" if value is None else "met" if goal.is_met(value) else "**missed**"
        title = titles[goal.scene] + (f" ({goal.peer})" if goal.peer != PRODUCT else "")
        yield [title, figure, bound, number(value), verdict]


def number(value: float | None) -> str:
    """Three digits that count, and no more."""
    if value is None:
        return "-"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{2 if abs(value) >= 1 else 3}f}" if abs(value) < 10 else f"{value:.1f}"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rest))
