"""The real service as keystoneauth1 finds and asks it: by discovery, with a token, in its own microversion."""

import logging

import pytest
from keystoneauth1 import adapter, discover, exceptions, session, token_endpoint

from tests.certificates import certificate
from tests.peers import SERVER_INIT, WebSocket, echo, enter, target
from tests.ports import free_port
from tests.proxy_process import running, until

TOKEN = "the-token-of-the-api"
SERVER = "5b9fe8e4-91b7-4ea6-9f6c-0a6b7f0f3a11"


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logging.getLogger("keystoneauth").setLevel(logging.CRITICAL)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("found")
    pem = folder / "cert.pem"
    certificate(pem, pem)
    (folder / "token").write_text(TOKEN)
    port = free_port()
    with running(folder, f"api_listen = {port}\napi_token_file = token\n[DEFAULT]\ncert = {pem}") as started:
        started.api = f"127.0.0.1:{port}"
        until(lambda: "listening for the API on" in started.log, "the API")
        yield started


def compute(proxy, path="", scheme="http", token=TOKEN, **versions):
    """A client of the compute API; the auth type is `admin_token`, of an endpoint and a token that are known."""
    auth = token_endpoint.Token(f"{scheme}://{proxy.api}{path}", token)
    asking = session.Session(auth, verify=str(proxy.folder / "cert.pem"), timeout=20)
    return adapter.Adapter(asking, service_type="compute", raise_exc=True, **versions)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("path", ["", "/", "/v2.1", "/v2.1/"])
def test_it_finds_the_endpoint_and_its_microversions(proxy, path, scheme):
    found = compute(proxy, path, scheme, min_version="2.1", max_version="2.latest").get_endpoint_data()
    assert found.url.rstrip("/") == f"{scheme}://{proxy.api}/v2.1"
    assert found.api_version == (2, 1)
    assert (found.min_microversion, found.max_microversion) == ((2, 1), (2, 99))


def test_it_lists_one_version(proxy):
    anybody = session.Session(verify=str(proxy.folder / "cert.pem"), timeout=20)
    found = discover.Discover(anybody, f"https://{proxy.api}/")
    assert [each["version"] for each in found.version_data()] == [(2, 1)]
    assert found.data_for("3") is None


def test_it_creates_a_console_and_shows_it(proxy):
    with target(echo) as echoing:
        nova = compute(proxy, "/v2.1", default_microversion="2.6")
        body = {"remote_console": {"protocol": "vnc", "type": "novnc"},
                "target": {"host": "127.0.0.1", "port": echoing.port}}  # fmt: skip
        answer = nova.post(f"/servers/{SERVER}/remote-consoles", json=body)
        assert answer.headers["OpenStack-API-Version"] == "compute 2.6"
        token = answer.json()["remote_console"]["url"].partition("token%3D")[2]
        shown = nova.get(f"/os-console-auth-tokens/{token}", microversion="2.31").json()["console"]
        assert (shown["instance_uuid"], shown["port"]) == (SERVER, echoing.port)
        with WebSocket(proxy.port, f"/?token={token}") as client:
            assert enter(client) == SERVER_INIT


def test_what_it_is_refused_is_nova_s_error(proxy):
    with pytest.raises(exceptions.Unauthorized):
        compute(proxy, "/v2.1", token="wrong").get("/os-console-auth-tokens/x")
    with pytest.raises(exceptions.NotFound) as refused:
        compute(proxy, "/v2.1").get("/os-console-auth-tokens/x", microversion="2.31")
    assert refused.value.response.json() == {"itemNotFound": {"code": 404, "message": "Token not found"}}
    with pytest.raises(exceptions.NotAcceptable):
        compute(proxy, "/v2.1").get("/os-console-auth-tokens/x", microversion="2.100")
