"""Nova's routes: bodies, statuses and microversions (nova_G…), and how long consoleauth's tokens live (nova_A…)."""

import pytest

UUID = "5b9fe8e4-91b7-4ea6-9f6c-0a6b7f0f3a11"
TARGET = {"host": "192.0.2.7", "port": 5900}
REMOTE = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
PREFIXES = ["", "/v2.1", "/v2.1/6f70656e737461636b20342065766572"]
FAULTS = {400: "badRequest", 403: "forbidden", 404: "itemNotFound", 405: "badMethod", 406: "computeFault",
          413: "overLimit", 415: "badMediaType", 503: "serviceUnavailable"}  # fmt: skip


def remote(api, protocol="vnc", console_type="novnc", *, version="2.6", prefix="", target=TARGET, **more):
    body = {"remote_console": {"protocol": protocol, "type": console_type}, "target": target, **more}
    return api.ask("POST", f"{prefix}/servers/{UUID}/remote-consoles", body, version=version)


def act(api, action, console_type, *, version="2.1", target=TARGET, prefix=""):
    body = {action: {"type": console_type}, "target": target}
    return api.ask("POST", f"{prefix}/servers/{UUID}/action", body, version=version)


def show(api, token, *, version="2.31", query="", prefix=""):
    return api.ask("GET", f"{prefix}/os-console-auth-tokens/{token}{query}", version=version)


def is_fault(answer, status, words=""):
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == [FAULTS[status]]
    (fault,) = answer.json.values()
    assert list(fault) == ["code", "message"]
    assert fault["code"] == status
    assert words in fault["message"]
    return True


def token_in(url):
    return url.rpartition("token%3D" if "%3D" in url else "token=")[2]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("protocol", "console_type", "version", "base"),
    [
        ("vnc", "novnc", "2.6", "http://127.0.0.1:6080/vnc_auto.html?path=%3Ftoken%3D"),
        ("vnc", "xvpvnc", "2.6", "http://127.0.0.1:6081/console?token="),
        ("spice", "spice-html5", "2.8", "http://127.0.0.1:6082/spice_auto.html?token="),
        ("spice", "spice-direct", "2.99", "http://127.0.0.1:6082/console.vv?token="),
    ],
)
def test_nova_G01_a_remote_console_is_created(api, prefix, protocol, console_type, version, base):
    answer = remote(api, protocol, console_type, version=version, prefix=prefix)
    assert answer.status == 200
    assert list(answer.json) == ["remote_console"]
    console = answer.json["remote_console"]
    assert list(console) == ["protocol", "type", "url"]
    assert (console["protocol"], console["type"]) == (protocol, console_type)
    assert console["url"].startswith(base)
    assert api.store.find(token_in(console["url"])).instance_uuid == UUID
    assert answer.headers["openstack-api-version"] == f"compute {version}"
    assert answer.headers["x-openstack-nova-api-version"] == version
    assert answer.headers["vary"] == "OpenStack-API-Version, X-OpenStack-Nova-API-Version"


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("action", "console_type"),
    [("os-getVNCConsole", "novnc"), ("os-getVNCConsole", "xvpvnc"), ("os-getSPICEConsole", "spice-html5")],
)
def test_nova_G01_an_action_creates_one(api, prefix, action, console_type):
    answer = act(api, action, console_type, prefix=prefix)
    assert answer.status == 200
    assert list(answer.json["console"]) == ["type", "url"]
    assert answer.json["console"]["type"] == console_type
    assert api.store.find(token_in(answer.json["console"]["url"])).console_type == console_type


@pytest.mark.parametrize("version", ["2.6", "2.31", "2.99", "latest"])
def test_nova_G01_actions_end_with_microversion_2_5(api, version):
    assert is_fault(act(api, "os-getVNCConsole", "novnc", version=version), 404, "is not supported on this method")


def test_nova_G01_remote_consoles_begin_with_microversion_2_6(api):
    assert is_fault(remote(api, version="2.5"), 404, "API version 2.5 is not supported on this method.")


def test_without_a_microversion_the_newest_is_meant_that_has_the_route(api):
    assert remote(api, "spice", "spice-direct", version=None).headers["openstack-api-version"] == "compute 2.99"
    assert act(api, "os-getVNCConsole", "novnc", version=None).headers["openstack-api-version"] == "compute 2.5"


