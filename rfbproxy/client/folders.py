"""Where pages lie: our own, noVNC's package, and the operator's folder."""

from dataclasses import dataclass
from pathlib import Path

from rfbproxy.client.files import TYPES, inside


@dataclass(frozen=True, slots=True)
class Folders:
    """Where files are served from.

    Attributes:
        own: our page.
        novnc: noVNC's package, with `core/rfb.js`; None where it is not installed.
        operator: the `web` option; None where it is not set.
    """

    own: Path
    novnc: Path | None
    operator: Path | None = None

    def asset(self, path: list[str]) -> Path | None:
        """What our page loads."""
        match path:
            case ["viewer.js"]:
                return inside(self.own, ["vnc.js"])
            case ["novnc", *rest]:
                return self.novnc and inside(self.novnc, rest)
            case [*_, name] if Path(name).suffix in TYPES:  # and no Python
                return inside(self.own, path)
        return None
