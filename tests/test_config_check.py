import pytest

from rfbproxy.config import Config
from rfbproxy.config_check import as_json, as_text, check, refusal_as_json
from rfbproxy.errors import ConsoleProxyError
from tests.certificates import certificate
from tests.test_startup import CANNOT_WORK


def config(tmp_path, options=""):
    file = tmp_path / "nova.conf"
    file.write_text(f"[DEFAULT]\nstate_path = {tmp_path}/state\n{options}")
    return Config([str(file)], base=tmp_path)


def refused(tmp_path, options):
    """The one line that says why options cannot be used."""
    with pytest.raises(ConsoleProxyError) as raised:
        check(config(tmp_path, options))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def left(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def test_defaults_can_be_used_and_nothing_is_left_behind(tmp_path):
    assert check(config(tmp_path)) == []
    assert as_text([]) == "the configuration is usable"
    assert as_json([]) == {"usable": True, "findings": []}
    assert left(tmp_path) == ["nova.conf"]


def test_everything_at_once_can_be_used(tmp_path):
    certificate(tmp_path / "self.pem", tmp_path / "self.pem")
    before = left(tmp_path)
    findings = check(config(tmp_path, """ssl_only = True
[spice]
enabled = True
[consoleproxy]
rfb_listen = 127.0.0.1:5900
spice_listen = [::1]:5930, unix:spice
spice_tls_listen = :5931
audit_log = audit.jsonl
client_ca_certs = self.pem
"""))  # fmt: skip
    assert findings == []
    assert left(tmp_path) == sorted([*before, "nova.conf"])


def test_an_audit_log_that_is_there_stays(tmp_path):
    (tmp_path / "audit.jsonl").write_text("{}\n")
    check(config(tmp_path, "[consoleproxy]\naudit_log = audit.jsonl\n"))
    assert (tmp_path / "audit.jsonl").read_text() == "{}\n"


NOT_JUDGED = ["host of another"]  # only binding tells


@pytest.mark.parametrize(
    ("options", "expected"),
    [case[1:] for case in CANNOT_WORK if case[0] not in NOT_JUDGED],
    ids=[case[0] for case in CANNOT_WORK if case[0] not in NOT_JUDGED],
)
def test_what_keeps_the_service_from_starting_is_refused(tmp_path, options, expected):
    certificate(tmp_path / "a.pem", tmp_path / "a.key")
    certificate(tmp_path / "b.pem", tmp_path / "b.key")
    before = left(tmp_path)
    file = tmp_path / "nova.conf"
    if "novncproxy_host =" in options:
        options += "\nxvpvncproxy_host ="
    file.write_text(options.format(folder=tmp_path))
    with pytest.raises(ConsoleProxyError) as raised:
        check(Config([str(file)], base=tmp_path))
    assert expected in str(raised.value)
    assert left(tmp_path) == sorted([*before, "nova.conf"])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("[vnc]\nnovncproxy_prt = 1", "no such option: [vnc] novncproxy_prt in {file} (perhaps [vnc] novncproxy_port)"),
        ("[consoleproxy]\nzzz =\n[console]\nyyy =",
         "no such option: [consoleproxy] zzz in {file}, [console] yyy in {file}"),
        ("[spice]\nenabled = True\nhtml5proxy_port = 6080",
         "novncproxy and html5proxy are both to listen on 0.0.0.0:6080"),
        ("[vnc]\nxvpvncproxy_port = 6080", "novncproxy and xvpvncproxy are both to listen on 0.0.0.0:6080"),
        ("[consoleproxy]\nstate_connection = sqlite:////nonexistent/a/b.sqlite",
         "[consoleproxy] state_connection: the folder of /nonexistent/a/b.sqlite is not there"),
        ("[consoleauth]\nconnection = mysql+nothing://h/d",
         "[consoleauth] connection is a kind of token store, 'mysql+nothing', that is unknown"),
        ("[consoleauth]\nconnection = file:///tokens\n[consoleproxy]\nstate_connection = mysql+nothing://h/d",
         "token store mysql+nothing://h/d: SQLAlchemy knows no such"),
        ("[consoleauth]\nconnection = nova+https://nova.example:8774/v2.1", "[keystone_authtoken] lacks auth_url"),
        ("[consoleproxy]\nspice_ca_certs = /nonexistent\n[spice]\nenabled = True",
         "[consoleproxy] spice_ca_certs: /non"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(tmp_path, options, expected):
    assert refused(tmp_path, options).startswith(expected.format(file=tmp_path / "nova.conf"))


def test_ports_that_are_any_and_listeners_that_nobody_asked_for_may_be_the_same(tmp_path):
    both = "[vnc]\nnovncproxy_port = {0}\nxvpvncproxy_port = {0}\n"
    assert check(config(tmp_path, both.format(0))) == []
    assert check(config(tmp_path, "[vnc]\nnovncproxy_port = 6081\n")) == []


def test_a_state_path_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    told = refused(tmp_path, "[DEFAULT]\nstate_path = file/state\n")
    assert told == f"[DEFAULT] state_path: {tmp_path}/file/state cannot be made: {tmp_path}/file is not a folder"


def test_a_state_path_that_cannot_be_written_to(tmp_path):
    told = refused(tmp_path, "[DEFAULT]\nstate_path = /proc/sys/kernel/state\n")
    assert told == "[DEFAULT] state_path: /proc/sys/kernel cannot be written to"


def test_findings_are_lines_and_the_last_line_says_that_all_is_well(tmp_path):
    findings = check(config(tmp_path, "console_topic = console\nrecord = /x\n[consoleproxy]\nspice_listen = h:1\n"))
    assert as_text(findings).splitlines() == [
        "[DEFAULT] console_topic: not needed: tokens are looked up in their database; "
        "nobody is asked over the message queue",
        "[DEFAULT] record: this version does not record: sessions are NOT recorded",
        "[consoleproxy] spice_listen: does nothing: [spice] enabled is False",
        "the configuration is usable",
    ]
    assert as_json(findings[2:]) == {
        "usable": True,
        "findings": [{"option": "[consoleproxy] spice_listen", "says": "does nothing: [spice] enabled is False"}],
    }


def test_a_folder_for_a_target_check_that_is_not_asked_for(tmp_path):
    said = f"[consoleproxy]\nlibvirt_xml = {tmp_path}\n"
    (finding,) = check(config(tmp_path, said))
    assert str(finding) == "[consoleproxy] libvirt_xml: does nothing: [consoleproxy] target_check is not libvirt"
    assert check(config(tmp_path, f"{said}target_check = libvirt\n")) == []


@pytest.mark.parametrize(
    ("error", "option"),
    [
        ("[vnc] keymap: no", "[vnc] keymap"),
        ("no such option: [vnc] key-map in x", "[vnc] key-map"),
        ("SSL only and self.pem not found", None),
    ],
)
def test_a_refusal_as_json(error, option):
    made = refusal_as_json(ConsoleProxyError(error))
    assert made == {"usable": False, "findings": [{"option": option, "says": error}]}


def test_workers_that_a_memory_allows_one_of_do_nothing(tmp_path):
    memory = "[consoleauth]\nconnection = sqlite://\n[consoleproxy]\n"
    assert not check(config(tmp_path, f"{memory}workers = 1\n"))
    (finding,) = check(config(tmp_path, f"{memory}workers = 2\n"))
    assert str(finding) == (
        "[consoleproxy] workers: does nothing: [consoleauth] connection is a memory, which one process has"
    )
    assert not check(config(tmp_path, "[consoleproxy]\nworkers = 2\n"))


def test_no_workers_at_all_are_refused(tmp_path):
    assert refused(tmp_path, "[consoleproxy]\nworkers = 0\n").startswith("[consoleproxy] workers: ")


def test_what_is_weak_about_the_api_is_told(tmp_path):
    for name in ("token", "metrics-token"):
        (tmp_path / name).write_text("0123456789abcdef")
        (tmp_path / name).chmod(0o600)
    files = "api_token_file = token\nmetrics_token_file = metrics-token\n"
    assert check(config(tmp_path, f"[consoleproxy]\napi_listen = 8775\n{files}")) == []
    (tmp_path / "metrics-token").chmod(0o644)
    (tmp_path / "token").write_text("short")
    said = as_text(check(config(tmp_path, f"[consoleproxy]\napi_listen = 0.0.0.0:8775\n{files}"))).splitlines()
    assert said[0].startswith("[consoleproxy] api_listen: the API is offered in clear on 0.0.0.0:8775: ")
    assert said[1].startswith("[consoleproxy] api_token_file: the token in ")
    assert said[2].startswith("[consoleproxy] metrics_token_file: every user of this machine can read")
    assert len(said) == 4
