"""Where the messages of a channel begin and end, and which of them go on, changed or not (spice/protocol.h).

    SpiceMiniDataHeader   u16 type | u32 size of the body

Bodies pass through as they come. Held are a header, and of the few messages that somebody must look at as much as that
takes. What does not pass from a target is replaced by a message that says nothing: a client acknowledges messages by
their number (SET_ACK), and WAIT_FOR_CHANNELS names them by their number, so one more or less stalls a display.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from struct import Struct

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.spice.constants import Msg

TYPE_LIMIT = 1000  # types are less; those in use end below 400
HELD_LIMIT = 4096  # bytes of a body that may be held

_HEADER = Struct("<HI")
_NOTIFY = Struct("<QIIII")  # time, severity, visibility, what, length of the text


@dataclass(frozen=True, slots=True)
class Message:
    """A message, as far as its rule asks to see it."""

    kind: int
    size: int  # bytes of the body
    start: bytes = field(repr=False)  # of the body

    def pack(self) -> bytes:
        """What is known of the message, as it is sent."""
        return _HEADER.pack(self.kind, self.size) + self.start

    def with_start(self, start: bytes) -> "Message":
        """The same with another beginning of its body, which may have another length."""
        return replace(self, start=start, size=self.size - len(self.start) + len(start))


Judge = Callable[[Message], Message | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done with the messages of one type.

    Attributes:
        judge: is shown a message, gives what goes on in its place, and None where nothing does; raises
            `RemoteProtocolError` where the peer broke its protocol.
        held: bytes of the body that it is shown; of a shorter body, all.
        is_all: whether a longer body breaks the protocol.
    """

    judge: Judge
    held: int = 0
    is_all: bool = False


def message(kind: int, body: bytes = b"") -> bytes:
    """A message of our own."""
    return Message(kind, len(body), body).pack()


def _read_header(data: bytes, start: int) -> tuple[int, int]:
    kind, size = _HEADER.unpack_from(data, start)
    return kind, size


def dropped(_: Message) -> None:
    """A judge: nothing passes."""


SAYS_NOTHING = message(Msg.NOTIFY, _NOTIFY.pack(0, 0, 0, 0, 0))


class MessageEnds:
    """Where messages end in bytes that go on.

    spice-gtk asks its socket whether more has come, and not its TLS. Of a TLS record that holds the end of one message
    and the beginning of the next, it leaves the next one lying until another record comes, which may take long. So a
    record for it ends where a message ends, as spice-server's own do.
    """

    def __init__(self) -> None:
        self._header = b""  # as much as there is of one
        self._body_left = 0

    def cut(self, data: bytes) -> list[bytes]:
        """The same bytes in pieces: each ends with a message, but the last one may end before."""
        pieces = []
        start = done = 0
        while done < len(data):
            if not self._body_left:
                missing = _HEADER.size - len(self._header)
                self._header += data[done : done + missing]
                done = min(done + missing, len(data))
                if len(self._header) < _HEADER.size:
                    break
                _, self._body_left = _read_header(self._header, 0)
                self._header = b""
            gone = min(self._body_left, len(data) - done)
            self._body_left -= gone
            done += gone
            if not self._body_left:
                pieces.append(data[start:done])
                start = done
        if start < len(data):
            pieces.append(data[start:])
        return pieces


class MessageFilter:
    """Follow the messages that go one way on one channel.

    Args:
        who: sends them, for what is raised.
        limit: bytes of the longest body.
        rules: by message type; what has none passes unseen.
        in_place_of_dropped: what goes on instead of a message that does not.
    """

    def __init__(
        self, who: str, limit: int, rules: Mapping[int, Rule] | None = None, *, in_place_of_dropped: bytes = b""
    ) -> None:
        self._who = who
        self._limit = limit
        self._rules = {**(rules or {}), int(Msg.LIST): Rule(self._refuse_list)}
        self._in_place_of_dropped = in_place_of_dropped
        self._held = b""
        self._body_left = 0
        self._passes = True  # whether the message that the body belongs to goes on
        self._owed = bytearray()
        self._error: RemoteProtocolError | None = None

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes of the sender; returns those that go on.

        Raises:
            RemoteProtocolError: the sender broke its protocol, now or before; what it sent before that is in
                `data_to_send`.
        """
        if self._error is not None:
            raise self._error
        if self._held:
            data, self._held = self._held + data, b""
        done = self._pass_unseen(data, 0)
        if done == len(data):
            return data
        self._owed += data[:done]
        try:
            while size := self._pass_next(data, done):
                done += size
        except RemoteProtocolError as error:
            self._error = error
            raise
        self._held = data[done:]
        return self.data_to_send()

    def data_to_send(self) -> bytes:
        """Bytes owed to the other side after an error; each byte is handed out once."""
        data = bytes(self._owed)
        self._owed.clear()
        return data

    def _pass_next(self, data: bytes, start: int) -> int:
        """Deal with what lies from `start` on, and say how long it was; 0: it is not all there."""
        if unseen := self._pass_unseen(data, start):
            self._owed += data[start : start + unseen]
            return unseen
        if self._body_left:
            gone = min(self._body_left, len(data) - start)
            self._body_left -= gone
            return gone
        return self._pass_judged(data, start)

    def _pass_unseen(self, data: bytes, start: int) -> int:
        """How many bytes go on as they are: the rest of a body, and messages without a rule."""
        end = start
        if self._body_left:
            if not self._passes:
                return 0
            end += self._body_left
        while end + _HEADER.size <= len(data):
            kind, size = _read_header(data, end)
            if kind in self._rules or size > self._limit or not 0 < kind < TYPE_LIMIT:
                break
            end += _HEADER.size + size
        stop = min(end, len(data))
        self._body_left, self._passes = end - stop, True
        return stop - start

    def _pass_judged(self, data: bytes, start: int) -> int:
        """A message that a rule looks at, or that cannot be."""
        if start + _HEADER.size > len(data):
            return 0
        kind, size = _read_header(data, start)
        rule = self._find_rule(kind, size)
        shown = min(size, rule.held)
        body = start + _HEADER.size
        if body + shown > len(data):
            return 0
        passed = rule.judge(Message(kind, size, data[body : body + shown]))
        self._owed += self._in_place_of_dropped if passed is None else passed.pack()
        self._body_left, self._passes = size - shown, passed is not None
        return _HEADER.size + shown

    def _find_rule(self, kind: int, size: int) -> Rule:
        if not 0 < kind < TYPE_LIMIT:
            raise RemoteProtocolError(
                f"{self._who} sends a message of type {kind}, allowed are 1 to {TYPE_LIMIT - 1}: this is no mini header"
            )
        rule = self._rules.get(kind)
        limit = self._limit if rule is None or not rule.is_all else min(rule.held, self._limit)
        if size > limit or rule is None:
            raise RemoteProtocolError(
                f"{self._who} sends a message of type {kind} and {size} bytes, allowed are {limit}"
            )
        return rule

    def _refuse_list(self, _: Message) -> None:
        """It could hide messages from every rule, and nobody sends it behind mini headers."""
        raise RemoteProtocolError(f"{self._who} sends a list of messages, which is not allowed (SPICE_MSG_LIST)")
