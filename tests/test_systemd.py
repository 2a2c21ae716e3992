import os
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from rfbproxy import systemd

TAKES = """
import os
import twisted.internet.endpoints  # which takes LISTEN_FDS away
from rfbproxy.systemd import take_sockets
for each in take_sockets():
    inheritable = os.get_inheritable(each.socket.fileno())
    print(repr(each.name), each.socket.getsockname()[1], inheritable, each.socket.getblocking())
print([name for name in os.environ if name.startswith("LISTEN_")])
"""


def take(shell, environment, **popen):
    done = subprocess.run(
        ["sh", "-c", f'{shell} exec "$@"', "-", sys.executable, "-c", TAKES],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=20, check=True, **popen,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("shell", "environment"),
    [
        ("", {}),
        ("", {"LISTEN_FDS": "1"}),
        ("", {"LISTEN_FDS": "1", "LISTEN_PID": "1"}),
        ("LISTEN_PID=$$", {"LISTEN_FDS": "many"}),
        ("LISTEN_PID=$$", {"LISTEN_FDS": "0", "LISTEN_FDNAMES": ""}),
    ],
)
def test_sockets_of_somebody_else_are_left_alone(shell, environment):
    assert take(shell, environment) == ["[]"]


@pytest.mark.parametrize(("names", "named"), [(None, ["''", "''"]), ("a", ["'a'", "''"]), ("a:b", ["'a'", "'b'"])])
def test_sockets_are_taken_with_their_names(names, named):
    def put() -> None:
        """As systemd does: descriptors 3 and 4."""
        high = [os.dup2(each.fileno(), 100 + index) for index, each in enumerate(sockets)]
        for index, descriptor in enumerate(high):
            os.dup2(descriptor, 3 + index)

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    try:
        environment = {"LISTEN_FDS": "2"} | ({"LISTEN_FDNAMES": names} if names is not None else {})
        lines = take("LISTEN_PID=$$", environment, preexec_fn=put, close_fds=False)
    finally:
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
    assert lines == [
        *(f"{name} {port} False False" for name, port in zip(named, ports, strict=True)),
        "[]",
    ]


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path, monkeypatch, abstract):
    where = f"@rfbproxy-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind("\0" + where[1:] if abstract else where)
        monkeypatch.setenv("NOTIFY_SOCKET", where)
        systemd.notify("READY=1")
        assert listening.recv(100) == b"READY=1"
        systemd.notify("RELOADING=1")
        first, second = listening.recv(100).decode().split("\n")
        assert first == "RELOADING=1"
        assert second.removeprefix("MONOTONIC_USEC=").isdecimal()


@pytest.mark.parametrize("where", [None, "", "/nonexistent/notify"])
def test_nobody_asked_to_be_told(monkeypatch, where):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if where is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", where)
    systemd.notify("READY=1")
