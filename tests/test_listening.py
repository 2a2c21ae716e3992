"""Where is listened: several addresses, names, UNIX sockets, and sockets that somebody else bound."""

import os
import socket
import stat
from contextlib import closing, suppress

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from rfbproxy.address import Address
from rfbproxy.config import Config
from rfbproxy.errors import ConfigError
from rfbproxy.listening import close as close_places
from rfbproxy.listening import listen, places
from rfbproxy.systemd import HandedOver
from tests.ports import free_port
from tests.test_interactive import is_interactive


def config(tmp_path, options):
    file = tmp_path / "nova.conf"
    file.write_text(options)
    return Config([str(file)], base=tmp_path)


def addresses(tmp_path, host, more=""):
    read = config(tmp_path, f"[vnc]\nnovncproxy_host = {host}\nnovncproxy_port = 6080\n{more}")
    return [str(address) for address in read.addresses("vnc", "novncproxy")]


@pytest.fixture
def opened():
    """Sockets to close."""
    kept = []
    yield kept
    for each in kept:
        each.close()


def bound(opened, host="127.0.0.1", port=0, family=socket.AF_INET):
    each = socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    opened.append(each)
    return each


# What the options mean


@pytest.mark.parametrize(
    ("host", "means"),
    [
        ("192.0.2.1", ["192.0.2.1:6080"]),
        ("console.example", ["console.example:6080"]),
        ("::1", ["[::1]:6080"]),
        ("[::1]", ["[::1]:6080"]),
        ("fe80::1%eth0", ["[fe80::1%eth0]:6080"]),
        ("[fe80::1%eth0]", ["[fe80::1%eth0]:6080"]),
        ("::ffff:192.0.2.1", ["[::ffff:192.0.2.1]:6080"]),
        ("fd00::10", ["[fd00::10]:6080"]),
        ("2001:db8:1:2:3:4:5:6080", ["[2001:db8:1:2:3:4:5:6080]:6080"]),
        ("[2001:db8::1:6080]", ["[2001:db8::1:6080]:6080"]),
        ("192.0.2.1, [::1] ,unix:/run/x", ["192.0.2.1:6080", "[::1]:6080", "unix:/run/x"]),
        ("0.0.0.0, ::", ["[::]:6080"]),
        ("::1, ::1", ["[::1]:6080"]),
        ("", []),
    ],
)
def test_the_addresses_of_a_listener(tmp_path, host, means):
    assert addresses(tmp_path, host) == means


def test_a_unix_path_starts_where_the_program_did(tmp_path):
    assert addresses(tmp_path, "unix:x.sock") == [f"unix:{tmp_path}/x.sock"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0.0.0.0,::"])
def test_source_is_ipv6(tmp_path, host):
    assert addresses(tmp_path, host, "[DEFAULT]\nsource_is_ipv6 = True") == ["[::]:6080"]
    assert addresses(tmp_path, "192.0.2.1", "[DEFAULT]\nsource_is_ipv6 = True") == ["192.0.2.1:6080"]


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("2001:db8::1:6080", r"may be an address, or 2001:db8::1 with the port 6080; \[2001:db8::1:6080\] is the one"),
        ("[::1]:6080", "is not a host"),
        ("127.0.0.1:6080", "is not a host"),
        ("host:6080", "is not a host"),
        ("[::1", "is not a host"),
        ("[host]", "is not a host"),
        ("::g", "is not a host"),
        ("unix:", "is not an address"),
    ],
)
def test_what_is_no_host_is_refused_clearly(tmp_path, host, says):
    with pytest.raises(ConfigError, match=says) as caught:
        addresses(tmp_path, host)
    assert str(caught.value).startswith("[vnc] novncproxy_host: ")
    assert "\n" not in str(caught.value)


# Sockets


