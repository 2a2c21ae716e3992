"""Everything that the live tests share: targets and proxies, each started when it is first asked for."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.processes import Process, stop_all
from tests.live.proxy import Proxy
from tests.live.targets import Qemu, Target, X11vnc, Xvnc

DEBIAN_NOVNC = Path("/usr/share/novnc")
MINIMAL_PAGE = Path(__file__).with_name("minimal.html")

TARGETS: dict[str, Callable[["Laboratory", str, Path], Target]] = {
    "qemu-none": lambda lab, name, folder: Qemu(name, folder),
    "qemu-password": lambda lab, name, folder: Qemu(name, folder, password=True),
    "xvnc-none": lambda lab, name, folder: Xvnc(name, folder),
    "xvnc-vncauth": lambda lab, name, folder: Xvnc(name, folder, password=True),
    "xvnc-rfb33": lambda lab, name, folder: Xvnc(name, folder, protocol_3_3=True),
    "xvnc-rfb33-vncauth": lambda lab, name, folder: Xvnc(name, folder, password=True, protocol_3_3=True),
    "x11vnc-rfb37": lambda lab, name, folder: X11vnc(name, folder, lab.desktop("xvnc-none")),
}


class Laboratory:
    """Starts what is asked for and stops all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._targets: dict[str, Target] = {}
        self._proxies: dict[str, Proxy] = {}
        self._tried: set[str] = set()

    def target(self, name: str) -> Target:
        if name not in self._targets:
            self._try_once(name)
            self._targets[name] = TARGETS[name](self, name, self.folder)
        return self._targets[name]

    def desktop(self, name: str) -> Xvnc:
        target = self.target(name)
        assert isinstance(target, Xvnc)
        return target

    def start(self, name: str, command: list[str], *, cwd: Path | None = None) -> Process:
        """A program that is stopped at the end, if not before."""
        return Process(name, command, self.folder, cwd=cwd)

    @property
    def own_page(self) -> Proxy:
        """A proxy that serves the project's page."""
        return self._proxy("own-page", ["twistd", "-n", "consoleproxy"])

    @property
    def debian_pages(self) -> Proxy:
        """A proxy that serves Debian's noVNC."""
        if not (DEBIAN_NOVNC / "vnc.html").is_file():
            pytest.fail("novnc is not installed: sh tests/live/debian.sh", pytrace=False)
        return self._proxy("debian-pages", ["consoleproxy", "serve"], web=DEBIAN_NOVNC)

    @property
    def minimal_page(self) -> Proxy:
        """A proxy that serves a page which leaves the WebSocket to npm's noVNC."""
        web = self.folder / "web"
        if not web.exists():
            web.mkdir()
            shutil.copy(MINIMAL_PAGE, web)
        return self._proxy("minimal-page", ["twistd", "-n", "consoleproxy"], web=web, page=MINIMAL_PAGE.name)

    def _proxy(self, name: str, command: list[str], *, web: Path | None = None, page: str = "vnc_auto.html") -> Proxy:
        if name not in self._proxies:
            self._try_once(name)
            self._proxies[name] = Proxy(name, self.folder, command, web=web, page=page)
        return self._proxies[name]

    def _try_once(self, name: str) -> None:
        """What did not start is not waited for again."""
        if name in self._tried:
            pytest.fail(f"{name} did not start, as the first test that asked for it says", pytrace=False)
        self._tried.add(name)

    def stop(self) -> dict[str, int]:
        """Stop everything, what failed to start included; the exit status of each proxy."""
        statuses = {name: proxy.process.stop() for name, proxy in self._proxies.items()}
        stop_all()
        return statuses
