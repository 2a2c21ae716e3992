"""`python -m benchmarks`: play the scenes, the peers of each in turn, and print the tables."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from benchmarks import network, page
from benchmarks.measuring import Figures, Play
from benchmarks.peers import Peer, check_load_generator
from benchmarks.processes import LAST, BenchmarkError, file_limit, processors
from benchmarks.scenes import PEERS, SCENES, Scene
from benchmarks.tables import Rounds


def main(words: Sequence[str] | None = None) -> int:
    """Play what the arguments say; status 1 where a run failed."""
    arguments = _parser().parse_args(words)
    chosen = _chosen(arguments.only)
    file_limit()
    if not network.enter():
        _say("only root can measure in a network of its own; the system's may have another TCP")
    load_average = os.getloadavg()[0]
    begun = time.monotonic()
    try:
        check_load_generator()
        bench = Bench(arguments.peers and arguments.peers.split(","), quick=arguments.quick)
        results = {scene.name: bench.play(scene, arguments.repeat or (1 if arguments.quick else 5)) for scene in chosen}
    except BenchmarkError as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return 1
    report = page.report(results, load_average=load_average)
    sys.stdout.write(f"{report}\n")
    _say(f"{time.monotonic() - begun:.0f} s")
    if arguments.write or (chosen == SCENES and not arguments.quick and arguments.peers is None):
        page.write(report, results)
    return 1 if bench.failures else 0


class Bench:
    """Plays scenes round by round: every peer once, then every peer again.

    Args:
        only: names of the peers that play; None: all that are there.
        quick: whether the loads are the short ones.
    """

    def __init__(self, only: Sequence[str] | None, *, quick: bool) -> None:
        self._quick = quick
        self._only = only
        self._told: set[str] = set()  # what is missing
        self.failures = 0

    def play(self, scene: Scene, repeat: int) -> Rounds:
        """The figures of every peer in every round; a run that fails has none."""
        peers = [
            PEERS[name] for name in scene.peers if (not self._only or name in self._only) and self._has(PEERS[name])
        ]
        rounds = []
        for number in range(repeat):
            each: dict[str, Figures] = {}
            for peer in peers:
                try:
                    each[peer.name] = figures = self._run(scene, peer)
                except BenchmarkError as error:
                    self.failures += 1
                    _say(f"{scene.name} {number + 1}/{repeat} {peer.name}: FAILED: {error}")
                    continue
                if scene.adds_delay and peer.name != "direct" and "direct" in each:
                    figures["added_us"] = figures["p50_us"] - each["direct"]["p50_us"]
                told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
                _say(f"{scene.name} {number + 1}/{repeat} {peer.name}: {told}")
            rounds.append(each)
        return rounds

    def _run(self, scene: Scene, peer: Peer) -> Figures:
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        load = scene.quick if self._quick else scene.load
        try:
            with processors(LAST) if scene.on_one_processor else nullcontext():
                figures = scene.measure(Play(peer, folder, load, way=scene.way, tls=scene.tls))
        except BenchmarkError as error:
            raise BenchmarkError(f"{error} (what was written is in {folder})") from error
        shutil.rmtree(folder, ignore_errors=True)
        return figures

    def _has(self, peer: Peer) -> bool:
        missing = peer.missing()
        if missing and missing not in self._told:
            self._told.add(missing)
            _say(f"without {peer.name}: {missing}")
        return missing is None


def _chosen(only: str | None) -> tuple[Scene, ...]:
    if only is None:
        return SCENES
    wanted = only.split(",")
    unknown = set(wanted) - {scene.name for scene in SCENES}
    if unknown:
        sys.exit(f"no scene {', '.join(sorted(unknown))}; there are {', '.join(scene.name for scene in SCENES)}")
    return tuple(scene for scene in SCENES if scene.name in wanted)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="This proxy beside its peers.")
    parser.add_argument("--only", metavar="SCENE,…", help="these scenes alone: " + ", ".join(s.name for s in SCENES))
    parser.add_argument("--peers", metavar="PEER,…", help="these peers alone: " + ", ".join(PEERS))
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds (5; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="short loads: for a first look")
    parser.add_argument("--write", action="store_true", help="write the page and the README, as a whole run does")
    return parser


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
