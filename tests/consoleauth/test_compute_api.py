import contextlib
import logging
import socket
import time
import traceback

import pytest

from rfbproxy.consoleauth import compute_api
from rfbproxy.consoleauth.compute_api import ComputeApi
from rfbproxy.consoleauth.sessions import REVOKED
from rfbproxy.consoleauth.state import GRANT_KEPT_S
from rfbproxy.consoleauth.token import ConsoleToken, Grant, hash_token
from rfbproxy.consoleauth.vmware_ports import VmwarePorts
from rfbproxy.errors import ConfigError, StoreError, StoreReadOnly, StoreUnlisted
from tests.consoleauth.openstack import openstack
from tests.consoleauth.stores import KEPT, NOW, keep_grant, opened, rows, use
from tests.consoleauth.test_sessions import row, tell
from tests.consoleauth.test_token import console_token
from tests.ports import black_hole

TOKEN = "8f14e45f-ceea-467f-a2b5-1d1a4b1f0c11"
VNC = {"instance_uuid": "i", "host": "node1", "port": 5900, "internal_access_path": None}
FAILS_WITHIN_S = 9.0
TTL = 600


@pytest.fixture(scope="module")
def server():
    with openstack() as running:
        yield running


@pytest.fixture
def cloud(server):
    """As if nothing had happened yet."""
    fresh = type("Port", (), {"server_port": server.port})
    server.__init__(fresh)
    server.consoles[TOKEN] = VNC
    return server


@pytest.fixture
def store(cloud, tmp_path):
    with closing(cloud, tmp_path) as store:
        yield store


@contextlib.contextmanager
def closing(cloud, tmp_path, **login):
    store = ComputeApi(cloud.url, f"sqlite:///{tmp_path}/state.sqlite", cloud.login | login, TTL, lambda: NOW + 0.5)
    store.open()
    try:
        yield store
    finally:
        store.close()


def failing(call):
    """The message of the StoreError that a call ends in; no secret is in it or in anything that hangs at it."""
    begun = time.monotonic()
    with pytest.raises(StoreError) as caught:
        call()
    assert time.monotonic() - begun < FAILS_WITHIN_S
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.__context__ is None
    told = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in told
    assert "geheim" not in told
    return message


class TestFind:
    def test_a_token(self, store, cloud):
        assert store.find(TOKEN) == ConsoleToken(
            token_hash=hash_token(TOKEN),
            console_type=None,
            host="node1",
            port=5900,
            instance_uuid="i",
            expires=NOW + 600,
            access_url_base=None,
        )
        assert cloud.asked[-1] == ("GET", f"/v2.1/os-console-auth-tokens/{TOKEN}", "compute 2.99")

    def test_internal_access_path(self, store, cloud):
        cloud.consoles[TOKEN] = VNC | {"internal_access_path": "/console?ref=1"}
        assert store.find(TOKEN).internal_access_path == "/console?ref=1"

    @pytest.mark.parametrize("tls_port", [5901, None])
    def test_a_tls_port_means_spice_direct(self, store, cloud, tls_port):
        cloud.consoles[TOKEN] = VNC | {"tls_port": tls_port}
        found = store.find(TOKEN)
        assert (found.console_type, found.tls_port) == ("spice-direct", tls_port)

    def test_an_unknown_token(self, store):
        assert store.find("unknown") is None

    @pytest.mark.parametrize("token", ["", "a/b", "..", "a?b=c#d", "a%2fb", "a\n", "ä", "\ud800", "x" * 256])
    def test_what_cannot_be_novas_is_not_asked_for(self, store, cloud, token):
        assert store.find(token) is None
        assert cloud.asked == []

    def test_one_login_serves_many_questions(self, store, cloud):
        for _ in range(3):
            store.find(TOKEN)
        assert len(cloud.logins) == 1
        user = cloud.logins[0]["auth"]["identity"]["password"]["user"]
        assert user == {"name": "nova", "password": "geheim", "domain": {"name": "Default"}}

    def test_its_grant_is_in_the_state_database(self, store, tmp_path):
        with opened(tmp_path / "state.sqlite") as state:
            state.create(TOKEN, console_token(token_hash=hash_token(TOKEN), grant=Grant("user")), NOW)
        assert store.find(TOKEN).grant == Grant("user")

    def test_an_application_credential(self, cloud, tmp_path):
        login = {
            "auth_type": "v3applicationcredential",
            "application_credential_id": "id",
            "application_credential_secret": "geheim",
            "username": None,
            "project_name": None,
            "user_domain_name": None,
            "project_domain_name": None,
        }
        with closing(cloud, tmp_path, **login) as store:
            assert store.find(TOKEN) is not None
        assert cloud.logins[0]["auth"]["identity"]["methods"] == ["application_credential"]


