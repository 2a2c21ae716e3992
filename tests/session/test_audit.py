import json
import stat

import pytest
from twisted.logger import formatEvent

from rfbproxy.errors import ConfigError
from rfbproxy.session.audit import AuditLog, VisitRecord, utc

KEYS = [  # interface.md, "The audit record"
    *("session", "started", "ended", "client", "token", "instance", "console_type", "target", "way_in"),
    *("client_version", "target_version", "client_security", "target_security"),
    *("bytes_to_client", "bytes_to_target", "close_reason"),
    "channels",
    "power",
]


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_one_line_a_record_with_these_keys(tmp_path):
    file = tmp_path / "audit.log"
    log = AuditLog(file)
    assert file.read_bytes() == b""
    log.write(VisitRecord(session="s1", started=utc(0)))
    log.write(VisitRecord(session="s2", started=utc(0), close_reason="idle", client="\ud800\n"))
    first, second = lines(file)
    assert list(first) == KEYS
    assert first == dict.fromkeys(KEYS) | {
        "session": "s1",
        "started": "1970-01-01T00:00:00.000Z",
        "bytes_to_client": 0,
        "bytes_to_target": 0,
    }
    assert (second["session"], second["close_reason"], second["client"]) == ("s2", "idle", "\ud800\n")


def test_nobody_else_may_read_it(tmp_path):
    AuditLog(tmp_path / "audit.log")
    assert stat.S_IMODE((tmp_path / "audit.log").stat().st_mode) == 0o600


def test_it_may_be_rotated_at_any_time(tmp_path):
    file = tmp_path / "audit.log"
    log = AuditLog(file)
    log.write(VisitRecord(session="s1", started=utc(0)))
    file.rename(tmp_path / "audit.log.1")
    log.write(VisitRecord(session="s2", started=utc(0)))
    assert [record["session"] for record in lines(file)] == ["s2"]


def test_without_a_file_nothing_is_kept():
    AuditLog(None).write(VisitRecord(session="s1", started=utc(0)))


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(ConfigError, match=r"\[consoleproxy\] audit_log: .*: No such file or directory"):
        AuditLog(tmp_path / "missing" / "audit.log")


def test_a_record_that_cannot_be_written_is_in_the_log(tmp_path, log):
    folder = tmp_path / "folder"
    folder.mkdir()
    audit = AuditLog(folder / "audit.log")
    (folder / "audit.log").unlink()
    folder.rmdir()
    audit.write(VisitRecord(session="s1", started=utc(0)))
    (told,) = (formatEvent(event) for event in log)
    assert '"session": "s1"' in told


def test_a_full_disk_is_an_error_too(tmp_path, log):
    file = tmp_path / "audit.log"
    audit = AuditLog(file)
    file.unlink()
    file.symlink_to("/dev/full")
    audit.write(VisitRecord(session="s1", started=utc(0)))
    (told,) = (formatEvent(event) for event in log)
    assert "No space left" in told


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000.1239, "2023-11-14T22:13:20.123Z"),
    ],
)
def test_times_are_utc_to_the_millisecond(seconds, text):
    assert utc(seconds) == text
