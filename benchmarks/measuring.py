"""Plays one scene on one peer, and says what it took: figures by the names of `tables.UNITS`."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import Peer
from benchmarks.processes import ALL_BUT_LAST, BenchmarkError, file_limit, first, processors, pss_kib, rss_kib
from benchmarks.stage import Load, Stage, on_stage

SETTLING_S = 0.5  # before memory is looked at
STALL_S = 4.0
SPARE_FILES = 100  # of a proxy, besides its sessions

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Play:
    """One run of a scene."""

    peer: Peer
    folder: Path
    load: Load
    way: str = "websocket"
    tls: bool = False

    @contextmanager
    def stage(self, *targets: Load) -> Iterator[Stage]:
        """The peer with these targets, or the load's own."""
        with on_stage(self.peer, self.folder, targets or (self.load,), way=self.way, tls=self.tls) as stage:
            yield stage

    def _run(self, stage: Stage) -> tuple[dict[str, Any], float]:
        """One client from begin to end: its result, and the peer's CPU seconds meanwhile."""
        client = stage.client(self.load, stage.running.routes[0])
        before = stage.cpu_s()
        client.begin()
        result = client.result()
        return result, stage.cpu_s() - before

    def bulk(self) -> Figures:
        """Many bytes one way; all of them must have come."""
        with self.stage() as stage:
            result, used_s = self._run(stage)
        if self.load.word == "down" and result["bytes"] != self.load.amount // self.load.sessions * self.load.sessions:
            raise BenchmarkError(f"{result['bytes']} bytes came within {self.load.seconds:g} s")
        return {
            "cpu_s_per_gb": used_s * 1e9 / result["bytes"],
            "mb_per_s": result["bytes"] / 1e6 / result["seconds"],
        }

    def small_messages(self) -> Figures:
        """Many short messages up."""
        with self.stage() as stage:
            result, used_s = self._run(stage)
        return {
            "cpu_s_per_100k": used_s * 1e5 / result["count"],
            "per_s": result["count"] / result["seconds"],
        }

    def painting(self) -> Figures:
        """Sessions that paint and ask for more."""
        with self.stage() as stage:
            result, used_s = self._run(stage)
        return {
            "cpu_s_per_gb": used_s * 1e9 / result["bytes"],
            "p50_us": result["p50_us"],
            "p99_us": result["p99_us"],
            "mb_per_s": result["bytes"] / 1e6 / result["seconds"],
        }

    def keystrokes(self) -> Figures:
        """One key after the other, there and back."""
        with self.stage() as stage:
            result, used_s = self._run(stage)
        return {
            "p50_us": result["p50_us"],
            "p99_us": result["p99_us"],
            "cpu_s_per_100k": used_s * 1e5 / result["count"],
        }

    def keystrokes_among(self, painting: Load) -> Figures:
        """The same while other sessions paint; their client is a process of its own."""
        with self.stage(painting) as stage:
            painters = stage.client(painting, stage.running.routes[0])
            painters.begin()
            result, _ = self._run(stage)
        return {"p50_us": result["p50_us"], "p99_us": result["p99_us"]}

    def keystrokes_beside_flood(self, flood: Load) -> Figures:
        """Keys first alone, then while another session of the process is flooded, each with a target of its own.

        The keys have a processor of their own, and they and the peer run before all others: else it is the processes'
        waiting for processors that is measured.
        """
        with first(), processors(ALL_BUT_LAST), self.stage(self.load, flood) as stage:
            alone, _ = self._run(stage)
            flooded = stage.client(flood, stage.running.routes[1])
            flooded.begin()
            result, _ = self._run(stage)
        return {
            "idle_p99_us": alone["p99_us"],
            "p50_us": result["p50_us"],
            "p99_us": result["p99_us"],
            "times_idle_p99": result["p99_us"] / alone["p99_us"],
        }

    def visits(self) -> Figures:
        """Connections, each until the first byte of its desktop."""
        with self.stage() as stage:
            result, used_s = self._run(stage)
        if not result["count"]:
            raise BenchmarkError("not one visit in the time that there was")
        return {
            "visits_per_s": result["count"] / result["seconds"],
            "cpu_ms_per_visit": used_s * 1e3 / result["count"],
            "p50_us": result["p50_us"],
        }

    def idle_sessions(self) -> Figures:
        """Memory of sessions that do nothing, beside one that was there before; each then answers a keystroke."""
        if (needed := 2 * self.load.sessions + SPARE_FILES) > file_limit():
            raise BenchmarkError(f"{self.load.sessions} sessions need {needed} open files, ulimit -n is {file_limit()}")
        with self.stage() as stage:
            assert stage.pid is not None
            client = stage.client(self.load, stage.running.routes[0])
            before = _settled(stage.pid, pss_kib)
            client.begin()
            client.wait()
            grown = _settled(stage.pid, pss_kib) - before
            client.begin()
            result = client.result()
        return {
            "kib_per_session": grown / self.load.sessions,
            "base_mib": before / 1024,
            "sessions": float(result["count"]),
        }

    def stalled_client(self) -> Figures:
        """A flood that the client does not read for a while; in the end it reads all of it."""
        with self.stage() as stage:
            assert stage.pid is not None
            client = stage.client(self.load, stage.running.routes[0])
            before = most = _settled(stage.pid, rss_kib)
            client.begin()
            client.wait()
            deadline = time.monotonic() + STALL_S
            while time.monotonic() < deadline:
                most = max(most, rss_kib(stage.pid))
                time.sleep(0.05)
            client.begin()
            came = client.result()["bytes"]
        if came != self.load.amount:
            raise BenchmarkError(f"{came} bytes came after all")
        return {"growth_mib": (most - before) / 1024}

    def start_up(self) -> Figures:
        """From the start of the program to the first byte that a client hears."""
        with self.stage() as stage:
            port = stage.running.routes[0].port
            program = stage.running.program
            assert program is not None
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(self.peer.hello)
                if not client.recv(1):
                    raise BenchmarkError(f"{self.peer.name} hangs up: {program.errors}")
            return {"startup_s": time.monotonic() - program.started, "base_mib": pss_kib(program.pid) / 1024}


def _settled(pid: int, measure: Callable[[int], int]) -> int:
    time.sleep(SETTLING_S)
    return measure(pid)
