"""Why a visit ended: one closed list of words that log, metric, audit record, sentence and WebSocket close share."""

from enum import Enum

from rfbproxy.errors import ConsoleProxyError


class CloseReason(Enum):
    """The value is the word of the audit record; `sentence` is what a person reads.

    Sentences are fixed printable ASCII of at most 123 bytes (RFC 6455 section 5.5: a close frame's reason), so that the
    RFB failure, the WebSocket close and the page show the same bytes. They hold no address, id or time.
    """

    sentence: str
    websocket_code: int | None  # None: the client's own code is echoed

    CLIENT_CLOSED = ("client-closed", None, "The viewer closed the console.")
    TARGET_CLOSED = ("target-closed", 1000, "Target closed")
    TOKEN_UNKNOWN = ("token-unknown", 1008, "This console link is not valid. Please ask for a new one.")
    TOKEN_EXPIRED = ("token-expired", 1008, "This console link has expired. Please ask for a new one.")
    ORIGIN_REFUSED = ("origin-refused", 1008, "Origin header not valid.")
    TLS_REQUIRED = ("tls-required", 1008, "This console opens only over an encrypted connection (https).")
    POLICY = ("policy", 1008, "The rules of this console do not allow that.")
    LIMIT = ("limit", 1008, "Too many consoles are open. Please close one, or try again later.")
    TARGET_UNREACHABLE = (
        "target-unreachable",
        1011,
        "The machine's console cannot be reached. The machine may be off or moving: please try again.",
    )
    TARGET_AUTH_FAILED = (
        "target-auth-failed",
        1011,
        "The machine's console refused the proxy's login. Please tell your operator.",
    )
    PROTOCOL_ERROR = ("protocol-error", 1011, "The connection broke the console protocol and was ended.")
    IDLE = ("idle", 1008, "The console was idle for too long and was closed.")
    TIME_LIMIT = ("time-limit", 1008, "The time of this console is up. Please ask for a new one.")
    REVOKED = ("revoked", 1008, "The permission for this console was withdrawn.")
    SHUTDOWN = ("shutdown", 1001, "The console service is stopping. Please try again in a moment.")
    INTERNAL = ("internal", 1011, "The console service failed. Please tell your operator when it happened.")

    def __new__(cls, word: str, websocket_code: int | None, sentence: str) -> "CloseReason":
        """Build the member from its word, WebSocket close code and sentence."""
        member = object.__new__(cls)
        member._value_ = word
        member.websocket_code = websocket_code
        member.sentence = sentence
        return member


class Refused(ConsoleProxyError):
    """A visit ends for `reason`.

    Args:
        reason: the word of the closed list.
        detail: everything the operator should know, for the log alone.
        sentence: what the person reads, where the reason has more than one sentence (the three of `origin-refused`).
        websocket_code: the close code, where it depends on whose fault it was (`protocol-error` of a client is 1002).
    """

    def __init__(
        self,
        reason: CloseReason,
        detail: str,
        *,
        sentence: str | None = None,
        websocket_code: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.sentence = sentence or reason.sentence
        self.websocket_code = websocket_code or reason.websocket_code or 1000
