"""Everything that the live tests share: targets and proxies, each started when it is first asked for."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import pytest

from tests.live.accounts import Accounts
from tests.live.machine import Target
from tests.live.pki import Identity, Pki
from tests.live.processes import Process, stop_all
from tests.live.proxy import Proxy
from tests.live.secured_targets import ANONYMOUS, XVNC_SUBTYPES, SaslQemu, TlsQemu, TlsX11vnc, TlsXvnc, x509
from tests.live.security_cases import Case
from tests.live.spice_proxy import SpiceProxy
from tests.live.spice_targets import AGENT, SHARING, SOUND, SpiceMachine
from tests.live.targets import Qemu, X11vnc, Xvnc
from tests.live.wayland import Wayvnc

DEBIAN_SPICE_HTML5 = Path("/usr/share/spice-html5")
DEBIAN_NOVNC = Path("/usr/share/novnc")
MINIMAL_PAGE = Path(__file__).with_name("minimal.html")

TARGETS: dict[str, Callable[["Laboratory", str, Path], Target]] = {
    "qemu-none": lambda lab, name, folder: Qemu(name, folder),
    "qemu-password": lambda lab, name, folder: Qemu(name, folder, password=True),
    "xvnc-none": lambda lab, name, folder: Xvnc(name, folder),
    "xvnc-vncauth": lambda lab, name, folder: Xvnc(name, folder, password=True),
    "xvnc-rfb33": lambda lab, name, folder: Xvnc(name, folder, protocol_3_3=True),
    "xvnc-rfb33-vncauth": lambda lab, name, folder: Xvnc(name, folder, password=True, protocol_3_3=True),
    "x11vnc-rfb37": lambda lab, name, folder: X11vnc(name, folder, lab.desktop("xvnc-none"), version="3.7"),
    "qemu-tlsnone": lambda lab, name, folder: TlsQemu(name, folder, ANONYMOUS),
    "qemu-tlsvnc": lambda lab, name, folder: TlsQemu(name, folder, ANONYMOUS, password=True),
    "qemu-x509none": lambda lab, name, folder: TlsQemu(name, folder, x509(lab.pki.server)),
    "qemu-x509vnc": lambda lab, name, folder: TlsQemu(name, folder, x509(lab.pki.server), password=True),
    "qemu-client-certificate": lambda lab, name, folder: TlsQemu(name, folder, x509(lab.pki.server, verify_peer=True)),
    "qemu-x509sasl": lambda lab, name, folder: SaslQemu(name, folder, x509(lab.pki.server)),
    "qemu-x509sasl-sha1": lambda lab, name, folder: SaslQemu(
        name, folder, x509(lab.pki.server), mechanisms="scram-sha-1"
    ),
    "qemu-x509sasl-plain": lambda lab, name, folder: SaslQemu(name, folder, x509(lab.pki.server), mechanisms="plain"),
    "qemu-sasl": lambda lab, name, folder: SaslQemu(name, folder),
    "qemu-tlssasl": lambda lab, name, folder: SaslQemu(name, folder, ANONYMOUS),
    "qemu-expired": lambda lab, name, folder: TlsQemu(name, folder, x509(lab.pki.expired_server)),
    "qemu-elsewhere": lambda lab, name, folder: TlsQemu(name, folder, x509(lab.pki.elsewhere)),
    "qemu-stranger": lambda lab, name, folder: TlsQemu(name, folder, x509(lab.pki.strange_server)),
    **{
        f"xvnc-{subtype.lower()}": lambda lab, name, folder, subtype=subtype: TlsXvnc(
            name, folder, subtype, lab.pki.server, lab.accounts
        )
        for subtype in XVNC_SUBTYPES
    },
    "x11vnc-nothing": lambda lab, name, folder: TlsX11vnc(name, folder, lab.desktop("xvnc-none"), lab.pki.server),
    "x11vnc-password": lambda lab, name, folder: TlsX11vnc(
        name, folder, lab.desktop("xvnc-none"), lab.pki.server, password=True
    ),
    "x11vnc-user": lambda lab, name, folder: TlsX11vnc(
        name, folder, lab.desktop("xvnc-none"), lab.pki.server, accounts=lab.accounts
    ),
    "spice-none": lambda lab, name, folder: SpiceMachine(name, folder),
    "spice-ticket": lambda lab, name, folder: SpiceMachine(name, folder, password=True),
    "spice-ipv6": lambda lab, name, folder: SpiceMachine(name, folder, host="::1"),
    "spice-tls": lambda lab, name, folder: SpiceMachine(
        name, folder, password=True, identity=lab.pki.hypervisor, secured=["all"]
    ),
    "spice-secured": lambda lab, name, folder: SpiceMachine(
        name, folder, password=True, identity=lab.pki.hypervisor, secured=["main", "inputs"]
    ),
    "spice-stranger": lambda lab, name, folder: SpiceMachine(
        name, folder, identity=lab.pki.strange_server, secured=["main", "inputs"]
    ),
    "spice-agent": lambda lab, name, folder: SpiceMachine(name, folder, password=True, devices=[*AGENT, *SOUND]),
    "spice-sharing": lambda lab, name, folder: SpiceMachine(name, folder, devices=SHARING),
    "wayvnc-none": lambda lab, name, folder: Wayvnc(name, folder),
    "wayvnc-x509plain": lambda lab, name, folder: Wayvnc(name, folder, lab.pki.server),
}


class Laboratory:
    """Starts what is asked for and stops all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._targets: dict[str, Target] = {}
        self._proxies: dict[str, Proxy] = {}
        self._spice_proxies: dict[str, SpiceProxy] = {}
        self._tried: set[str] = set()
        self._at_end = ExitStack()

    @cached_property
    def pki(self) -> Pki:
        return Pki(self.folder / "pki")

    @cached_property
    def accounts(self) -> Accounts:
        made = Accounts(self.folder / "accounts")
        self._at_end.callback(made.remove)
        return made

    def target(self, name: str) -> Target:
        if name not in self._targets:
            self._try_once(name)
            self._targets[name] = TARGETS[name](self, name, self.folder)
        return self._targets[name]

    def spice_machine(self, name: str) -> SpiceMachine:
        target = self.target(name)
        assert isinstance(target, SpiceMachine)
        return target

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

    @property
    def trusting_authority(self) -> Proxy:
        """A proxy with an authority for targets and a certificate to show to them, the rest by default."""
        return self._secured("trusting-authority", self.pki.client)

    @property
    def trusting_everybody(self) -> Proxy:
        """A proxy that takes anonymous TLS and passwords in clear too, and has no certificate to show to targets."""
        words = ",".join(["x509plain,x509sasl,x509vnc,x509none", "tlsplain,tlssasl,tlsvnc,tlsnone", "plain"])
        return self._secured("trusting-everybody", None, f"vencrypt_subtypes = {words}")

    @property
    def spice(self) -> SpiceProxy:
        """A proxy that listens for SPICE in every way, and serves the project's page and npm's spice-html5."""
        return self._spice("spice")

    @property
    def spice_debian_pages(self) -> SpiceProxy:
        """A proxy that serves Debian's spice-html5."""
        if not (DEBIAN_SPICE_HTML5 / "spice_auto.html").is_file():
            pytest.fail("spice-html5 is not installed: sh tests/live/debian.sh", pytrace=False)
        return self._spice("spice-debian-pages", web=DEBIAN_SPICE_HTML5)

    @property
    def spice_secure(self) -> SpiceProxy:
        """A proxy that reaches targets by TLS alone."""
        return self._spice("spice-secure", options="[spice]\nrequire_secure = True\n[consoleproxy]")

    @property
    def spice_connect(self) -> SpiceProxy:
        """A proxy to which SPICE's native viewers come by CONNECT alone, and where the newest viewer wins."""
        return self._spice("spice-connect", options="spice_second_main = take-over", native=False)

    @property
    def strange(self) -> Proxy:
        """A proxy that shows targets a certificate of an authority that they do not know."""
        return self._secured("strange", self.pki.strange_client)

    def proxy_for(self, case: Case) -> Proxy:
        return self.trusting_everybody if case.is_open_to_strangers else self.trusting_authority

    def _secured(self, name: str, shown: Identity | None, options: str = "") -> Proxy:
        """A proxy that native viewers can come to as well."""
        lines = [options, f"[DEFAULT]\ncert = {self.pki.server.both}\n[vnc]\nvencrypt_ca_certs = {self.pki.server.ca}"]
        if shown is not None:
            lines.append(f"vencrypt_client_cert = {shown.cert}\nvencrypt_client_key = {shown.key}")
        return self._proxy(name, ["twistd", "-n", "consoleproxy"], options="\n".join(lines), native=True)

    def _proxy(
        self,
        name: str,
        command: list[str],
        *,
        web: Path | None = None,
        page: str = "vnc_auto.html",
        options: str = "",
        native: bool = False,
    ) -> Proxy:
        if name not in self._proxies:
            self._try_once(name)
            self._proxies[name] = Proxy(name, self.folder, command, web=web, page=page, options=options, native=native)
        return self._proxies[name]

    def _spice(self, name: str, *, web: Path | None = None, options: str = "", native: bool = True) -> SpiceProxy:
        if name not in self._spice_proxies:
            self._try_once(name)
            made = SpiceProxy(name, self.folder, self.pki, web=web, options=options, native=native)
            self._proxies[name] = self._spice_proxies[name] = made
        return self._spice_proxies[name]

    def _try_once(self, name: str) -> None:
        """What did not start is not waited for again."""
        if name in self._tried:
            pytest.fail(f"{name} did not start, as the first test that asked for it says", pytrace=False)
        self._tried.add(name)

    def stop(self) -> dict[str, int]:
        """Stop everything, what failed to start included; the exit status of each proxy."""
        with self._at_end:
            statuses = {name: proxy.process.stop() for name, proxy in self._proxies.items()}
            stop_all()
            return statuses