@pytest.mark.parametrize(
    ("protocol", "console_type", "version", "words"),
    [
        ("serial", "serial", "2.6", "Unavailable console type serial."),
        ("rdp", "rdp-html5", "2.6", "Unavailable console type rdp-html5."),
        ("mks", "webmks", "2.8", "Unavailable console type webmks."),
        ("mks", "webmks", "2.7", "later microversion"),
        ("spice", "spice-direct", "2.98", "later microversion"),
        ("vnc", "spice-html5", "2.6", "Invalid console type spice-html5"),
        ("spice", "novnc", "2.6", "Invalid console type novnc"),
        ("vnc", "vnc-direct", "2.99", "not one of"),
        ("rfb", "novnc", "2.99", "not one of"),
    ],
)
def test_nova_G01_what_is_unavailable_or_invalid(api, protocol, console_type, version, words):
    assert is_fault(remote(api, protocol, console_type, version=version), 400, words)


@pytest.mark.parametrize("options", ["", "[vnc]\nenabled = False\n[spice]\nenabled = True\n"])
def test_nova_G01_a_protocol_that_is_not_enabled_is_unavailable(api, options):
    for protocol, console_type in (("vnc", "novnc"), ("spice", "spice-html5")):
        off = (protocol == "spice") is (options == "")
        answer = remote(api, protocol, console_type)
        assert is_fault(answer, 400, "Unavailable console type") if off else answer.status == 200


@pytest.mark.parametrize("action", ["os-getSerialConsole", "os-getRDPConsole"])
def test_nova_G01_actions_of_other_consoles_are_unavailable(api, action):
    console_type = {"os-getSerialConsole": "serial", "os-getRDPConsole": "rdp-html5"}[action]
    assert is_fault(act(api, action, console_type), 400, f"Unavailable console type {console_type}.")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"remote_console": {"protocol": "vnc", "type": "novnc"}},
        {"remote_console": {"protocol": "vnc", "type": "novnc"}, "target": TARGET, "extra": 1},
        {"remote_console": {"protocol": "vnc", "type": "novnc", "extra": 1}, "target": TARGET},
        {"remote_console": {"protocol": "vnc"}, "target": TARGET},
        {"remote_console": {"type": "novnc"}, "target": TARGET},
        {"remote_console": {"protocol": "vnc", "type": "novnc"}, "target": {**TARGET, "extra": 1}},
        {"remote_console": {"protocol": "vnc", "type": "novnc"}, "target": {"host": "h"}},
        {"remote_console": {"protocol": "vnc", "type": "novnc"}, "target": {"port": 1}},
        {"remote_console": {"protocol": "vnc", "type": "novnc"}, "target": {**TARGET, "policy": {"extra": 1}}},
        {"remote_console": {"protocol": "vnc", "type": "novnc"}, "target": [TARGET]},
        {"remote_console": "vnc", "target": TARGET},
        ["remote_console"],
        None,
        1,
    ],
)
def test_nova_G01_what_is_not_as_the_schema_says(api, body):
    path = f"/servers/{UUID}/remote-consoles"
    assert is_fault(api.ask("POST", path, body if body is not None else b"null", version="2.99"), 400)
    assert api.store.list(0) == []


@pytest.mark.parametrize(
    "body",
    [
        {"target": TARGET},
        {"os-getVNCConsole": {"type": "novnc"}},
        {"os-getVNCConsole": {"type": "novnc"}, "os-getSPICEConsole": {"type": "spice-html5"}, "target": TARGET},
        {"os-getVNCConsole": {"type": "spice-html5"}, "target": TARGET},
        {"os-getVNCConsole": {"type": "novnc", "extra": 1}, "target": TARGET},
        {"os-stop": None, "target": TARGET},
    ],
)
def test_nova_G01_an_action_that_is_not_as_the_schema_says(api, body):
    assert is_fault(api.ask("POST", f"/servers/{UUID}/action", body, version="2.1"), 400)


