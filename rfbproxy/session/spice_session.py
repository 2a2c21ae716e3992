"""A SPICE session: the links of one viewer, of which main comes first and the others belong to it.

The target makes a session's id up and tells it to main (MAIN_INIT); whoever names it may join, says spice-server. Here
it is bound to the token, to the client's address, and to the target that main was linked to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rfbproxy.consoleauth import ChannelRow, ConsoleToken, Location
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.spice_entrance import LinkRefusal
from rfbproxy.spice import USUAL_CHANNELS, ChannelType, LinkError, LinkMess, Policy, channel_name

LINKS_LIMIT = 64  # of one session at once; a viewer with everything has a dozen


class Link(Protocol):
    """What a session knows of its links."""

    def end(self, refused: Refused) -> None:
        """End it."""

    def relayed(self) -> tuple[int, int]:
        """Bytes so far, to the client and to the target."""

    def note(self) -> None:
        """Let main's process know of them, if they have changed."""


@dataclass(eq=False, slots=True)
class SpiceSession:
    """One viewer's session, or what a process knows of one whose main is in another.

    Attributes:
        id: of the visit of main.
        token: that began it.
        client: network that it belongs to.
        location: where the machine is.
        connection_id: the target's name for it; None: not told yet.
        is_elsewhere: whether main is in another process.
        secured: whether the target is known to want TLS.
        channels: names of the channels that were linked, in that order.
    """

    id: str
    token: ConsoleToken
    client: str
    location: Location
    connection_id: int | None = None
    is_elsewhere: bool = False
    secured: bool = False
    channels: list[str] = field(default_factory=list)
    _links: dict[Link, tuple[int, int]] = field(default_factory=dict)  # by channel type and id
    _relayed: tuple[int, int] = (0, 0)  # by links that have ended
    _elsewhere: tuple[int, int] = (0, 0)  # by links in other processes
    _ended: Refused | None = None

    @property
    def policy(self) -> Policy:
        """What may pass on its channels; a word that is no channel's name allows nothing."""
        words = self.token.grant.allow_channels or ()
        more = {ChannelType[word.upper()] for word in words if word.upper() in ChannelType.__members__}
        return Policy(channels=USUAL_CHANNELS | more)

    @property
    def links(self) -> Sequence[Link]:
        """Those that live here."""
        return list(self._links)

    def enter(self, link: Link, asked: LinkMess) -> None:
        """A link wants to be one of this session; `leave` must follow.

        Raises:
            Refused: policy or limit, or what the session ended for.
        """
        if self._ended is not None:
            raise self._ended
        name = channel_name(asked.channel_type)
        if not self.policy.allows(asked.channel_type):
            raise _not_available(CloseReason.POLICY, f"the token does not allow the channel {name}")
        channel = (asked.channel_type, asked.channel_id)
        if channel in self._links.values():
            raise _not_available(CloseReason.LIMIT, f"the session has a channel {name} {asked.channel_id} already")
        if len(self._links) >= LINKS_LIMIT:
            raise _not_available(CloseReason.LIMIT, f"{len(self._links)} links live, allowed are {LINKS_LIMIT}")
        self._links[link] = channel

    def linked(self, asked: LinkMess) -> str:
        """The target has let a link in; gives the channel's name."""
        name = channel_name(asked.channel_type) + (f":{asked.channel_id}" if asked.channel_id else "")
        if name not in self.channels:
            self.channels.append(name)
        return name

    def leave(self, link: Link) -> None:
        """A link has ended."""
        if self._links.pop(link, None) is not None:
            self._relayed = _sum([self._relayed, link.relayed()])

    def relayed(self) -> tuple[int, int]:
        """Bytes of all links here, to the client and to the target."""
        return _sum([self._relayed, *(link.relayed() for link in self._links)])

    def relayed_everywhere(self) -> tuple[int, int]:
        """Those of links in other processes too, as far as these have told of them."""
        return _sum([self.relayed(), self._elsewhere])

    def count_elsewhere(self, rows: Iterable[ChannelRow]) -> None:
        """Links in other processes have relayed so much."""
        self._elsewhere = _sum([(0, 0), *((row.bytes_to_client, row.bytes_to_target) for row in rows)])

    def end(self, refused: Refused) -> None:
        """End all links, and let no more in."""
        self._ended = self._ended or refused
        for link in list(self._links):
            link.end(refused)

    @property
    def certificate_name(self) -> str:
        """What the target's certificate must be for: what the token says, unless the machine has moved."""
        tls_name = self.token.grant.tls_name
        return tls_name if tls_name and self.location.host == self.token.host else self.location.host

    @property
    def must_be_secured(self) -> bool:
        """Whether nothing but TLS will do: the target wants it, or the token says whose certificate it must show."""
        grant = self.token.grant
        is_pinned = bool(self.location.tls_port and (grant.tls_name or self.location.host_subject))
        return self.secured or is_pinned


def location_of(token: ConsoleToken) -> Location:
    """Where a token says that its machine is."""
    return Location(token.host, token.port, token.tls_port, token.grant.host_subject)


def _not_available(reason: CloseReason, detail: str) -> LinkRefusal:
    return LinkRefusal(reason, LinkError.CHANNEL_NOT_AVAILABLE, detail)


def _sum(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    to_client, to_target = zip(*pairs, strict=True)
    return sum(to_client), sum(to_target)
