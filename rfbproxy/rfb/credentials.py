"""What a login consists of, and where its random bytes come from."""

from collections.abc import Callable
from dataclasses import dataclass

from rfbproxy.errors import SecurityFailure
from rfbproxy.secret import Secret

RandomBytes = Callable[[int], bytes]  # so many unpredictable bytes, as `os.urandom` gives them


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's name and password; each security type says which of them it needs."""

    username: str | None = None
    password: Secret | None = None

    def for_login(self, login: str, *, limit: int, name_limit: int | None = None) -> tuple[bytes, bytes]:
        """User name and password in UTF-8, for a login that needs both.

        Args:
            login: its name, for what is raised.
            limit: bytes that it carries of a password, and of a user name where `name_limit` does not differ.
            name_limit: bytes that it carries of a user name.

        Raises:
            SecurityFailure: one is missing, too long, or cannot be written in UTF-8 that ends at a NUL. An empty
                password is a password.
        """
        if not self.username:
            raise SecurityFailure(f"the token holds no user name, which {login} needs")
        if self.password is None:
            raise SecurityFailure(f"the token holds no password, which {login} needs")
        name = _encode(self.username, "user name", login, limit if name_limit is None else name_limit)
        return name, _encode(self.password.reveal(), "password", login, limit)


def _encode(text: str, what: str, login: str, limit: int) -> bytes:
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        encoded = None  # that error holds the text, so it may not become the context of another
    if encoded is None:
        raise SecurityFailure(f"the token's {what} holds half a surrogate pair, which UTF-8 cannot say")
    if b"\0" in encoded:
        raise SecurityFailure(f"the token's {what} contains a NUL, where {login} ends it")
    if len(encoded) > limit:
        raise SecurityFailure(f"the token's {what} is longer than the {limit} bytes that {login} carries")
    return encoded
