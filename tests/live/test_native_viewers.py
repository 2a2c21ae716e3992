"""Native VNC viewers at `rfb_listen`: TigerVNC's, gtk-vnc's and libvncclient, to every real server."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from rfbproxy.reasons import CloseReason
from tests.live.accounts import USER
from tests.live.laboratory import Laboratory
from tests.live.native_viewers import VIEWERS, Viewer
from tests.live.processes import until
from tests.live.screen import Screen
from tests.live.security_cases import CASES, NATIVE_VIEWERS, SOME, Case, Table

PAIRS = [("vncviewer", case) for case in CASES] + [(name, case) for case in SOME for name in NATIVE_VIEWERS[1:]]


@pytest.mark.parametrize(("name", "case"), PAIRS, ids=str)
def test_it_sees_and_types(
    lab: Laboratory,
    screen: Screen,
    tmp_path: Path,
    table: Table,
    name: str,
    case: Case,
    new_text: Callable[[], str],
) -> None:
    proxy, target, text = lab.proxy_for(case), lab.target(case.target), new_text()
    console, known = proxy.create_for(target, *case.options, kind="vnc-direct"), len(proxy.records())
    assert console.url == f"vnc://127.0.0.1:{proxy.native_port}"
    proxy.secrets.add(text)
    viewer = VIEWERS[name](tmp_path, screen, proxy, lab.pki.server.ca, console.token)
    try:
        viewer.see_and_type(target, text)
    finally:
        viewer.stop()
    record = proxy.next_record(known, console.token_id)
    expected = {
        "way_in": "rfb",
        "console_type": "vnc-direct",
        "client": "127.0.0.1",
        "client_version": "3.8",
        "client_security": "VeNCrypt X509Plain",
        "target_security": case.security,
        "close_reason": CloseReason.CLIENT_CLOSED.value,
    }
    assert {name: record[name] for name in expected} == expected
    assert record["bytes_to_client"] > 0 < record["bytes_to_target"]
    assert "Traceback" not in proxy.said
    proxy.check_secrets_kept()
    table.works(case, name)


@pytest.mark.parametrize("name", NATIVE_VIEWERS)
def test_it_tells_of_a_wrong_token(lab: Laboratory, screen: Screen, tmp_path: Path, name: str) -> None:
    """At a proxy of its own, for wrong tokens make an address wait longer and longer."""
    proxy, known = lab.strange, len(lab.strange.records())
    wrong = str(uuid.uuid4())
    proxy.secrets.add(wrong)
    viewer = VIEWERS[name](tmp_path, screen, proxy, lab.pki.server.ca, wrong)
    report_of(viewer, CloseReason.TOKEN_UNKNOWN.sentence)
    record = proxy.next_record(known, None)
    assert (record["way_in"], record["close_reason"]) == ("rfb", CloseReason.TOKEN_UNKNOWN.value)
    proxy.check_secrets_kept()


@pytest.mark.parametrize("name", NATIVE_VIEWERS)
def test_it_tells_of_a_target_that_refuses(lab: Laboratory, screen: Screen, tmp_path: Path, name: str) -> None:
    """And not what the target said."""
    proxy, target = lab.trusting_authority, lab.target("xvnc-x509plain")
    console = proxy.create(target.port, "wrong one", "--username", USER, kind="vnc-direct")
    known = len(proxy.records())
    viewer = VIEWERS[name](tmp_path, screen, proxy, lab.pki.server.ca, console.token)
    reported = report_of(viewer, CloseReason.TARGET_AUTH_FAILED.sentence)
    assert proxy.next_record(known, console.token_id)["close_reason"] == CloseReason.TARGET_AUTH_FAILED.value
    assert "invalid password" not in reported


def report_of(viewer: Viewer, sentence: str) -> str:
    """What the viewer says when it is not let in: its own words, and the proxy's sentence."""
    viewer.start()
    try:
        until(lambda: viewer.says in viewer.report and sentence in viewer.report, f"{viewer.says!r} {sentence!r}")
        return viewer.report
    finally:
        viewer.stop()
