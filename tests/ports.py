"""Ports for programs that are about to start, and one that never answers."""

import contextlib
import os
import random
import socket
import time
from collections.abc import Iterator

_chance = random.SystemRandom()  # which nothing seeds
_given: set[int] = set()


def _own() -> range:
    """Those of this process of pytest-xdist, beside which others look for ports too."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return range(20000 + number, 32000, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody has at any address, and that was not given before, for a program to listen on.

    It is below those that the kernel gives to outgoing connections, one of which might have it by then.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in _chance.sample(sorted(set(_own()) - _given), 100):
        try:
            for everywhere in {family, socket.AF_INET}:
                with socket.socket(everywhere) as trial:
                    trial.bind(("::" if everywhere == socket.AF_INET6 else "0.0.0.0", port))
        except OSError:
            continue
        _given.add(port)
        return port
    raise AssertionError("no free port found")


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port of 127.0.0.1 that never answers: its backlog is full."""
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        time.sleep(0.02)
        yield hole.getsockname()[1]