class TestMicroversions:
    def test_an_older_nova_is_asked_with_what_it_speaks_from_then_on(self, store, cloud):
        cloud.newest = (2, 96)
        cloud.consoles[TOKEN] = VNC | {"tls_port": 5901}
        found = [store.find(TOKEN) for _ in range(2)]
        assert [(token.console_type, token.tls_port) for token in found] == [(None, None)] * 2
        versions = [version for _, path, version in cloud.asked if "os-console" in path]
        assert versions == ["compute 2.99", "compute 2.31", "compute 2.31"]

    def test_one_that_is_too_old(self, store, cloud):
        cloud.newest = (2, 30)
        assert "status 406" in failing(lambda: store.find(TOKEN))


class TestFailure:
    @pytest.mark.parametrize(
        ("status", "says"),
        [
            (400, "status 400"),
            (401, "refuses the login of [keystone_authtoken] (401)"),
            (403, "may not ask for console tokens (403)"),
            (302, "status 302"),
            (500, "status 500"),
            (503, "status 503"),
        ],
    )
    def test_the_apis_answers(self, store, cloud, status, says):
        cloud.status = status
        message = failing(lambda: store.find(TOKEN))
        assert says in message
        assert message.startswith(f"token store {cloud.url}: ")
        failing(store.ping)

    def test_a_login_that_has_lapsed_is_renewed(self, store, cloud):
        store.find(TOKEN)
        store._session.auth.auth_ref._auth_token = "lapsed"
        assert store.find(TOKEN) is not None
        assert len(cloud.logins) == 2

    @pytest.mark.parametrize(("status", "says"), [(401, "refuses the login"), (500, "answered with an error")])
    def test_keystones_answers(self, store, cloud, status, says):
        cloud.login_status = status
        message = failing(lambda: store.find(TOKEN))
        assert f"keystone at http://127.0.0.1:{cloud.port}/identity {says}" in message

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>",
            b"[]",
            b"null",
            {},
            {"console": None},
            {"console": {}},
            {"console": VNC | {"host": ""}},
            {"console": VNC | {"host": 5}},
            {"console": VNC | {"port": "5900"}},
            {"console": VNC | {"port": 65536}},
            {"console": VNC | {"port": True}},
            {"console": VNC | {"port": None}},
            {"console": VNC | {"tls_port": -1}},
            {"console": VNC | {"internal_access_path": 7}},
        ],
    )
    def test_an_answer_that_is_none(self, store, cloud, body):
        cloud.status, cloud.body = 200, body
        assert "its answer" in failing(lambda: store.find(TOKEN))

    @pytest.mark.parametrize(
        ("who", "says"), [("silent", "the compute API did not answer within"), ("keystone_silent", "it is silent")]
    )
    def test_silence(self, store, cloud, monkeypatch, who, says):
        with monkeypatch.context() as impatient:  # who else answers may need some of it, on a busy machine
            impatient.setattr(store._session, "timeout", 0.5)
            impatient.setattr(cloud, who, 1.5)
            assert says in failing(lambda: store.find(TOKEN))
        assert store.find(TOKEN) is not None

    def test_a_black_hole(self, cloud, tmp_path):
        with black_hole() as port:
            url = f"http://127.0.0.1:{port}/identity/v3"
            with closing(cloud, tmp_path, auth_url=url) as store:
                told = failing(lambda: store.find(TOKEN))
            assert f"keystone at {url} tells no versions of its API: it is silent" in told

    def test_nobody_there(self, cloud, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        store = ComputeApi(f"nova+http://127.0.0.1:{port}/v2.1", "sqlite://", cloud.login, 600)
        assert "the compute API cannot be reached" in failing(lambda: store.find(TOKEN))
        store = ComputeApi(f"nova+https://127.0.0.1:{cloud.port}/v2.1", "sqlite://", cloud.login, 600)
        assert "does not speak TLS" in failing(lambda: store.find(TOKEN))


class TestStore:
    def test_ping_asks_for_a_token_that_there_is_not(self, store, cloud):
        store.ping()
        assert cloud.asked[-1][1].startswith("/v2.1/os-console-auth-tokens/")

    def test_it_is_only_read_and_lists_nothing(self, store):
        calls = (
            lambda: store.create(TOKEN, console_token(), NOW),
            lambda: store.revoke(instance_uuid="i"),
            lambda: store.move("i", "node2"),
        )
        for call in calls:
            with pytest.raises(StoreReadOnly, match="is only read: its tokens are nova's"):
                call()
        with pytest.raises(StoreUnlisted, match=r"cannot be listed: nova's compute API does not tell its tokens"):
            store.list(NOW)
        assert store.purge(NOW) == 0

    def test_grants_are_kept_while_their_tokens_may_be_valid(self, store, tmp_path):
        state = tmp_path / "state.sqlite"
        keep_grant(state, TOKEN, NOW, one_time=True)
        assert store.find(TOKEN).grant.one_time
        assert use(store, hash_token(TOKEN), "a", "192.0.2.7/32", NOW)
        for late, left in ((GRANT_KEPT_S + TTL - 1, 1), (GRANT_KEPT_S + TTL, 1), (GRANT_KEPT_S + TTL, 0)):
            store.purge(NOW + late)
            assert [rows(state, f"SELECT count(*) FROM {table}") for table in KEPT] == [[(left,)]] * 2

    def test_sessions_are_kept_and_end_by_command_alone(self, store, cloud):
        session = row("a", store.find(TOKEN), type="novnc", client="192.0.2.7")
        cloud.consoles.clear()
        cloud.asked.clear()
        assert tell(store, session) == {}, "nova answers for one token at a time, and for valid ones alone"
        assert cloud.asked == []
        assert store.sessions.end("a", NOW) == 1
        assert tell(store, session) == {"a": REVOKED}

    def test_ports_of_vmware_machines_are_beside_them(self, store):
        assert VmwarePorts(store.own_database).allocate("a", "node1", [5900]) == 5900

    def test_opening_asks_nobody(self, store, cloud):
        assert cloud.asked == []

    def test_no_token_and_no_password_is_logged(self, store, cloud, caplog):
        caplog.set_level(logging.DEBUG)
        store.find(TOKEN)
        cloud.status = 403
        failing(lambda: store.find(TOKEN))
        assert all(TOKEN not in record.getMessage() for record in caplog.records)
        assert all("geheim" not in record.getMessage() for record in caplog.records)

    @pytest.mark.parametrize(
        "url",
        ["nova+http://", "nova+http:///v2.1", "nova+http://h:x/", "nova+http://u:geheim@h/v2.1", "nova+http://h/?a=b"],
    )
    def test_other_addresses_are_refused(self, cloud, url):
        with pytest.raises(ConfigError, match=r"nova\+https://HOST:PORT/v2.1") as caught:
            ComputeApi(url, "sqlite://", cloud.login, 600)
        assert "geheim" not in str(caught.value)

    def test_a_login_without_a_keystone_is_refused(self, cloud):
        with pytest.raises(ConfigError, match=r"\[keystone_authtoken\] lacks auth_url"):
            ComputeApi(cloud.url, "sqlite://", cloud.login | {"auth_url": None}, 600)

    def test_without_keystoneauth_it_says_what_to_install(self, cloud, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "keystoneauth1", None)
        with pytest.raises(ConfigError, match="pip install"):
            ComputeApi(cloud.url, "sqlite://", cloud.login, 600)

    def test_three_requests_end_before_a_visit_does(self):
        assert 3 * compute_api.ANSWER_TIMEOUT_S < FAILS_WITHIN_S
