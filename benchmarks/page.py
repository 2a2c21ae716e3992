"""Writes the figures between the marks of the manual's page and of the README."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import network
from benchmarks.goals import GOALS
from benchmarks.peers import WEBSOCKIFY, found
from benchmarks.scenes import PRODUCT, SCENES, WORKERS
from benchmarks.tables import Rounds, goal_table, middle, number, ratio, scene_table

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"
README = ROOT / "README.md"
_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"
_TITLES = {scene.name: scene.title for scene in SCENES}


def report(scenes: Mapping[str, Rounds], *, load_average: float) -> str:
    """All tables of one run, as Markdown."""
    parts = [_setting(load_average), "### Goals", goal_table(GOALS, scenes, _TITLES)]
    for name, rounds in scenes.items():
        parts += [f"### {_TITLES[name]} (`{name}`)", scene_table(rounds)]
    return "\n\n".join(parts)


def write(text: str, scenes: Mapping[str, Rounds]) -> None:
    """Put the report into the manual and its sum into the README."""
    _replace(PAGE, text)
    _replace(README, _three_lines(scenes))


def _replace(file: Path, text: str) -> None:
    before, begin, rest = file.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{file.name} has no place for the figures")
    file.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _three_lines(scenes: Mapping[str, Rounds]) -> str:
    def times(scene: str, figure: str, against: str = "websockify", peer: str = PRODUCT) -> str:
        return number(ratio(scenes.get(scene, ()), peer, figure, against))

    def sessions(figure: str, scene: str = "idle", peer: str = PRODUCT) -> str:
        return number(middle(scenes.get(scene, ()), peer, figure))

    return "\n".join(
        (
            f"- CPU time for a desktop on its way to a browser: {times('down', 'cpu_s_per_gb')} of websockify's, "
            f"{times('down', 'cpu_s_per_gb', 'haproxy')} of HAProxy's in TCP mode; "
            f"in TLS {times('down-tls', 'cpu_s_per_gb')} of websockify's.",
            f"- {times('connect', 'visits_per_s', peer=WORKERS)} times websockify's visits a second, "
            f"{times('up-small', 'per_s')} times its short messages, "
            f"{times('keys', 'added_us')} of what it adds to a keystroke's way.",
            f"- {sessions('kib_per_session')} KiB of memory for an idle session (websockify: "
            f"{sessions('kib_per_session', peer='websockify')}), "
            f"{sessions('sessions', 'hold')} sessions in one process.",
        )
    )


def _setting(load_average: float) -> str:
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    parts = [
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{os.cpu_count()} processors ({cpu[1] if cpu else platform.machine()})",
        f"{int(memory[1]) / 2**20 if memory else 0:.0f} GiB",
        f"{system}, Linux {platform.release().split('-')[0]}, {network.described()}",
        f"load average before the first run {load_average:.1f}",
        f"Python {platform.python_version()}, Twisted {version('twisted')}, pyOpenSSL {version('pyopenssl')}",
        _versions(WEBSOCKIFY.parent / "pip", "freeze"),
        _versions(found("haproxy"), "-v"),
    ]
    return "; ".join(part for part in parts if part) + "."


def _versions(*command: str | Path | None) -> str:
    """What a command tells of the peers' versions."""
    if command[0] is None or not Path(command[0]).exists():
        return ""
    told = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in told.stdout.splitlines() if line.startswith(("websockify", "HAProxy", "numpy"))]
    return ", ".join(line.replace("==", " ").split("-")[0].replace("HAProxy version", "HAProxy") for line in lines)
