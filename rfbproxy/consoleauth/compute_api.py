"""Tokens that nova's compute API is asked for, with the login in `[keystone_authtoken]`.

`GET /os-console-auth-tokens/{token}` (nova/api/openstack/compute/console_auth_tokens.py) answers valid tokens alone. It
needs the right that nova's policy `os_compute_api:os-console-auth-tokens` asks for, an administrator's by default.

The URL holds the token, and so do messages of keystoneauth and of what is below it: none of them is passed on.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from rfbproxy.consoleauth.foreign import ForeignStore
from rfbproxy.consoleauth.state import GRANT_KEPT_S
from rfbproxy.consoleauth.store import ConsoleTokens
from rfbproxy.consoleauth.token import ConsoleToken, hash_token, new_token
from rfbproxy.errors import ConfigError, StoreError, StoreUnlisted

ANSWER_TIMEOUT_S = 2.5  # for each of up to three requests: keystone's versions, its login, and nova's answer
MICROVERSION = "2.99"  # tells the TLS port of spice-direct consoles; 2025.1
OLD_MICROVERSION = "2.31"  # the first that tells of all types of consoles

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,255}")  # UUIDs, and whatever else stays one segment of a path

T = TypeVar("T")

for _name in ("keystoneauth", "keystoneauth.session", "keystoneauth.identity", "urllib3", "urllib3.connectionpool"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # their messages hold URLs


class ComputeApi(ForeignStore):
    """The tokens that nova knows.

    It tells neither when they expire, nor their access URL, nor their console type, except spice-direct.

    Args:
        url: `nova+https://HOST:PORT/v2.1`, or `nova+http`.
        state_url: see `ForeignStore`.
        login: options of `[keystone_authtoken]` by name; those that are unset are None.
        token_ttl: seconds that nova's tokens live at most; they count as valid for so long from the answer on.
        clock: Unix seconds.

    Raises:
        ConfigError: the URL or the login cannot be used, or keystoneauth1 is not installed.
    """

    whose = "its tokens are nova's, so ask nova"

    def __init__(
        self,
        url: str,
        state_url: str,
        login: Mapping[str, Any],
        token_ttl: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        base = _base(url)
        super().__init__(f"nova+{base}", state_url)
        self._base = base
        self._keystone = str(login.get("auth_url"))
        self._session = _session(login)
        self._ttl = token_ttl
        self._clock = clock
        self._microversion = MICROVERSION

    def ping(self) -> None:
        """Ask for a token that there is not: this takes the login, the right to ask, and an answer of nova's."""
        self._ask(new_token())

    def find(self, token: str) -> ConsoleToken | None:
        """The token, if nova holds it to be valid, with its grant; what cannot be one of nova's is not asked for."""
        if not _TOKEN.fullmatch(token):
            return None
        console = self._ask(token)
        if console is None:
            return None
        return ConsoleToken(
            token_hash=hash_token(token),
            console_type="spice-direct" if "tls_port" in console else None,
            host=self._value(console, "host", str),
            port=self._value(console, "port", int),
            tls_port=self._value(console, "tls_port", int, optional=True),
            internal_access_path=self._value(console, "internal_access_path", str, optional=True),
            instance_uuid=self._value(console, "instance_uuid", str, optional=True),
            expires=int(self._clock()) + max(self._ttl, 1),
            access_url_base=None,
            grant=self._state.grant(token),
        )

    def list(self, now: int) -> ConsoleTokens:
        """Refuse.

        Raises:
            StoreUnlisted: always.
        """
        raise StoreUnlisted(f"token store {self.name} cannot be listed: nova's compute API does not tell its tokens")

    def purge(self, now: int) -> int:
        """Delete what is dead of the sessions, and what is kept of tokens that must have expired by now (0)."""
        self._state.purge(now, lambda hashes: hashes, GRANT_KEPT_S + self._ttl)
        return 0

    def _ask(self, token: str) -> Mapping[str, Any] | None:
        """What nova says of a token; None: there is no such, or it has expired."""
        response = self._get(token)
        if response.status_code == 406 and self._microversion != OLD_MICROVERSION:  # until the next start
            self._microversion = OLD_MICROVERSION
            response = self._get(token)
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise self._failed(_STATUSES.get(response.status_code, f"it answered with status {response.status_code}"))
        try:
            console = response.json()["console"]
        except (ValueError, KeyError, TypeError):
            console = None
        if not isinstance(console, Mapping):
            raise self._failed("its answer is not that of os-console-auth-tokens")
        return console

    def _get(self, token: str) -> Any:
        self._attempt(f"keystone at {self._keystone}", self._session.get_auth_headers)
        return self._attempt(
            "the compute API",
            lambda: self._session.get(
                f"{self._base}/os-console-auth-tokens/{token}",
                headers={"Accept": "application/json"},
                microversion=self._microversion,
                microversion_service_type="compute",
                raise_exc=False,
                redirect=False,
                log=False,
            ),
        )

    def _attempt(self, who: str, request: Callable[[], T]) -> T:
        from keystoneauth1 import exceptions

        try:
            return request()
        except exceptions.ClientException as error:
            why = next((why for kind, why in _failures() if isinstance(error, kind)), f"fails ({type(error).__name__})")
        except (ValueError, OSError) as error:  # of requests, where it is given what it cannot use
            why = f"cannot be asked ({type(error).__name__})"
        # Outside of `except`, so that the error does not hang at this one: its text holds the token.
        raise self._failed(f"{who} {why}")

    def _value(self, console: Mapping[str, Any], name: str, kind: type, *, optional: bool = False) -> Any:
        value = console.get(name)
        if value is None and optional:
            return None
        right = isinstance(value, kind) and value != ""
        if not right or (isinstance(value, int) and (isinstance(value, bool) or not 0 <= value <= 65535)):
            raise self._failed(f"its answer has a {name} that is none")
        return value

    def _failed(self, why: str) -> StoreError:
        return StoreError(f"token store {self.name}: {why}")


