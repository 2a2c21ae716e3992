"""IPv6 between machines: proxy and client, or target, are in network namespaces of their own, with a cable between."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.live.processes import program
from tests.peers import SERVER_INIT, Target, WebSocket, echo, enter, http
from tests.proxy_process import BIN, Proxy, until

CLONE_NEWNET = 0x40000000

T = TypeVar("T")


@dataclass(frozen=True)
class Cable:
    """Two namespaces; the near one is the proxy's, with addresses that end in 1, the far one's end in 2."""

    near: str
    far: str
    near_link: str = "near0"
    far_link: str = "far0"

    def there(self, function: Callable[[], T]) -> T:
        """Call in the far namespace; the sockets made there stay there."""
        answers: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                with Path(f"/var/run/netns/{self.far}").open() as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                answers.append(function())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return answers[0]

    def target(self, host: str) -> Target:
        """A target in the far namespace."""
        return self.there(lambda: Target(echo, host))


def ip(*arguments: str) -> None:
    done = subprocess.run([program("ip"), *arguments], capture_output=True, text=True, timeout=20)
    if done.returncode:
        pytest.fail(f"ip {' '.join(arguments)}: {done.stderr.strip()} (network namespaces are needed)", pytrace=False)


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    if os.geteuid() != 0:
        pytest.fail("these tests make network namespaces and a cable between them: run them as root", pytrace=False)
    made = Cable(f"rfbproxy-near-{os.getpid()}", f"rfbproxy-far-{os.getpid()}")
    with ExitStack() as stack:
        for namespace in (made.near, made.far):
            ip("netns", "add", namespace)
            stack.callback(ip, "netns", "delete", namespace)
        ip("-n", made.near, "link", "add", made.near_link, "type", "veth", "peer", made.far_link, "netns", made.far)
        for namespace, link, last in ((made.near, made.near_link, 1), (made.far, made.far_link, 2)):
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "link", "set", link, "addrgenmode", "none", "up")
            for address in (f"2001:db8:77::{last}/64", f"fd77::{last}/64", f"fe80::{last}/64"):
                ip("-n", namespace, "address", "add", address, "dev", link, "nodad")
            ip("-n", namespace, "address", "add", f"192.0.2.{last}/24", "dev", link)
        yield made


@pytest.fixture
def start(cable: Cable, tmp_path: Path) -> Iterator[Callable[[str], Proxy]]:
    with ExitStack() as stack:

        def run(options: str) -> Proxy:
            command = (program("ip"), "netns", "exec", cable.near, str(BIN / "twistd"), "-n", "consoleproxy")
            proxy = Proxy(tmp_path, options, command=command)
            stack.callback(lambda: proxy.process and proxy.stop())
            return proxy.start()

        yield run


@pytest.mark.parametrize(
    ("listen", "called", "seen", "target_host", "record_host"),
    [
        ("2001:db8:77::1", "2001:db8:77::1", "2001:db8:77::2", "2001:db8:77::2", "2001:db8:77::2"),
        ("[fd77::1]", "fd77::1", "fd77::2", "[fd77::2]", "fd77::2"),
        ("::", "2001:db8:77::1", "2001:db8:77::2", "192.0.2.2", "192.0.2.2"),
        ("::", "192.0.2.1", "192.0.2.2", "fd77::2", "fd77::2"),
        ("fe80::1%near0", "fe80::1%far0", "fe80::2", "fe80::2%near0", "fe80::2%near0"),
        ("[fe80::1%near0]", "fe80::1%far0", "fe80::2", "[fe80::2%near0]", "fe80::2%near0"),
    ],
)
def test_a_visit(
    cable: Cable, start: Callable[[str], Proxy], listen: str, called: str, seen: str, target_host: str, record_host: str
) -> None:
    proxy = start(f"[vnc]\nnovncproxy_host = {listen}")
    server = cable.target("::" if "%" in target_host else target_host.strip("[]"))
    try:
        token = proxy.create(server.port, host=target_host)["token"]
        bare = called.partition("%")[0]
        name = f"[{bare}]" if ":" in bare else bare
        headers = (f"Host: {name}:{proxy.port}", f"Origin: http://{name}:{proxy.port}")
        with cable.there(lambda: WebSocket(proxy.port, f"/?token={token}", *headers, host=called)) as client:
            assert enter(client) == SERVER_INIT
        record = proxy.next_record(0)
    finally:
        server.close()
    assert record["client"].partition("%")[0] == seen
    brackets = f"[{record_host}]" if ":" in record_host else record_host
    assert record["target"] == f"{brackets}:{server.port}"


def test_ipv4_in_ipv6_is_ipv4_to_trusted_proxies(cable: Cable, start: Callable[[str], Proxy]) -> None:
    proxy = start("trusted_proxies = ::ffff:192.0.2.0/120\n[vnc]\nnovncproxy_host = ::")
    for called, seen in (("192.0.2.1", "198.51.100.7"), ("2001:db8:77::1", "2001:db8:77::2")):
        before = len(proxy.records)
        with cable.there(
            lambda called=called: WebSocket(proxy.port, "/", "Host: h", "X-Forwarded-For: 198.51.100.7", host=called)
        ) as client:
            client.send(b"RFB 003.008\n")
            client.until_close()
        assert proxy.next_record(before)["client"] == seen


def test_only_the_address_that_was_named_is_listened_on(cable: Cable, start: Callable[[str], Proxy]) -> None:
    proxy = start("[vnc]\nnovncproxy_host = 2001:db8:77::1")
    health = "GET /healthz HTTP/1.0\r\n\r\n"
    assert cable.there(lambda: http(proxy.port, health, "2001:db8:77::1"))[0] == 200
    for other in ("fd77::1", "192.0.2.1"):
        with pytest.raises(ConnectionRefusedError):
            cable.there(lambda other=other: http(proxy.port, health, other))


def test_a_target_whose_cable_is_cut_is_said_to_be_unreachable(cable: Cable, start: Callable[[str], Proxy]) -> None:
    proxy = start("connect_timeout_s = 1\n[vnc]\nnovncproxy_host = ::")
    token = proxy.create(5900, host="2001:db8:77::99")["token"]  # nobody's address on this cable
    with cable.there(lambda: WebSocket(proxy.port, f"/?token={token}", host="fd77::1")) as client:
        client.send(b"RFB 003.008\n")
        client.until_close()
    assert proxy.next_record(0)["close_reason"] == "target-unreachable"
    until(lambda: "[2001:db8:77::99]:5900 is unreachable" in proxy.log, "the log to say so")
