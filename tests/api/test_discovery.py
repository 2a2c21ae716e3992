"""How clients that look for nova's API find this one."""

import pytest

from tests.api.test_nova_routes import is_fault

VERSION = {"id": "v2.1", "status": "CURRENT", "version": "2.99", "min_version": "2.1",
           "updated": "2013-07-23T11:33:21Z"}  # fmt: skip


def self_link(answer):
    ((version, *_),) = [answer.get("versions") or [answer.get("version")]]
    (link,) = [each["href"] for each in version["links"] if each["rel"] == "self"]
    return link


def test_the_versions_are_as_nova_tells_them(api):
    answer = api.ask("GET", "/", token=None)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    link = {"rel": "self", "href": "http://api/v2.1/"}
    assert answer.json == {"versions": [{**VERSION, "links": [link]}]}
    assert "openstack-api-version" not in answer.headers, "the root is under no microversion"


@pytest.mark.parametrize("path", ["/v2.1", "/v2.1/"])
def test_the_version_is_as_nova_tells_it(api, path):
    answer = api.ask("GET", path, token=None, version="2.31")
    assert answer.status == 200
    version = answer.json["version"]
    assert {name: version[name] for name in VERSION} == VERSION
    assert version["media-types"] == [
        {"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}
    ]
    assert [link["rel"] for link in version["links"]] == ["self", "describedby"]
    assert version["links"][0]["href"] == "http://api/v2.1/"
    assert answer.headers["openstack-api-version"] == "compute 2.31"
    assert answer.headers["x-openstack-nova-api-version"] == "2.31"
    assert answer.headers["vary"] == "OpenStack-API-Version, X-OpenStack-Nova-API-Version"


def test_versions_that_there_are_not(api):
    refused = api.ask("GET", "/v2.1/", token=None, version="2.100")
    assert is_fault(refused, 406, "Minimum is 2.1 and maximum is 2.99")
    assert refused.headers["vary"] == "OpenStack-API-Version, X-OpenStack-Nova-API-Version"
    assert is_fault(api.ask("GET", "/v2.1/", token=None, version="new"), 400)
    for path in ("/v2", "/v2/", "/v3", "/v2.1//"):
        assert api.ask("GET", path).status == 404
    assert is_fault(api.ask("POST", "/v2.1/"), 405)


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("h.example:8775", "http://h.example:8775"),
        ("192.0.2.7", "http://192.0.2.7"),
        ("[2001:db8::1]:8775", "http://[2001:db8::1]:8775"),
        ("h/../evil", ""),
        ("user@h", ""),
        ('h"><script>', ""),
        ("h:port", ""),
        ("", ""),
    ],
)
def test_links_begin_with_the_host_that_was_asked_if_it_is_one(api, host, base):
    sent = f"GET /v2.1/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    _, _, body = api.send(sent).value().partition(b"\r\n\r\n")
    assert f'"href": "{base}/v2.1/"'.encode() in body
    if not base and host:
        assert host.encode() not in body


@pytest.mark.parametrize("tls_only", [True])
def test_in_clear_nothing_is_told_where_tls_is_demanded(api, tls_only):
    for path in ("/", "/v2.1/", "/openapi.json", "/metrics"):
        assert is_fault(api.ask("GET", path), 403, "TLS")
