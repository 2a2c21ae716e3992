"""Whose fault the end of a visit is, where somebody broke a protocol."""

from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.wire import EndOfStream


def client_fault(what: object) -> Refused:
    """The visit's end that a client is to blame for; `what` it did, or the error that it led to."""
    if isinstance(what, EndOfStream):
        return Refused(CloseReason.CLIENT_CLOSED, f"client {what} of the handshake")
    return Refused(CloseReason.PROTOCOL_ERROR, str(what), websocket_code=1002)


def target_fault(what: object) -> Refused:
    """The same of a target."""
    if isinstance(what, EndOfStream):
        return Refused(CloseReason.TARGET_UNREACHABLE, f"target {what} of its handshake")
    return Refused(CloseReason.PROTOCOL_ERROR, str(what))
