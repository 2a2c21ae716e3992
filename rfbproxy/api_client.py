"""A client of the API: what the command does on another machine."""

import json
import ssl
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from rfbproxy.api.bodies import target_of
from rfbproxy.consoles import Json
from rfbproxy.errors import ApiError, ConfigError
from rfbproxy.issue import Console
from rfbproxy.secret import Secret

TIMEOUT_S = 30.0
_ANSWER_LIMIT = 64 * 1024 * 1024  # bytes

T = TypeVar("T")


class ApiClient:
    """The consoles of another machine's proxy, as `rfbproxy.consoles.Commands`; each call is one request.

    All calls raise `ApiError`: the API refuses, in its own words, or cannot be asked.

    Args:
        url: `http://host:port` or `https://host:port`, perhaps with a prefix of the path.
        token: the bearer token.
        ca_certs: PEM file of the CAs to believe; None: the system's.
        cert: PEM file with a certificate and its key, where the API asks for one.

    Raises:
        ConfigError: one of them cannot be used.
    """

    def __init__(
        self, url: str, token: Secret, *, ca_certs: str | Path | None = None, cert: str | Path | None = None
    ) -> None:
        try:
            self._parts = urlsplit(url)
            self._host, self._port = self._parts.hostname, self._parts.port
        except ValueError:
            self._host = None
        if self._host is None or self._parts.scheme not in ("http", "https") or self._parts.username is not None:
            raise ConfigError("the API's address is not a URL; http://host:port or https://host:port is")
        if not token.reveal().isascii() or not token.reveal().isprintable():
            raise ConfigError("the API's token has other characters than printable ASCII")
        self._token = token
        self._tls = _tls(ca_certs, cert) if self._parts.scheme == "https" else None

    def create(self, console: Console, ttl: int | None = None) -> Json:
        """Issue a token."""
        body = {"type": console.console_type, "target": target_of(console, ttl)}
        if console.instance is not None:
            body["instance"] = console.instance
        return self._ask("POST", "/v1/consoles", body)

    def list(self) -> Json:
        """The consoles that can be opened now."""
        return self._ask("GET", "/v1/consoles")

    def revoke(self, *, token: str | None = None, instance: str | None = None, id: str | None = None) -> Json:  # noqa: A002
        """Withdraw the tokens of exactly one selector."""
        return self._ask("POST", "/v1/consoles/revoke", _said(token=token, instance=instance, id=id))

    def move(self, instance: str, host: str, port: int | None = None, tls_port: int | None = None) -> Json:
        """Point the tokens of an instance at another host."""
        return self._ask("POST", "/v1/consoles/move", _said(instance=instance, host=host, port=port, tls_port=tls_port))

    def sessions(self) -> Json:
        """The sessions that live now."""
        return self._ask("GET", "/v1/sessions")

    def end_session(self, id: str) -> Json:  # noqa: A002
        """Let a session end."""
        return self._ask("DELETE", f"/v1/sessions/{quote(id, safe='')}")

    def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        headers = {"Authorization": f"Bearer {self._token.reveal()}", "Accept": "application/json"}
        content = None
        if body is not None:
            content = json.dumps(body).encode("ascii")
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(method, self._parts.path.rstrip("/") + path, content, headers)
            response = connection.getresponse()
            answer = response.read(_ANSWER_LIMIT)
        except (OSError, HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ApiError(f"the API at {self._where} cannot be asked: {why}") from error
        finally:
            connection.close()
        return self._read(response.status, answer)

    def _connection(self) -> HTTPConnection:
        host = self._host or ""
        if self._tls is None:
            return HTTPConnection(host, self._port, timeout=TIMEOUT_S)
        return HTTPSConnection(host, self._port, timeout=TIMEOUT_S, context=self._tls)

    def _read(self, status: int, answer: bytes) -> Json:
        try:
            said: Any = json.loads(answer)
        except ValueError:
            said = None
        if status == 200 and isinstance(said, dict):
            return said
        fault = next(iter(said.values()), None) if isinstance(said, dict) else None
        message = fault.get("message") if isinstance(fault, dict) else None
        why = " ".join(str(message).split()) if message else "that is not an answer of this API"
        raise ApiError(f"the API at {self._where} answers {status}: {why}")

    @property
    def _where(self) -> str:
        return f"{self._parts.scheme}://{self._parts.netloc}"


def _said(**values: object) -> Json:
    return {name: value for name, value in values.items() if value is not None}


def _tls(ca_certs: str | Path | None, cert: str | Path | None) -> ssl.SSLContext:
    context = _of_file(ca_certs, "certificate", lambda: ssl.create_default_context(cafile=ca_certs))
    if cert is not None:
        _of_file(cert, "certificate with its key", lambda: context.load_cert_chain(cert, password=_no_password))
    return context


def _of_file(file: str | Path | None, what: str, use: Callable[[], T]) -> T:
    try:
        return use()
    except ssl.SSLError as error:
        raise ConfigError(f"{file} holds no usable {what}") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error


def _no_password() -> str:
    """Of an encrypted key; without this OpenSSL would ask the terminal."""
    return ""
