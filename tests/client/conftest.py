import pytest
from twisted.internet import reactor
from twisted.logger import formatEvent, globalLogPublisher

from rfbproxy.client.folders import Folders


@pytest.fixture(autouse=True)
def _no_timer_on_the_reactor():
    """Everything timed must be on the listener's own clock, and nothing may be left."""
    before = set(reactor.getDelayedCalls())
    yield
    assert set(reactor.getDelayedCalls()) <= before


@pytest.fixture(autouse=True)
def log():
    """What is logged while the test runs; no token may be in it, nor a traceback that the test does not take out."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)
    for event in events:
        text = f"{formatEvent(event)} {event}"
        assert "123-456-789" not in text
        assert "log_failure" not in event, event["log_failure"].getTraceback()


@pytest.fixture
def folders(tmp_path):
    """Small folders of every kind of file; `outside` must never be served."""
    own, novnc, operator = tmp_path / "own", tmp_path / "novnc", tmp_path / "operator"
    (novnc / "core").mkdir(parents=True)
    (novnc / "core" / "rfb.js").write_text("export default class RFB {}\n")
    own.mkdir()
    (own / "console.html").write_text("<!doctype html><title>console</title>\n")
    (own / "console.js").write_text("import Viewer\n")
    (own / "vnc.js").write_text("import noVNC\n")
    (own / "icon.svg").write_text("<svg/>\n")
    (tmp_path / "outside").write_text("secret\n")
    (operator / "sub").mkdir(parents=True)
    (operator / "empty").mkdir()
    (operator / "sub" / "index.html").write_text("sub\n")
    (operator / "vnc.html").write_text("the operator's\n")
    (operator / "mandatory.json").write_text('{"view_only": true}')
    (operator / ".hidden").write_text("hidden\n")
    (operator / "large.bin").write_bytes(bytes(range(256)) * 2048)  # 512 KiB
    for name in ("a.mjs", "a.css", "a.wasm", "a.woff2", "a.ico", "a.map", "a.oga", "a.txt", "a.png", "a.qqq", "ü.txt"):
        (operator / name).write_bytes(b"x")
    (operator / "way_out").symlink_to(tmp_path / "outside")
    (operator / "folder_out").symlink_to(tmp_path)
    (operator / "way_in").symlink_to(operator / "a.txt")
    return Folders(own, novnc, operator)
