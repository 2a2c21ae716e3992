"""Native VNC viewers, started so that they log in by VeNCrypt X509Plain with a token as password."""

import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from PIL import Image

from tests.live.accounts import USER
from tests.live.machine import Target
from tests.live.processes import Process, program, until
from tests.live.proxy import Proxy
from tests.live.screen import Screen

SOURCE = Path(__file__).with_name("libvncclient.c")


class Viewer(ABC):
    """A viewer that comes to the proxy's listener for native viewers, with a certificate authority that it believes.

    Attributes:
        says: what it says of a refusal begins with this.
    """

    says = ""
    process: Process

    def __init__(self, folder: Path, screen: Screen, proxy: Proxy, ca: Path, token: str) -> None:
        self.folder = folder
        self.screen = screen
        self.ca = ca
        self.token = token
        assert proxy.native_port is not None
        self.port = proxy.native_port

    @abstractmethod
    def see_and_type(self, target: Target, text: str) -> None:
        """Start, look, type, look again, leave."""

    @abstractmethod
    def start(self, text: str = "") -> None:
        """Log in; `text` is for those that cannot be told later what to type."""

    @property
    def report(self) -> str:
        """What it says, its line breaks left out."""
        return " ".join(self.process.log.split())

    def stop(self) -> None:
        self.process.stop()


class WindowViewer(Viewer):
    """It shows the picture in a window.

    Attributes:
        title: is in the window's name.
    """

    title = ""

    def see_and_type(self, target: Target, text: str) -> None:
        self.start()
        self.screen.see_and_type(self.title, target, text)


class Vncviewer(WindowViewer):
    """TigerVNC's."""

    title = "TigerVNC"
    says = "Authentication failure: "

    def start(self, text: str = "") -> None:
        exact = ["-AutoSelect=0", "-PreferredEncoding=ZRLE", "-NoJPEG=1", "-FullColor=1"]
        unasked = ["-ReconnectOnError=0", "-AlertOnFatalError=0"]
        self.process = Process(
            "vncviewer",
            [
                "vncviewer",
                "-SecurityTypes=X509Plain",
                f"-X509CA={self.ca}",
                *exact,
                *unasked,
                f"127.0.0.1::{self.port}",
            ],
            self.folder,
            environment={
                "DISPLAY": self.screen.display,
                "HOME": str(self.folder),
                "VNC_USERNAME": USER,
                "VNC_PASSWORD": self.token,
            },
        )


class Gvncviewer(WindowViewer):
    """gtk-vnc's. It looks for the authority in the home folder that the system knows, so it gets another one there."""

    title = "GVncViewer"
    says = "Authentication failed "

    def start(self, text: str = "") -> None:
        home = self.folder / "home"
        (home / ".pki" / "CA").mkdir(parents=True)
        (home / ".pki" / "CA" / "cacert.pem").write_bytes(self.ca.read_bytes())
        at_home = [
            "unshare",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            'mount --bind "$0" ~root && exec "$@"',
            str(home),
        ]
        self.process = Process(
            "gvncviewer",
            [*at_home, "gvncviewer", f"127.0.0.1:{self.port - 5900}"],
            self.folder,
            environment={"DISPLAY": self.screen.display, "HOME": str(home), "NO_AT_BRIDGE": "1"},
        )

        until(lambda: self.screen.has_window("Authentication required"), "question of gvncviewer")
        self.screen.xdotool("mousemove", "160", "22", "click", "1", "type", USER)
        self.screen.xdotool("key", "Tab", "type", self.token)
        self.screen.xdotool("key", "Tab", "key", "Tab", "key", "space")  # past Cancel, on Ok


class Libvncclient(Viewer):
    """`libvncclient.c`, which needs no screen."""

    says = "VNC connection failed: "

    def start(self, text: str = "") -> None:
        self.picture_file = self.folder / "seen.ppm"
        viewer = self.folder / "libvncclient"
        subprocess.run([program("gcc"), "-o", viewer, SOURCE, "-lvncclient"], check=True, timeout=60)
        self.process = Process(
            "libvncclient",
            [str(viewer), "127.0.0.1", str(self.port), str(self.ca), USER, text, str(self.picture_file)],
            self.folder,
            environment={"PASSWORD": self.token},
        )

    def see_and_type(self, target: Target, text: str) -> None:
        before = target.capture()
        self.start(f"\n{text}")  # the line end comes first, for it would clear the line
        target.wait_typed(f"\n{text}")

        def same() -> Image.Image | None:
            if not self.picture_file.exists():
                return None
            real = target.capture()
            with Image.open(self.picture_file) as seen:
                shown = seen.convert("RGB")
            if shown.size != real.size or shown.tobytes() != real.tobytes() or real.tobytes() == before.tobytes():
                return None
            return shown

        until(same, f"picture of {target.name}")


VIEWERS: dict[str, type[Viewer]] = {"vncviewer": Vncviewer, "gvncviewer": Gvncviewer, "libvncclient": Libvncclient}
