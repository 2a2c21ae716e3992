"""The proxies that this one is compared with."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.processes import BenchmarkError, Program, file_limit, free_port
from tests.certificates import certificate

FOLDER = Path(__file__).parent.parent / ".bench"  # what `make bench` has built
LOAD = FOLDER / "load"
WEBSOCKIFY = FOLDER / "venv" / "bin" / "websockify"
NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


@dataclass(frozen=True, slots=True)
class Route:
    """How clients come in: `way` is `raw`, `connect` or `websocket`."""

    port: int
    way: str
    tls: bool = False
    path: str = "/"


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that listens; without a program it is the target itself. There is a route to each target."""

    program: Program | None
    routes: Sequence[Route]


@cache
def found(name: str) -> str | None:
    """Where a program is; also where only root looks."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def check_load_generator() -> None:
    """Raise `BenchmarkError` unless the load generator is there."""
    if not LOAD.exists():
        raise BenchmarkError("the load generator is not built: run make bench")


class Peer(ABC):
    """What clients connect to.

    Attributes:
        hello: what makes it say something, to a client that has just connected.
    """

    name: str
    hello = b""

    def missing(self) -> str | None:
        """What is not there and should be, or None."""
        return None

    @abstractmethod
    def running(self, folder: Path, targets: Sequence[int], *, way: str, tls: bool) -> AbstractContextManager[Running]:
        """Serve clients of those targets (ports) until the end.

        Args:
            way: that the clients of this proxy are to come by; other peers have one way alone.
        """


class Direct(Peer):
    """No proxy: what the load generator can do."""

    name = "direct"

    @contextmanager
    def running(self, folder: Path, targets: Sequence[int], *, way: str, tls: bool) -> Iterator[Running]:
        """See `Peer.running`."""
        yield Running(None, [Route(port, "raw") for port in targets])


class Proxy(Peer):
    """A program between clients and targets, started anew for every run."""

    @contextmanager
    def running(self, folder: Path, targets: Sequence[int], *, way: str, tls: bool) -> Iterator[Running]:
        """See `Peer.running`."""
        port = free_port()
        if tls:
            certificate(folder / "cert.pem", folder / "key.pem")
            (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
        routes = self._prepare(folder, port, targets, way=way, tls=tls)
        program = Program(self._command(folder, port, targets, tls=tls), folder / f"{self.name}.log")
        try:
            program.wait_for_port(port)
            yield Running(program, routes)
        finally:
            program.stop()

    @abstractmethod
    def _prepare(self, folder: Path, port: int, targets: Sequence[int], *, way: str, tls: bool) -> Sequence[Route]:
        """Write what it reads, and say how clients come in."""

    @abstractmethod
    def _command(self, folder: Path, port: int, targets: Sequence[int], *, tls: bool) -> Sequence[str | Path]:
        """What starts it."""


class Websockify(Proxy):
    """websockify in Python, with numpy."""

    name = "websockify"
    hello = b"GET / HTTP/1.0\r\n\r\n"

    def missing(self) -> str | None:
        """See `Peer.missing`."""
        return None if WEBSOCKIFY.exists() else "websockify is not installed: run make bench"

    def _prepare(self, folder: Path, port: int, targets: Sequence[int], *, way: str, tls: bool) -> Sequence[Route]:
        return [Route(port, "websocket", tls, "/websockify")]

    def _command(self, folder: Path, port: int, targets: Sequence[int], *, tls: bool) -> Sequence[str | Path]:
        files = [f"--cert={folder}/cert.pem", f"--key={folder}/key.pem", "--ssl-only"] if tls else []
        return [WEBSOCKIFY, *files, f"127.0.0.1:{port}", f"127.0.0.1:{targets[0]}"]


class Haproxy(Proxy):
    """HAProxy in TCP mode, one thread; its clients speak bare RFB."""

    def __init__(self, name: str, options: str = "") -> None:
        self.name = name
        self._options = options

    def missing(self) -> str | None:
        """See `Peer.missing`."""
        return None if found("haproxy") else "haproxy is not installed: sh tests/live/debian.sh haproxy"

    def _prepare(self, folder: Path, port: int, targets: Sequence[int], *, way: str, tls: bool) -> Sequence[Route]:
        inside = f" ssl crt {folder}/both.pem" if tls else ""
        ports = [port, *(free_port() for _ in targets[1:])]
        (folder / "haproxy.cfg").write_text(
            f"global\n  maxconn {min(5000, file_limit() // 3)}\n  nbthread 1\n"
            "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 10m\n  timeout server 10m\n"
            + "".join(
                f"listen consoles{own}\n  bind 127.0.0.1:{own}{inside}\n  {self._options}\n"
                f"  server target 127.0.0.1:{target}\n"
                for own, target in zip(ports, targets, strict=True)
            )
        )
        return [Route(own, "raw", tls) for own in ports]

    def _command(self, folder: Path, port: int, targets: Sequence[int], *, tls: bool) -> Sequence[str | Path]:
        return [found("haproxy") or "", "-db", "-f", folder / "haproxy.cfg"]


class Nginx(Proxy):
    """Nginx's stream module, one worker; its clients speak bare RFB."""

    name = "nginx"

    def missing(self) -> str | None:
        """See `Peer.missing`."""
        there = found("nginx") and NGINX_STREAM.exists()
        return None if there else "nginx is not installed with its stream module (nginx-light, libnginx-mod-stream)"

    def _prepare(self, folder: Path, port: int, targets: Sequence[int], *, way: str, tls: bool) -> Sequence[Route]:
        inside = f"ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;" if tls else ""
        (folder / "nginx.conf").write_text(
            f"load_module {NGINX_STREAM}; daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;\n"
            f"events {{ worker_connections {min(10000, file_limit())}; }}\n"
            f"stream {{ server {{ listen 127.0.0.1:{port}{' ssl' if tls else ''}; {inside}\n"
            f"proxy_pass 127.0.0.1:{targets[0]}; }} }}\n"
        )
        return [Route(port, "raw", tls)]

    def _command(self, folder: Path, port: int, targets: Sequence[int], *, tls: bool) -> Sequence[str | Path]:
        return [found("nginx") or "", "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]
