"""Every parser case runs whole, byte by byte, at random cuts, and with bytes after its end: the outcome is the same."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.rfb import TlsDue
from rfbproxy.wire import Conversation


@dataclass(frozen=True)
class Outcome:
    events: tuple[object, ...]
    sent: bytes
    unread: bytes
    error: tuple[type, str] | None
    finished: bool

    @property
    def told_apart(self) -> tuple[object, ...]:
        """All but an error's words, which may quote as much as has come."""
        return (self.events, self.sent, self.unread, self.error and self.error[0], self.finished)


def segmentations(data: bytes, seed: int = 1) -> Iterator[list[bytes]]:
    """The same bytes in different segments: one, one each, and three random ways."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    rng = random.Random(seed)
    for _ in range(3):
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 6)))
        bounds = [0, *cuts, len(data)]
        yield [data[a:b] for a, b in pairwise(bounds) if a != b]


def feed(
    machine: Conversation, segments: list[bytes], *, inside: list[bytes] | None = None, eof: bool = False
) -> Outcome:
    events = list(machine.events())
    sent = bytearray(machine.data_to_send())
    error = None
    try:
        for segment in segments:
            events += machine.receive_data(segment)
            sent += machine.data_to_send()
        if inside is not None:
            assert isinstance(events[-1], TlsDue), events
            machine.tls_started()
            for segment in inside:
                events += machine.receive_data(segment)
                sent += machine.data_to_send()
        if eof:
            events += machine.receive_eof()
    except RemoteProtocolError as raised:
        events += machine.events()
        error = (type(raised), str(raised))
    sent += machine.data_to_send()
    return Outcome(tuple(events), bytes(sent), machine.unread() if error is None else b"", error, machine.finished)


def halves(data: bytes, inside: bytes | None) -> Iterator[tuple[list[bytes], list[bytes] | None]]:
    """Segmentations of what comes in clear, each with one of what comes inside TLS."""
    if inside is None:
        return ((segments, None) for segments in segmentations(data))
    return zip(segmentations(data), segmentations(inside, seed=2), strict=True)


def run(
    make: Callable[[], Conversation],
    data: bytes,
    *,
    inside: bytes | None = None,
    eof: bool = False,
    trailing: bytes = b"",
) -> Outcome:
    """Run one case in every segmentation, check that all agree, and give their common outcome.

    With `inside`, TLS is due after `data`: the machine is told that it has begun, and those bytes come in it. With
    `trailing`, a machine that finishes must hand exactly those bytes on.
    """
    outcomes = [feed(make(), segments, inside=later, eof=eof) for segments, later in halves(data, inside)]
    assert all(outcome.told_apart == outcomes[0].told_apart for outcome in outcomes[1:]), outcomes
    if trailing and outcomes[0].error is None and outcomes[0].finished:
        whole = (data + trailing, None) if inside is None else (data, inside + trailing)
        for segments, later in halves(*whole):
            outcome = feed(make(), segments, inside=later)
            assert outcome.unread.endswith(trailing)
            assert outcome.events == outcomes[0].events
            assert outcome.sent == outcomes[0].sent
    return outcomes[0]
