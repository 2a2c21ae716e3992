"""Machines with SPICE: without and with a ticket, by TLS, and with more than a screen and a keyboard."""

from collections.abc import Sequence
from pathlib import Path

from rfbproxy.spice.constants import channel_name
from tests.live.machine import Machine
from tests.live.pki import HOST_SUBJECT, Identity
from tests.live.processes import until
from tests.ports import free_port

SCREEN_AND_KEYS = {"main", "display", "inputs", "cursor"}

# An agent is believed to be there once somebody has its port open, and a serial port of BIOS's times is at once.
AGENT = [
    *["-chardev", "spicevmc,id=agent,name=vdagent", "-device", "isa-serial,chardev=agent"],
    *["-device", "qemu-xhci", "-device", "usb-tablet"],
]
SOUND = ["-audiodev", "spice,id=sound", "-device", "intel-hda", "-device", "hda-duplex,audiodev=sound"]
SHARING = [
    *["-device", "qemu-xhci,id=sockets"],
    *["-chardev", "spicevmc,id=usb,name=usbredir", "-device", "usb-redir,bus=sockets.0,chardev=usb"],
    *["-device", "virtio-serial-pci", "-chardev", "spiceport,id=files,name=org.spice-space.webdav.0"],
    *["-device", "virtserialport,chardev=files,name=org.spice-space.webdav.0"],
]


class SpiceMachine(Machine):
    """A machine whose console is SPICE; its ticket is set while it runs.

    Args:
        identity: its certificate, where it has a port for TLS.
        secured: channels that it wants by TLS only; all of them means that there is no other port.
        devices: more options, for more channels.
        moves_here: a machine that will move here; this one takes its ticket, and waits for it.

    Attributes:
        tls_port: where it speaks TLS, if it does; `port` is then open unless all channels are secured.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        password: bool = False,
        identity: Identity | None = None,
        secured: Sequence[str] = (),
        devices: Sequence[str] = (),
        host: str = "127.0.0.1",
        moves_here: "SpiceMachine | None" = None,
    ) -> None:
        self.host = host
        self.tls_port = free_port() if identity else None
        self._identity = identity
        self._secured = secured
        self._devices = devices
        self._arrivals = free_port() if moves_here else None
        super().__init__(name, folder, password=password, vga="qxl")
        if moves_here is not None:
            self.password = moves_here.password
        if self.password is not None:
            self.monitor.do("set_password", protocol="spice", password=self.password)

    @property
    def security(self) -> str:
        return "SPICE ticket"  # which a server without ticketing takes, whatever it holds

    @property
    def is_tls_only(self) -> bool:
        return "all" in self._secured

    @property
    def listening_port(self) -> int:
        return self.tls_port if self.tls_port is not None and self.is_tls_only else self.port

    @property
    def address(self) -> str:
        """Where a session is carried to, as the audit record names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.tls_port or self.port}"

    def _console_options(self) -> list[str]:
        words = [f"addr={self.host}"]
        if not self.is_tls_only:
            words += [f"port={self.port}", *(f"tls-channel={channel}" for channel in self._secured)]
        if self._identity is not None:
            words += [f"tls-port={self.tls_port}", f"x509-dir={self._identity.folder}"]
        if self.password is None:
            words.append("disable-ticketing=on")
        arrivals = ["-incoming", f"tcp:127.0.0.1:{self._arrivals}"] if self._arrivals is not None else []
        return ["-spice", ",".join(words), *self._devices, *arrivals]

    def _has_booted(self) -> bool:
        return self._arrivals is not None or super()._has_booted()

    def move_to(self, other: "SpiceMachine") -> None:
        """Let the guest go on in the other machine, whose certificate has `HOST_SUBJECT`, and tell viewers so."""
        where: dict[str, object] = {"hostname": other.host}
        if not other.is_tls_only:
            where["port"] = other.port
        if other.tls_port is not None:
            where |= {"tls-port": other.tls_port, "cert-subject": HOST_SUBJECT}
        self.monitor.do("client_migrate_info", protocol="spice", **where)
        self.monitor.do("migrate", uri=f"tcp:127.0.0.1:{other._arrivals}")
        until(lambda: self.monitor.do("query-migrate")["status"] == "completed", f"move of {self.name}")

    def channels(self) -> dict[str, bool]:
        """The channels that somebody has open, and whether by TLS."""
        channels = self.monitor.do("query-spice").get("channels", [])
        return {channel_name(channel["channel-type"]): channel["tls"] for channel in channels}
