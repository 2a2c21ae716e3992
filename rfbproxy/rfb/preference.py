"""Which security an operator lets be used towards a target, in which order, and what a token's credentials satisfy."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from rfbproxy.errors import SecurityFailure
from rfbproxy.rfb.constants import SecurityType, VeNCryptSubtype
from rfbproxy.rfb.credentials import Credentials

TYPE_WORDS = {
    "vencrypt": SecurityType.VENCRYPT,
    "sasl": SecurityType.SASL,
    "vnc": SecurityType.VNC_AUTHENTICATION,
    "ard": SecurityType.APPLE_DH,
    "mslogon2": SecurityType.MSLOGON2,
    "none": SecurityType.NONE,
}
SUBTYPE_WORDS = {subtype.name.replace("_", "").lower(): subtype for subtype in VeNCryptSubtype}


@dataclass(frozen=True, slots=True)
class Preference:
    """Security that may be used, best first; the order in which a target offers it does not matter.

    Attributes:
        types: security types.
        subtypes: subtypes of VeNCrypt, for where that is one of the types.
    """

    types: tuple[SecurityType, ...]
    subtypes: tuple[VeNCryptSubtype, ...] = ()

    @classmethod
    def of_words(cls, types: Iterable[str], subtypes: Iterable[str]) -> "Preference":
        """The preference that two options say, in the words of `TYPE_WORDS` and `SUBTYPE_WORDS`."""
        return cls(
            tuple(dict.fromkeys(TYPE_WORDS[word.lower()] for word in types)),
            tuple(dict.fromkeys(SUBTYPE_WORDS[word.lower()] for word in subtypes)),
        )

    def only(self, word: str) -> "Preference":
        """What is left of it where nothing but `word` will do; nothing, if it was not allowed before.

        Raises:
            SecurityFailure: the word means nothing here.
        """
        if word in SUBTYPE_WORDS:
            wanted = SUBTYPE_WORDS[word]
            return replace(
                self.only("vencrypt"), subtypes=tuple(subtype for subtype in self.subtypes if subtype is wanted)
            )
        if word not in TYPE_WORDS:
            raise SecurityFailure(f"the token requires security {word[:80]!r}, which is unknown here")
        return replace(self, types=tuple(kind for kind in self.types if kind is TYPE_WORDS[word]))

    def without(self, unwanted: SecurityType) -> "Preference":
        """The same without one security type."""
        return replace(self, types=tuple(kind for kind in self.types if kind is not unwanted))

    def without_login(self, unwanted: SecurityType | None) -> "Preference":
        """The same without the subtypes of VeNCrypt that log in so; None is Plain."""
        return replace(self, subtypes=tuple(each for each in self.subtypes if each.inner is not unwanted))

    def usable_types(self, offered: Collection[int], credentials: Credentials) -> Iterable[SecurityType]:
        """Those of the types that are offered and that the credentials can satisfy, best first."""
        for kind in self.types:
            if kind not in offered:
                continue
            if kind is SecurityType.VENCRYPT:
                if any(satisfies(credentials, subtype.inner) for subtype in self.subtypes):
                    yield kind
            elif satisfies(credentials, kind):
                yield kind

    def usable_subtypes(self, offered: Collection[int], credentials: Credentials) -> Iterable[VeNCryptSubtype]:
        """The same of VeNCrypt's subtypes."""
        return (each for each in self.subtypes if each in offered and satisfies(credentials, each.inner))


def satisfies(credentials: Credentials, login: SecurityType | None) -> bool:
    """Whether the credentials hold what a login asks for; None is Plain."""
    if login is SecurityType.NONE:
        return True
    if login is SecurityType.VNC_AUTHENTICATION:
        return credentials.password is not None
    return credentials.password is not None and bool(credentials.username)
