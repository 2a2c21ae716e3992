"""A SPICE viewer whose channels are in a test's hand, one by one; it comes by CONNECT and does nothing unasked."""

import socket
import struct

from rfbproxy.secret import Secret
from rfbproxy.spice import Capabilities, ChannelType, ClientLink, LinkMess, channel_name
from rfbproxy.spice.capabilities import word
from rfbproxy.spice.constants import CommonCap, MsgcMain, MsgMain

CAPS = Capabilities((word(CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SPICE, CommonCap.MINI_HEADER),))
DISPLAY_INIT = 101, struct.pack("<BQBI", 1, 1 << 20, 1, 1 << 20)  # cache and dictionary; a server waits 30 s for it
KEY_DOWN, KEY_UP = 101, 102
TIMEOUT_S = 20.0


class Channel:
    """One linked channel.

    Args:
        port: of the proxy on 127.0.0.1.
        session: which main began; 0 for main itself.

    Raises:
        SecurityFailure: it is refused, at the link or at the ticket.
        EndOfStream: it is closed before.
    """

    def __init__(self, port: int, token: str, kind: ChannelType = ChannelType.MAIN, session: int = 0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        try:
            self._connect(token)
            self._link(ClientLink(LinkMess(session, kind, 0, CAPS), Secret(token)))
        except BaseException:
            self.close()
            raise

    def _connect(self, token: str) -> None:
        self._socket.sendall(f"CONNECT {token}:5900 HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self._take(1)
        assert answer.split()[1] == b"200", answer

    def _link(self, link: ClientLink) -> None:
        while not link.finished:
            self._socket.sendall(link.data_to_send())
            if received := self._socket.recv(1):  # no more than is the link's
                link.receive_data(received)
            else:
                link.receive_eof()

    def _take(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            received = self._socket.recv(size - len(taken))
            assert received, f"closed after {len(taken)} of {size} bytes"
            taken += received
        return taken

    def send(self, kind: int, body: bytes = b"") -> None:
        self._socket.sendall(struct.pack("<HI", kind, len(body)) + body)

    def receive(self, wanted: int) -> bytes:
        """The body of the next message of this type; those before it are left out."""
        while True:
            kind, size = struct.unpack("<HI", self._take(6))
            body = self._take(size)
            if kind == wanted:
                return body

    def wait_closed(self, timeout_s: float) -> None:
        """Read until the proxy closes it; `TimeoutError` if it does not, and says nothing either."""
        self._socket.settimeout(timeout_s)
        try:
            while self._socket.recv(65536):
                pass
        except ConnectionResetError:
            pass

    def close(self) -> None:
        self._socket.close()


class Viewer:
    """A session: main is linked, others when they are asked for.

    Attributes:
        has_agent: whether it hears of an agent.
        listed: the channels that it hears of.
        channels: those that are linked.
    """

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token
        main = Channel(port, token)
        self.channels = {ChannelType.MAIN: main}
        self._session, _, _, _, agent, _, _, _ = struct.unpack("<8I", main.receive(MsgMain.INIT))
        self.has_agent = bool(agent)
        main.send(MsgcMain.ATTACH_CHANNELS)
        listed = main.receive(MsgMain.CHANNELS_LIST)  # a number, and pairs of type and id
        self.listed = {channel_name(kind) for kind in listed[4::2]}

    def link(self, kind: ChannelType) -> None:
        """One more channel of this session."""
        channel = self.channels[kind] = Channel(self._port, self._token, kind, self._session)
        if kind == ChannelType.DISPLAY:
            channel.send(*DISPLAY_INIT)

    def press(self, scan_code: int) -> None:
        """Press a key, and let it go."""
        inputs = self.channels[ChannelType.INPUTS]
        inputs.send(KEY_DOWN, struct.pack("<I", scan_code))
        inputs.send(KEY_UP, struct.pack("<I", scan_code | 0x80))

    def wait_closed(self, timeout_s: float) -> None:
        """Until every channel is closed."""
        for channel in self.channels.values():
            channel.wait_closed(timeout_s)

    def close(self) -> None:
        for channel in self.channels.values():
            channel.close()