_STATUSES = {
    401: "it refuses the login of [keystone_authtoken] (401)",
    403: "the user of [keystone_authtoken] may not ask for console tokens (403): it needs nova's policy "
    "os_compute_api:os-console-auth-tokens",
}


def _failures() -> tuple[tuple[type[Exception], str], ...]:
    """What keystoneauth raises, and what is said of it."""
    from keystoneauth1 import exceptions

    return (
        (exceptions.ConnectTimeout, f"did not answer within {ANSWER_TIMEOUT_S:g} s"),
        (exceptions.SSLError, "has a certificate that cannot be believed, or does not speak TLS"),
        (exceptions.ConnectionError, "cannot be reached"),
        (exceptions.Unauthorized, "refuses the login of [keystone_authtoken] (401)"),
        (
            exceptions.DiscoveryFailure,
            "tells no versions of its API: it is silent, or not at [keystone_authtoken] auth_url",
        ),
        (exceptions.HttpError, "answered with an error"),
    )


def _base(url: str) -> str:
    """The URL of the API."""
    base = url.removeprefix("nova+").rstrip("/")
    try:
        parts = urlsplit(base)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError("the token store's address is not nova+https://HOST:PORT/v2.1 (or nova+http)")
    return base


def _session(login: Mapping[str, Any]) -> Any:
    """A session with keystone; nothing is asked yet."""
    try:
        from keystoneauth1 import exceptions, loading, session
    except ImportError:
        raise ConfigError(
            "the compute API as token store needs keystoneauth1: pip install 'rfbproxy[openstack]'"
        ) from None
    loader = loading.get_plugin_loader(login["auth_type"])
    wanted = {option.dest for option in loader.get_options()}
    try:
        auth = loader.load_from_options(**{name: login[name] for name in sorted(wanted & login.keys()) if login[name]})
    except exceptions.MissingRequiredOptions as error:
        missing = ", ".join(sorted(option.dest for option in error.options))
        raise ConfigError(f"[keystone_authtoken] lacks {missing}") from None
    except exceptions.OptionError as error:
        raise ConfigError(f"[keystone_authtoken]: {error}") from None
    verify: bool | str = not login.get("insecure") and (login.get("cafile") or True)
    cert = login.get("certfile")
    return session.Session(
        auth=auth,
        verify=verify,
        cert=(cert, login["keyfile"]) if cert and login.get("keyfile") else cert,
        timeout=ANSWER_TIMEOUT_S,
    )
