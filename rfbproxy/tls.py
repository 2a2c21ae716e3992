"""What TLS towards clients and TLS towards targets share: versions, files, and contexts that follow their files."""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.logger import Logger
from twisted.python.failure import Failure

from rfbproxy.errors import ConfigError
from rfbproxy.file_stamp import stamp

# pyOpenSSL may carry an OpenSSL of its own, which knows nothing of the system's policy; Python's knows it.
_DEFAULT_VERSION = max(SSL.TLS1_2_VERSION, int(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).minimum_version))
VERSIONS = {
    "default": _DEFAULT_VERSION,
    "tlsv1_1": SSL.TLS1_1_VERSION,
    "tlsv1_2": SSL.TLS1_2_VERSION,
    "tlsv1_3": SSL.TLS1_3_VERSION,
}

_PARTIAL_WRITE = 1  # SSL_MODE_ENABLE_PARTIAL_WRITE of ssl.h, which pyOpenSSL sets

_log = Logger()


class FollowedContext:
    """A TLS context that is made again once a file that it is made of was replaced.

    Files that were replaced by something unusable change nothing: what was read last stays, and the log says so once.

    Args:
        what: the files, in a word for the log.
        files: whose changes are followed.
        make: makes the context; raises `ConfigError`, also the first time.
    """

    def __init__(self, what: str, files: Sequence[Path], make: Callable[[], SSL.Context]) -> None:
        self._what = what
        self._files = tuple(files)
        self._make = make
        self._seen = self._look()
        self._context = make()

    def current(self) -> SSL.Context:
        """The context, made of the files as they are now."""
        seen = self._look()
        if seen == self._seen:
            return self._context
        self._seen = seen  # before the files are read: what changes after this is seen the next time
        try:
            self._context = self._make()
        except ConfigError as error:
            _log.error("{what} was changed and cannot be used, the one before it stays: {error}", what=self._what,
                       error=error)  # fmt: skip
        else:
            _log.info("{what} was changed and is used from now on: {files}", what=self._what,
                      files=", ".join(map(str, dict.fromkeys(self._files))))  # fmt: skip
        return self._context

    def _look(self) -> tuple[object, ...]:
        """Something that differs once a file was replaced."""
        return tuple(stamp(file) for file in self._files)


def make_context(method: int) -> SSL.Context:
    """A context of one side, without what neither side should do.

    Its idle connections keep no buffers (32 KiB), and take all that they are given to send at once.
    """
    context = SSL.Context(method)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    if hasattr(context, "clear_mode"):  # which pyOpenSSL 24.3 has not
        context.clear_mode(_PARTIAL_WRITE)
    return context


def use_certificate(context: SSL.Context, cert: Path, key: Path, options: tuple[str, str]) -> None:
    """Show this certificate, with the chain that follows it in its file.

    Args:
        options: names of the options that name the two files.

    Raises:
        ConfigError: a file cannot be read, or the key is not the certificate's.
    """
    read_pem(options[0], cert)
    attempt(lambda: context.use_certificate_chain_file(str(cert)), f"{options[0]}: {cert} holds no usable certificate")
    try:  # OpenSSL would ask for the password of an encrypted one on the terminal
        private = load_pem_private_key(read_pem(options[1], key), None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{options[1]}: {key} holds no usable private key (an encrypted one cannot be used)"
        ) from error
    try:
        context.use_privatekey(cast(Any, private))  # of a kind without certificates: TypeError
    except (SSL.Error, TypeError) as error:
        raise ConfigError(f"{options[1]}: {key} is not the key of {cert}") from error


def trust(context: SSL.Context, cas: Path, option: str) -> None:
    """Believe the CAs of a file.

    Raises:
        ConfigError: it cannot be read, or holds none.
    """
    read_pem(option, cas)
    attempt(lambda: context.load_verify_locations(str(cas)), f"{option}: {cas} holds no usable certificate")


def tls_failure(reason: Failure) -> str | None:
    """Why TLS failed, for the log; None if it is not TLS that did."""
    return _why(reason.value) if isinstance(reason.value, SSL.Error) else None


def read_pem(option: str, file: Path) -> bytes:
    """The content of a file that an option names.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option}: {file} cannot be read: {error.strerror}") from error


def attempt(step: Callable[[], object], what: str) -> None:
    """Take a step of OpenSSL's.

    Raises:
        ConfigError: `what`, and why.
    """
    try:
        step()
    except SSL.Error as error:
        raise ConfigError(f"{what}: {_why(error)}") from error


def _why(error: BaseException | None) -> str:
    entries = error.args[0] if error is not None and error.args and isinstance(error.args[0], list) else []
    return next((entry[2] for entry in entries if entry[2]), "not PEM")
