"""What the API answers where it cannot do what it was asked, in nova's bodies (nova/api/openstack/wsgi.py, `Fault`)."""

from collections.abc import Mapping
from typing import Any

from rfbproxy.errors import ConfigError, ConsoleProxyError, StoreError, StoreReadOnly, StoreUnlisted

NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    501: "notImplemented",
    503: "serviceUnavailable",
}
OTHER = "computeFault"  # nova's name for every other status

NOT_FOUND = "The resource could not be found."
INTERNAL = "Unexpected API Error."


class Fault(ConsoleProxyError):
    """A request is answered with an error; the message is for the one who asked, and repeats nothing of his body."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The body as JSON has it."""
        return {NAMES.get(self.status, OTHER): {"code": self.status, "message": self.message}}


def fault_of(error: ConsoleProxyError) -> Fault:
    """What an error of the rest of this program means to whoever asked; a store's own words are for the log alone."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, StoreReadOnly):
        return Fault(403, "The tokens of this store are nova's, which are only read here.")
    if isinstance(error, StoreUnlisted):
        return Fault(501, "The tokens of this store are nova's, which does not tell which there are.")
    if isinstance(error, StoreError):
        return Fault(503, "The token store fails.")
    if isinstance(error, ConfigError):
        return Fault(400, str(error))
    return Fault(500, INTERNAL)
