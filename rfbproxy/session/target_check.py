"""Whether a token's target is still its instance's console, as nova's RPC `validate_console_port` finds out.

A port is given to the next machine that starts when one has stopped, and the tokens of the old one live on.
"""

from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

from rfbproxy.consoleauth import ConsoleToken
from rfbproxy.reasons import CloseReason, Refused

SIZE_LIMIT = 4 * 2**20  # bytes of one machine's XML; a usual one has fifty thousand


class TargetCheck(Protocol):
    """What is asked, on a thread of the store's, once a token is known to be good."""

    def check(self, token: ConsoleToken) -> None:
        """Return where the target is the instance's.

        Raises:
            Refused: target-unreachable where it is not, internal where that cannot be found out.
        """


class LibvirtCheck:
    """Asks the XML of running machines, which libvirt's QEMU driver keeps up to date (`/run/libvirt/qemu/NAME.xml`).

    Ports are compared, not hosts: the proxy and the machines must be on one host, or the folder shared.

    Args:
        folder: where that XML is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, token: ConsoleToken) -> None:
        """See `TargetCheck`."""
        if token.instance_uuid is None:
            raise Refused(CloseReason.TARGET_UNREACHABLE, "target check: the token names no instance")
        try:
            domain = self._domain(token.instance_uuid)
        except OSError as error:
            raise Refused(
                CloseReason.INTERNAL, f"target check: {error.filename} cannot be read: {error.strerror}"
            ) from error
        if domain is None:
            raise _moved(token, f"no machine of instance {token.instance_uuid} runs here")
        protocol = "spice" if (token.console_type or "").startswith("spice") else "vnc"
        consoles = domain.findall(f"devices/graphics[@type='{protocol}']")
        if not any(_is_target(console, token) for console in consoles):
            ports = [console.get(name) for console in consoles for name in ("port", "tlsPort") if console.get(name)]
            raise _moved(token, f"instance {token.instance_uuid} has {protocol.upper()} on ports {ports}")

    def _domain(self, instance: str) -> ElementTree.Element | None:
        """The machine's `domain`; None where it does not run."""
        for file in self._folder.iterdir():
            if file.suffix != ".xml":
                continue
            try:
                with file.open("rb") as xml:
                    text = xml.read(SIZE_LIMIT)
            except FileNotFoundError:  # it has just stopped
                continue
            if instance.lower().encode() in text.lower():
                domain = _parsed(text)
                if domain is not None and (domain.findtext("uuid") or "").strip().lower() == instance.lower():
                    return domain
        return None


def _parsed(text: bytes) -> ElementTree.Element | None:
    """The `domain` of a file, which `domstatus` is around in libvirt's own; None where there is none."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - only libvirt writes there
    except ElementTree.ParseError:
        return None
    return root if root.tag == "domain" else root.find("domain")


def _is_target(console: ElementTree.Element, token: ConsoleToken) -> bool:
    """Whether all ports that the token names are those of the console; 0 and -1 name none."""
    port, tls_port = _port(console, "port"), _port(console, "tlsPort")
    wanted = token.port if token.port > 0 else None
    if token.tls_port is not None and token.tls_port != tls_port:
        return False
    if wanted is None:
        return token.tls_port is not None
    return wanted in (port, tls_port)


def _port(console: ElementTree.Element, name: str) -> int | None:
    text = console.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() else None


def _moved(token: ConsoleToken, why: str) -> Refused:
    return Refused(
        CloseReason.TARGET_UNREACHABLE, f"target check: {token.target} is not the instance's console any more: {why}"
    )