@pytest.mark.parametrize(
    ("host", "caller"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"), ("::", "::1")]
)
def test_who_reaches_an_address(opened, host, caller):
    place = listen(Address(host, 0))
    opened.append(place.socket)
    assert place.address.host == host
    with closing(socket.create_connection((caller, place.address.port), 5)):
        pass


def test_a_name_means_its_ipv6_address_where_that_is_preferred(monkeypatch, opened):
    both = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0)), (socket.AF_INET6, 1, 6, "", ("::1", 0, 0, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both.copy())
    for prefer, host in ((False, "127.0.0.1"), (True, "::1")):
        place = listen(Address("name.example", 0), prefer_ipv6=prefer)
        opened.append(place.socket)
        assert place.address.host == host


@pytest.mark.parametrize("address", [Address("192.0.2.1", 1), Address("::2", 1), Address("fe80::1%nothing", 1)])
def test_what_cannot_be_bound_is_said_with_its_address(address):
    with pytest.raises(ConfigError) as caught:
        listen(address)
    assert str(caught.value).startswith(f"cannot listen on {address}: ")


def test_all_or_none(tmp_path, opened):
    free, taken = free_port(), bound(opened).getsockname()[1]
    wanted = {"a": [Address("127.0.0.1", free), Address(path=str(tmp_path / "s"))], "b": [Address("127.0.0.1", taken)]}
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{taken}: Address already in use"):
        places(wanted)
    bound(opened, port=free)
    assert not (tmp_path / "s").exists()


# Handed over


def handed(opened, name="", host="127.0.0.1", family=socket.AF_INET):
    each = bound(opened, host, family=family)
    return HandedOver(name, each), Address(host, each.getsockname()[1])


def test_a_socket_serves_the_listener_that_has_its_address(opened):
    given, address = handed(opened, "anything.socket")
    other = Address("127.0.0.1", free_port())
    found, strangers = places({"novncproxy": [address], "xvpvncproxy": [other]}, [given])
    opened += [place.socket for place in found]
    assert [(place.address, place.handed_over) for place in found] == [(address, True), (other, False)]
    assert found[0].socket is given.socket
    assert strangers == []


def test_a_socket_serves_the_listener_whose_name_it_has_in_place_of_all_its_addresses(opened):
    one, two = handed(opened, "novncproxy")[0], handed(opened, "novncproxy", "::1", socket.AF_INET6)[0]
    found, strangers = places({"novncproxy": [Address("192.0.2.1", 1)], "xvpvncproxy": []}, [one, two])
    assert [place.socket for place in found] == [one.socket, two.socket]
    assert strangers == []


def test_a_socket_that_is_nobodys_is_told(opened):
    given, address = handed(opened, "html5proxy")
    found, strangers = places({"novncproxy": [Address("127.0.0.1", 0)]}, [given])
    opened += [place.socket for place in found]
    assert [place.address for place in strangers] == [address]


def test_systemds_wildcard_serves_both(opened):
    given, there = handed(opened, "", "::", socket.AF_INET6)
    for host in ("0.0.0.0", "::"):
        (place,), _ = places({"novncproxy": [Address(host, there.port)]}, [given])
        assert place.socket is given.socket


def test_a_name_has_the_address_that_it_resolves_to(opened):
    given, there = handed(opened)
    (place,), _ = places({"novncproxy": [Address("localhost", there.port)]}, [given])
    assert place.socket is given.socket


def unix_socket(opened, path, mode):
    each = socket.socket(socket.AF_UNIX)
    each.bind(str(path))
    path.chmod(mode)
    each.listen()
    each.setblocking(False)
    opened.append(each)
    return each


@pytest.mark.parametrize("handed_over", [True, False])
def test_a_unix_socket_keeps_its_mode_and_one_that_was_handed_over_its_path(tmp_path, opened, handed_over):
    path = tmp_path / "s"
    given = [HandedOver("", unix_socket(opened, path, 0o640))] if handed_over else []
    (place,), _ = places({"novncproxy": [Address(path=str(path))]}, given, unix_mode=0o600)
    port = place.open(Factory.forProtocol(Protocol), reactor)
    assert stat.S_IMODE(path.stat().st_mode) == (0o640 if handed_over else 0o600)
    port.stopListening()
    reactor.iterate(0)  # in the first turn the descriptor is let go, in the second the port
    reactor.iterate(0)
    assert path.exists() == handed_over


def test_places_that_were_not_opened_are_left_as_they_were(tmp_path, opened):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    given = HandedOver("", unix_socket(opened, theirs, 0o600))
    found, _ = places({"a": [Address(path=str(ours)), Address(path=str(theirs))]}, [given])
    close_places(found)
    assert not ours.exists()
    assert theirs.exists()


def test_an_abstract_socket_is_served(opened):
    each = socket.socket(socket.AF_UNIX)
    each.bind(f"\0rfbproxy-{os.getpid()}-{free_port()}")
    each.listen()
    each.setblocking(False)
    opened.append(each)
    (place,), _ = places({"novncproxy": []}, [HandedOver("novncproxy", each)])
    port = place.open(Factory.forProtocol(Protocol), reactor)
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.connect(each.getsockname())
    port.stopListening()
    reactor.iterate(0)


@pytest.mark.parametrize("handed_over", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_is_accepted_is_set_up_for_somebody_who_types(opened, host, handed_over):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    given = [HandedOver("novncproxy", bound(opened, host, family=family))] if handed_over else []
    for each in given:
        each.socket.setblocking(False)
    (place,), _ = places({"novncproxy": [Address(host, 0)]}, given)
    protocol = Protocol()
    port = place.open(Factory.forProtocol(lambda: protocol), reactor)
    with closing(socket.create_connection((host, place.address.port), 5)):
        for _ in range(1000):
            if protocol.connected:
                break
            reactor.iterate(0.01)
        assert is_interactive(protocol.transport.getHandle())
        protocol.transport.abortConnection()
        port.stopListening()
        reactor.iterate(0)


def test_what_has_waited_to_be_accepted_is_set_up_too(opened):
    given = [HandedOver("novncproxy", bound(opened))]
    given[0].socket.setblocking(False)
    (place,), _ = places({"novncproxy": []}, given)
    protocol = Protocol()
    with closing(socket.create_connection(("127.0.0.1", place.address.port), 5)):
        port = place.open(Factory.forProtocol(lambda: protocol), reactor)
        for _ in range(1000):
            if protocol.connected:
                break
            reactor.iterate(0.01)
        assert is_interactive(protocol.transport.getHandle())
        protocol.transport.abortConnection()
        port.stopListening()
        reactor.iterate(0)


def test_stale_sockets_are_replaced_and_nothing_else_is(tmp_path):
    path = tmp_path / "s"
    for _ in range(2):
        listen(Address(path=str(path))).socket.close()
    path.unlink()
    path.write_text("a file")
    with pytest.raises(ConfigError, match="Address already in use"):
        listen(Address(path=str(path)))
    with suppress(FileNotFoundError):
        path.unlink()
    place = listen(Address(path=str(path)))
    with closing(place.socket), pytest.raises(ConfigError, match="Address already in use"):
        listen(Address(path=str(path)))
