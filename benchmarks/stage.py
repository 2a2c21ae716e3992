"""What one run needs: a target for each load, the peer in front of them, and clients."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import LOAD, Peer, Route, Running
from benchmarks.processes import LAST, BenchmarkError, Program, cpu_s, processors

RUN_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator is asked for; see its usage.

    Attributes:
        amount: bytes in all, messages, keys or visits.
        apart: whether both of its ends have the last processor.
        yields: whether the peer, and other loads, go before it.
    """

    word: str
    sessions: int = 1
    amount: int = 0
    seconds: float = RUN_LIMIT_S
    apart: bool = False
    yields: bool = False

    @property
    def arguments(self) -> list[str]:
        amount = self.amount // self.sessions if self.word in ("down", "stall") else self.amount
        return [self.word, "-n", str(self.sessions), "-a", str(amount), "-s", f"{self.seconds:g}"]


class Stage:
    """A peer that runs, with its targets."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self.running: Running

    def target(self, load: Load) -> int:
        """Start a target; its port."""
        return int(self._start(load, ["target", *load.arguments], {}).line())

    def client(self, load: Load, route: Route) -> Client:
        """Start the client's side and wait until its sessions are open."""
        words = ["client", *load.arguments, "-p", str(route.port), "-w", route.way, *(["-t"] if route.tls else [])]
        client = Client(self._start(load, words, {"LOAD_PATH": route.path}))
        client.wait()
        return client

    @property
    def pid(self) -> int | None:
        """Of the peer, if it is a program."""
        return None if self.running.program is None else self.running.program.pid

    def cpu_s(self) -> float:
        """CPU seconds of the peer until now."""
        return 0.0 if self.pid is None else cpu_s(self.pid)

    def _start(self, load: Load, words: Sequence[str], environment: Mapping[str, str]) -> Program:
        log = self._folder / "load.log"
        with processors(LAST) if load.apart else nullcontext():
            program = Program([LOAD, *words], log, talks=True, yields=load.yields, environment=environment)
        self._stack.callback(program.stop)
        return program


class Client:
    """The client's side of the load generator."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def wait(self) -> None:
        """Until it is ready for the next step."""
        if (line := self._program.line(RUN_LIMIT_S)) != "ready":
            raise BenchmarkError(f"the load generator said {line!r}")

    def begin(self) -> None:
        """Let it go on."""
        self._program.go_on()

    def result(self) -> dict[str, Any]:
        """What it measured, once it has."""
        found: dict[str, Any] = json.loads(self._program.line(RUN_LIMIT_S))
        return found


@contextmanager
def on_stage(peer: Peer, folder: Path, loads: Sequence[Load], *, way: str, tls: bool) -> Iterator[Stage]:
    """Start a target for each load, then the peer."""
    with ExitStack() as stack:
        stage = Stage(stack, folder)
        ports = [stage.target(load) for load in loads]
        stage.running = stack.enter_context(peer.running(folder, ports, way=way, tls=tls))
        yield stage
