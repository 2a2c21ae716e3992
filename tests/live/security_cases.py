"""Every server and every security type of it that the proxy logs in to, and the table of those that were proved."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.live.processes import program

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "vnc-servers.md"
WRITE = "WRITE_VNC_SERVERS"  # set: the page is written anew as the run goes on
BROWSER = "browser"
NATIVE_VIEWERS = ["vncviewer", "gvncviewer", "libvncclient"]
PACKAGES = {
    "QEMU": "qemu-system-x86",
    "TigerVNC Xvnc": "tigervnc-standalone-server",
    "x11vnc": "x11vnc",
    "wayvnc": "wayvnc",
    "browser": "chromium",
    "vncviewer": "tigervnc-viewer",
    "gvncviewer": "gvncviewer",
    "libvncclient": "libvncclient1",
}
BEFORE = """# VNC servers and how the proxy logs in to them

Made by the live tests: `{write}=1 .venv/bin/python -m pytest tests/live/test_{{native_viewers,security_types}}.py`.
A row is a server and a security type, named as in the audit record; *works* means that a viewer showed the very picture
of the server through the proxy, that what was typed arrived, and that the record named this type.
The browser is Chromium; the others come by `rfb_listen`, and `libvncclient` is the library of Remmina and KRDC.
Tried with {viewers}.

| server | tried | security type | {columns} |
|---|---|---|{lines}
"""
AFTER = """
Types that begin with `TLS`, and `Plain`, have to be listed in `vencrypt_subtypes`.

Not possible: SASL of QEMU 7.2 without X509, which offers no mechanism but DIGEST-MD5; such a target is refused, and the
log names what it offered.
"""


@dataclass(frozen=True)
class Case:
    """A way to log in.

    Attributes:
        server: as the table names it; the first words are a key of `PACKAGES`.
        target: what the laboratory calls it.
        security: as the audit record names it.
        required: what the token demands, where the target offers more than this.
    """

    server: str
    target: str
    security: str
    required: str | None = None

    def __str__(self) -> str:
        return f"{self.target} {self.security}"

    @property
    def is_open_to_strangers(self) -> bool:
        """The operator has to allow it."""
        return self.security == "VeNCrypt Plain" or self.security.startswith("VeNCrypt TLS")

    @property
    def options(self) -> list[str]:
        """Of the command that makes the token."""
        return ["--require-security", self.required] if self.required else []


CASES = [
    Case("QEMU", "qemu-none", "None"),
    Case("QEMU", "qemu-password", "VNC Authentication"),
    Case("QEMU", "qemu-tlsnone", "VeNCrypt TLSNone"),
    Case("QEMU", "qemu-tlsvnc", "VeNCrypt TLSVnc"),
    Case("QEMU", "qemu-x509none", "VeNCrypt X509None"),
    Case("QEMU", "qemu-x509vnc", "VeNCrypt X509Vnc"),
    Case("QEMU, client certificate demanded", "qemu-client-certificate", "VeNCrypt X509None"),
    Case("QEMU", "qemu-x509sasl", "VeNCrypt X509SASL SCRAM-SHA-256"),
    Case("QEMU", "qemu-x509sasl-sha1", "VeNCrypt X509SASL SCRAM-SHA-1"),
    Case("QEMU", "qemu-x509sasl-plain", "VeNCrypt X509SASL PLAIN"),
    Case("TigerVNC Xvnc", "xvnc-none", "None"),
    Case("TigerVNC Xvnc", "xvnc-vncauth", "VNC Authentication"),
    Case("TigerVNC Xvnc", "xvnc-plain", "VeNCrypt Plain"),
    Case("TigerVNC Xvnc", "xvnc-tlsnone", "VeNCrypt TLSNone"),
    Case("TigerVNC Xvnc", "xvnc-tlsvnc", "VeNCrypt TLSVnc"),
    Case("TigerVNC Xvnc", "xvnc-tlsplain", "VeNCrypt TLSPlain"),
    Case("TigerVNC Xvnc", "xvnc-x509none", "VeNCrypt X509None"),
    Case("TigerVNC Xvnc", "xvnc-x509vnc", "VeNCrypt X509Vnc"),
    Case("TigerVNC Xvnc", "xvnc-x509plain", "VeNCrypt X509Plain"),
    Case("TigerVNC Xvnc, RFB 3.3", "xvnc-rfb33", "None"),
    Case("TigerVNC Xvnc, RFB 3.3", "xvnc-rfb33-vncauth", "VNC Authentication"),
    Case("x11vnc, RFB 3.7", "x11vnc-rfb37", "None"),
    Case("x11vnc", "x11vnc-nothing", "VeNCrypt TLSNone", "tlsnone"),
    Case("x11vnc", "x11vnc-nothing", "VeNCrypt X509None"),
    Case("x11vnc", "x11vnc-password", "VeNCrypt TLSVnc", "tlsvnc"),
    Case("x11vnc", "x11vnc-password", "VeNCrypt X509Vnc"),
    Case("x11vnc", "x11vnc-user", "VeNCrypt TLSPlain", "tlsplain"),
    Case("x11vnc", "x11vnc-user", "VeNCrypt X509Plain"),
    Case("wayvnc", "wayvnc-none", "None"),
    Case("wayvnc", "wayvnc-x509plain", "VeNCrypt X509Plain"),
]
SOME = [case for case in CASES if case.target in ("qemu-none", "xvnc-vncauth", "xvnc-x509plain")]

Proof = tuple[str, str, str]  # server, security type, viewer


def claims(page: str) -> set[Proof]:
    """What the page says works; versions are left out, for they are another machine's."""
    rows = [re.split(r" *\| *", line)[1:-1] for line in page.splitlines() if line.startswith("| ")]
    viewers = [cell for row in rows[:1] for cell in row[3:]]
    return {
        (server, security, viewer)
        for server, _, security, *cells in rows[1:]
        for viewer, cell in zip(viewers, cells, strict=True)
        if cell == "works"
    }


@dataclass
class Table:
    """What a run has proved."""

    proofs: set[Proof] = field(default_factory=set)

    def works(self, case: Case, viewer: str) -> None:
        self.proofs.add((case.server, case.security, viewer))
        if os.environ.get(WRITE):
            PAGE.write_text(self.page())

    def page(self) -> str:
        viewers = [BROWSER, *NATIVE_VIEWERS]
        named = ", ".join(f"{PACKAGES[viewer]} {_version(PACKAGES[viewer])}" for viewer in viewers)
        before = BEFORE.format(write=WRITE, viewers=named, columns=" | ".join(viewers), lines="---|" * len(viewers))
        rows = []
        for case in CASES:
            version = _version(PACKAGES[case.server.split(",")[0]])
            cells = ["works" if (case.server, case.security, viewer) in self.proofs else "" for viewer in viewers]
            rows.append(f"| {' | '.join([case.server, version, case.security, *cells])} |\n")
        return before + "".join(rows) + AFTER


@cache
def _version(package: str) -> str:
    """Its upstream version."""
    query = [program("dpkg-query"), "--show", "--showformat=${source:Upstream-Version}", package]
    return subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.partition("+")[0]
