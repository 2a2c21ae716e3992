"""Where pages lie: our own, noVNC's and spice-html5's packages, and the operator's folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rfbproxy.client.files import TYPES, inside

Protocol = Literal["vnc", "spice"]

SPICE_PAGE = "spice_auto.html"  # the page that nova's base URL names


@dataclass(frozen=True, slots=True)
class Folders:
    """Where files are served from.

    Attributes:
        own: our page.
        novnc: noVNC's package, with `core/rfb.js`; None where it is not installed.
        operator: the `web` option; None where it is not set.
        spice: spice-html5's package, with `spice_auto.html`; None where it is not installed.
    """

    own: Path
    novnc: Path | None
    operator: Path | None = None
    spice: Path | None = None

    def asset(self, protocol: Protocol, path: list[str]) -> Path | None:
        """What our page loads; `viewer.js` is what its listener's protocol needs."""
        match path:
            case ["viewer.js"]:
                return inside(self.own, [f"{protocol}.js"])
            case ["novnc", *rest]:
                return self.novnc and inside(self.novnc, rest)
            case ["spice-html5", *rest]:
                return self.spice and inside(_modules(self.spice), rest)
            case [*_, name] if Path(name).suffix in TYPES:  # and no Python
                return inside(self.own, path)
        return None

    def spice_page(self, path: list[str]) -> Path | None:
        """A file of spice-html5's own page; none where the operator has that page, for two versions must not mix."""
        if self.spice is None or (self.operator is not None and inside(self.operator, [SPICE_PAGE])):
            return None
        return inside(self.spice, path)


def _modules(package: Path) -> Path:
    """The modules of npm's package are in a folder of it, those of Debian's beside the page."""
    return package / "src" if (package / "src").is_dir() else package
