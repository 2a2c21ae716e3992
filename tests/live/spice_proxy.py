"""The proxy with SPICE: for browsers and CONNECT on one listener, for native viewers on two more."""

import re
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from rfbproxy.reasons import CloseReason
from tests.live.pki import Pki
from tests.live.processes import until
from tests.live.proxy import Console, Proxy
from tests.live.spice_targets import SpiceMachine
from tests.ports import free_port


class SpiceProxy(Proxy):
    """A proxy with a certificate, and an authority for targets.

    Args:
        web: the operator's folder for SPICE.
        options: of `[consoleproxy]`.
        native: whether native viewers are listened for beside CONNECT.
    """

    def __init__(
        self, name: str, folder: Path, pki: Pki, *, web: Path | None = None, options: str = "", native: bool = True
    ) -> None:
        self.spice_port, self.spice_listen, self.spice_tls_listen = free_port(), free_port(), free_port()
        lines = [options, f"spice_ca_certs = {pki.hypervisor.ca}"]
        if native:
            lines += [
                f"spice_listen = 127.0.0.1:{self.spice_listen}",
                f"spice_tls_listen = 127.0.0.1:{self.spice_tls_listen}",
            ]
        lines += [
            "[DEFAULT]",
            f"cert = {pki.proxy.chain}",
            "[spice]",
            "enabled = True",
            "html5proxy_host = 127.0.0.1",
            f"html5proxy_port = {self.spice_port}",
            f"html5proxy_base_url = http://127.0.0.1:{self.spice_port}/spice_auto.html",
            *([f"web = {web}"] if web else []),
        ]
        super().__init__(name, folder, ["twistd", "-n", "consoleproxy"], options="\n".join(lines))

    def create_spice(
        self, target: SpiceMachine, *options: str, kind: str = "spice-html5", password: str | None = None
    ) -> Console:
        """A new token for the target, at each of its ports; `password` is in place of the right one."""
        tls = ["--tls-port", str(target.tls_port)] if target.tls_port is not None else []
        port = 0 if target.is_tls_only else target.port
        return self.create(port, password or target.password, *tls, *options, kind=kind, host=target.host)

    def connection_file(self, console: Console) -> str:
        """The text of the `.vv` that the console's URL gives."""
        with urlopen(console.url, timeout=20) as answer:
            assert answer.headers["content-type"] == "application/x-virt-viewer"
            text: str = answer.read().decode()
        return text

    def wait_channels(self, target: SpiceMachine, channels: set[str], said_before: int) -> None:
        """Wait until the session that began since then has these channels, and no other, from end to end.

        Args:
            said_before: characters of the log at that time.
        """

        def linked() -> bool:
            return set(re.findall(r"is channel (\S+) of session", self.said[said_before:])) == channels

        until(linked, f"channels of {target.name}: {sorted(channels)}")
        assert set(target.channels()) == channels

    def check_record(
        self, known: int, console: Console, target: SpiceMachine, reason: CloseReason = CloseReason.CLIENT_CLOSED
    ) -> dict[str, Any]:
        """Wait for the session's record, the only one with its token after `known` others."""
        record = self.next_record(known, console.token_id)
        assert [each for each in self.records()[known:] if each["token"] == console.token_id] == [record]
        expected = {
            "client": "127.0.0.1",
            "instance": console.instance,
            "target": target.address,
            "target_security": target.security,
            "close_reason": reason.value,
        }
        assert {name: record[name] for name in expected} == expected, f"{record}, not {expected}"
        assert record["bytes_to_client"] > 0 < record["bytes_to_target"], record
        assert record["started"] < record["ended"], record
        assert "Traceback" not in self.said, self.said
        return record