def test_nova_G01_every_machine_is_there_and_ready(api):
    """A deviation: nova answers 404, 409 or 501 of a machine that is unknown, not ready, or without a console."""
    answer = api.ask("POST", "/servers/of-nobody/remote-consoles", {**REMOTE, "target": TARGET}, version="2.6")
    assert answer.status == 200


def test_nova_G01_ports_that_ran_out(api):
    """A deviation: nova's driver runs out of ports as it answers; here whoever asks says which port it is."""
    assert is_fault(remote(api, target={"host": "192.0.2.7", "port": 65536}), 400)


def test_nova_G01_what_is_not_there(api):
    assert is_fault(api.ask("GET", "/servers"), 404, "The resource could not be found.")
    assert is_fault(api.ask("POST", f"/v2/servers/{UUID}/remote-consoles", {}), 404)
    assert is_fault(api.ask("GET", f"/servers/{UUID}/action"), 405)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_nova_G02_a_token_is_shown(api, prefix):
    target = {**TARGET, "tls_port": 5901}
    url = remote(api, target={**target, "internal_access_path": "/console?ref=1"}).json["remote_console"]["url"]
    answer = show(api, token_in(url), prefix=prefix)
    assert answer.status == 200
    assert answer.json == {
        "console": {
            "instance_uuid": UUID,
            "host": "192.0.2.7",
            "port": 5900,
            "internal_access_path": "/console?ref=1",
        }
    }


@pytest.mark.parametrize(("version", "has"), [("2.31", False), ("2.98", False), ("2.99", True), (None, True)])
@pytest.mark.parametrize("tls_port", [5901, None])
def test_nova_G02_the_tls_port_is_shown_of_spice_direct_since_2_99(api, version, has, tls_port):
    target = TARGET if tls_port is None else {**TARGET, "tls_port": tls_port}
    direct = remote(api, "spice", "spice-direct", version="2.99", target=target).json["remote_console"]["url"]
    browser = remote(api, "spice", "spice-html5", target=target).json["remote_console"]["url"]
    shown = show(api, token_in(direct), version=version).json["console"]
    assert shown.get("tls_port", "-") == (tls_port if has else "-")
    assert "tls_port" not in show(api, token_in(browser), version=version).json["console"]


def test_nova_G02_not_before_2_31(api):
    token = token_in(remote(api).json["remote_console"]["url"])
    for version in ("2.1", "2.30"):
        assert is_fault(show(api, token, version=version), 400)


def test_nova_G02_an_unknown_token(api):
    assert is_fault(show(api, "unknown"), 404, "Token not found")
    assert is_fault(show(api, "%ff"), 404)


def test_nova_G02_query_parameters_are_refused_since_2_99(api):
    token = token_in(remote(api).json["remote_console"]["url"])
    assert show(api, token, version="2.98", query="?a=1").status == 200
    assert is_fault(show(api, token, version="2.99", query="?a=1"), 400)


def test_nova_A01_a_token_lives_for_its_time(api):
    token = token_in(remote(api, target={**TARGET, "ttl": 1}).json["remote_console"]["url"])
    assert show(api, token).status == 200
    api.now += 1
    assert is_fault(show(api, token), 404, "Token not found")


def test_nova_A02_all_tokens_of_an_instance_are_withdrawn(api):
    tokens = [token_in(remote(api).json["remote_console"]["url"]) for _ in range(10)]
    assert [show(api, token).status for token in tokens] == [200] * 10
    assert api.ask("POST", "/v1/consoles/revoke", {"instance": UUID}).json == {"revoked": 10}
    assert [show(api, token).status for token in tokens] == [404] * 10
    assert api.ask("GET", "/v1/consoles").json == {"consoles": []}


def test_nova_A03_deviation_the_port_of_a_target_is_believed(api):
    """No compute service is asked as the API answers; `target_check` asks libvirt as the token is used."""
    token = token_in(remote(api, target={"host": "192.0.2.7", "port": 1}).json["remote_console"]["url"])
    assert show(api, token).json["console"]["port"] == 1


def test_nova_A04_a_token_that_has_expired_is_not_listed(api):
    remote(api, target={**TARGET, "ttl": 1})
    api.now += 1
    remote(api)
    assert len(api.ask("GET", "/v1/consoles").json["consoles"]) == 1
