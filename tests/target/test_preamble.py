import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.target.preamble import HEAD_LIMIT, ConnectPreamble, PreambleRefused
from rfbproxy.wire import EndOfStream
from tests.cuts import run

XEN = "/console?ref=OpaqueRef:0a1b&session_id=OpaqueRef:deadbeef"


def preamble():
    return ConnectPreamble("vmid")


def test_nova_W05_what_is_asked():
    outcome = run(preamble, b"HTTP/1.1 200 OK\r\n\r\n")
    assert outcome.sent == b"CONNECT vmid HTTP/1.1\r\n\r\n"
    assert outcome.finished
    assert run(lambda: ConnectPreamble(XEN), b"").sent == b"CONNECT " + XEN.encode() + b" HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 200 \r\n\r\n",
        b"HTTP/1.1 200 Connection established\r\nVia: host\r\nX: " + b"x" * 4000 + b"\r\n\r\n",
    ],
)
def test_nova_W07_exactly_the_head_is_read(head):
    outcome = run(preamble, head, trailing=b"RFB 003.003\n")
    assert (outcome.error, outcome.finished, outcome.unread) == (None, True, b"")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "500"),  # nova_W06
        (b"HTTP/1.1 500 error 200\r\n\r\n", "500"),  # nova looks for 200 anywhere, on purpose not here
        (b"HTTP/1.1 403\r\nX-Status: 200\r\n\r\n", "403"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "100"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "204"),
    ],
)
def test_nova_W06_any_other_status(head, status):
    outcome = run(preamble, head)
    assert outcome.error == (PreambleRefused, f"target answers CONNECT with status {status}, due is 200")


@pytest.mark.parametrize(
    "head",
    [
        b"RFB 003.008\n\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b" HTTP/1.1 200 OK\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_no_status_line(head):
    assert run(preamble, head).error[0] is RemoteProtocolError


def test_a_head_at_the_limit_and_beyond():
    head = b"HTTP/1.1 200 OK\r\nX: "
    assert run(preamble, head + b"x" * (HEAD_LIMIT - len(head) - 4) + b"\r\n\r\n").error is None
    for data in (head + b"x" * (HEAD_LIMIT - len(head) - 3) + b"\r\n\r\n", b"\r" * HEAD_LIMIT):
        assert run(preamble, data).error == (RemoteProtocolError, f"no b'\\r\\n\\r\\n' within {HEAD_LIMIT} bytes")


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\n\r"])
def test_nova_W33_an_answer_cut_short(head):
    """Nova spins at 100 % CPU."""
    assert run(preamble, head, eof=True).error[0] is EndOfStream


@pytest.mark.parametrize("path", ["", "vm id", "vmid\r\nHost: evil", "vm\tid", "vmid\0", "größe"])
def test_a_path_that_no_request_line_can_carry(path):
    with pytest.raises(Refused) as refused:
        ConnectPreamble(path)
    assert refused.value.reason is CloseReason.INTERNAL
    assert not path or path not in refused.value.detail


def test_the_path_is_never_printed():
    echo = b"CONNECT " + XEN.encode() + b" HTTP/1.1\r\n\r\n"
    told = run(lambda: ConnectPreamble(XEN), echo).error[1] + repr(ConnectPreamble(XEN))
    assert "console" not in told


@given(st.binary(max_size=200), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 ", b"HTTP/1.1 200"]))
def test_random_bytes_raise_nothing_else(noise, before):
    outcome = run(preamble, before + noise, eof=True)
    assert outcome.error is None or issubclass(outcome.error[0], RemoteProtocolError)
