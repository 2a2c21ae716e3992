"""Everything this package raises on purpose.

    ConsoleProxyError
      ConfigError              an option, an argument or a file named in one cannot be used
      StoreError               a token store cannot do what it was asked
        StoreReadOnly          the tokens belong to somebody else (nova) and are only read
        StoreUnlisted          the tokens belong to somebody else, who does not tell which there are
        StoreBusy              it cannot answer without waiting
        TokenInUse             the token exists already
      ApiError                 the API of another machine refuses, or cannot be asked
      api.faults.Fault         a request to our own API is answered with an error
      ProtocolError
        RemoteProtocolError    the peer broke its protocol
          SecurityFailure      the peer refused a login, or none can be agreed on
            NothingInCommon    a security type is agreed on, but nothing inside it: another type may do
            spice.LinkRefused  a SPICE server answered with an error
              spice.NeedSecured  ... that asks for TLS
          spice.BadLink        a SPICE link message that is answered with an error
          websocket.WebSocketError  a client broke RFC 6455 and is told so
        LocalProtocolError     this program asked a protocol machine for something out of turn
      Refused                  a visit ends, for a reason of the closed list (`rfbproxy.reasons`)

A message says what came, what was allowed and where that is written; it never holds a secret. It is for the log: a peer
hears only the fixed sentence of the close reason.
"""


class ConsoleProxyError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(ConsoleProxyError):
    """An option, an argument, or a file named in one cannot be used; the message is one line for the operator."""


class StoreError(ConsoleProxyError):
    """A token store cannot do what it was asked: down, unreadable, or not a token store at all."""


class StoreReadOnly(StoreError):
    """The tokens of this store belong to somebody else (nova); this program only reads them."""


class StoreUnlisted(StoreError):
    """The tokens of this store belong to somebody else (nova), who answers for one token, but does not list them."""


class StoreBusy(StoreError):
    """The store cannot answer without waiting for something; asked where waiting harms nobody, it may."""


class TokenInUse(StoreError):
    """A token with this hash exists already."""


class ApiError(ConsoleProxyError):
    """The API of another machine refuses what it was asked, or cannot be asked."""


class ProtocolError(ConsoleProxyError):
    """A protocol was broken, by either side."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that its protocol does not allow, or more of it than the limit."""


class SecurityFailure(RemoteProtocolError):
    """No security type can be agreed on with the peer, or it refused the login."""


class NothingInCommon(SecurityFailure):
    """The peer offers a security type that may be used, but no variant of it that may be."""


class LocalProtocolError(ProtocolError):
    """A protocol machine was used out of turn: a bug of this program."""
