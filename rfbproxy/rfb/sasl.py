"""SASL as RFB carries it (security type 20, and inside VeNCrypt; RFC 4422, QEMU ui/vnc-auth-sasl.c).

    server  u32 mechlist-length, mechlist                 names with commas between
    client  u32 mechname-length, mechname, data           the mechanism's first message
    server  data, u8 complete                             0: the client speaks again; 1: SecurityResult follows
    client  data  ... and so on

`data` is a u32 length and so many bytes. The last of them is a NUL that is counted and is not data; a length of 0 is no
data, which is something else than empty data. Both halves end before SecurityResult. No mechanism here brings a
security layer, so what follows is sent as ever.
"""

import hmac
from base64 import b64encode
from collections.abc import Callable, Sequence

from rfbproxy.errors import NothingInCommon, RemoteProtocolError, SecurityFailure
from rfbproxy.rfb.credentials import Credentials, RandomBytes
from rfbproxy.rfb.scram import TEXT_LIMIT, ScramClient, ScramServer
from rfbproxy.wire import EndOfStream, Reader, Reading

PLAIN = "PLAIN"
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-1", PLAIN)  # best first

MECHLIST_LIMIT = 300  # bytes; gtk-vnc and LibVNCClient take no more, so no server that works with them sends more
MECHNAME_LIMIT = 100  # bytes, as QEMU
DATA_LIMIT = 65536  # bytes; QEMU takes 1 MiB, these mechanisms need some hundred

_MORE, _COMPLETE = 0, 1
_NONCE_SIZE = 18  # random bytes, 24 characters of base64
_SALT_SIZE = 16

Send = Callable[[bytes], None]


def sasl_client(
    reader: Reader, send: Send, credentials: Credentials, *, encrypted: bool, random: RandomBytes
) -> Reading[str]:
    """Log in to a target, by the best mechanism that it offers; returns the mechanism's name.

    PLAIN shows the password to the target and to all in between, so it takes a connection that is `encrypted`.

    Raises:
        SecurityFailure: no mechanism in common, the credentials lack something, the target closes or refuses, or it
            does not prove (SCRAM) that it knows the password.
        RemoteProtocolError: the target breaks the protocol.
    """
    mechanism = _choose((yield from _read_mechlist(reader)), MECHANISMS if encrypted else MECHANISMS[:-1])
    try:
        if mechanism == PLAIN:
            yield from _say_plain(reader, send, credentials)
        else:
            nonce = b64encode(random(_NONCE_SIZE))
            yield from _prove(reader, send, mechanism, ScramClient(mechanism, credentials, nonce))
    except EndOfStream as error:
        raise SecurityFailure(f"target closed instead of answering the login by SASL {mechanism}") from error
    return mechanism


def _read_mechlist(reader: Reader) -> Reading[str]:
    length = yield from reader.u32()
    if not 1 <= length <= MECHLIST_LIMIT:
        raise RemoteProtocolError(
            f"target's SASL mechanism list is {length} bytes long, allowed are 1..{MECHLIST_LIMIT}"
        )
    return (yield from reader.take(length)).decode("latin-1")


def _choose(mechlist: str, allowed: Sequence[str]) -> str:
    offered = mechlist.split(",")
    for mechanism in allowed:
        if mechanism in offered:
            return mechanism
    clear = "" if PLAIN in allowed or PLAIN not in offered else "; PLAIN takes TLS"
    raise NothingInCommon(f"target offers SASL mechanisms {mechlist!a}, allowed are [{', '.join(allowed)}]{clear}")


def _say_plain(reader: Reader, send: Send, credentials: Credentials) -> Reading[None]:
    """RFC 4616: an empty authzid, the user's name and the password, with NULs between."""
    name, password = credentials.for_login(PLAIN, limit=TEXT_LIMIT)
    send(_mechname(PLAIN) + _data(b"\0" + name + b"\0" + password))
    if (yield from _read_step(reader)) != (None, _COMPLETE):
        raise RemoteProtocolError("target goes on after SASL PLAIN, which has one message (RFC 4616 section 2)")


def _prove(reader: Reader, send: Send, mechanism: str, scram: ScramClient) -> Reading[None]:
    send(_mechname(mechanism) + _data(scram.first()))
    challenge, complete = yield from _read_step(reader)
    if complete:
        raise SecurityFailure(f"target accepts {mechanism} before it has proved that it knows the password")
    send(_data(scram.answer(challenge or b"")))
    outcome, complete = yield from _read_step(reader)
    scram.check(outcome or b"")
    if complete:
        return
    # The outcome came as one more challenge: the answer to it is empty (RFC 4422 section 3.6).
    send(_data(None))
    if (yield from _read_step(reader)) != (None, _COMPLETE):
        raise RemoteProtocolError(f"target goes on after {mechanism} is over (RFC 5802 section 5)")


def _read_step(reader: Reader) -> Reading[tuple[bytes | None, int]]:
    """The server's data, and whether it is complete."""
    data = yield from _read_data(reader, "target")
    complete = yield from reader.u8()
    if complete not in (_MORE, _COMPLETE):
        raise RemoteProtocolError(f"target says {complete} for the end of SASL, allowed are 0 and 1")
    return data, complete


def sasl_server(
    reader: Reader, send: Send, credentials: Credentials, *, mechanisms: Sequence[str], random: RandomBytes
) -> Reading[str]:
    """Have a client log in by one of `mechanisms`, all of them of `MECHANISMS`; returns its name.

    Raises:
        SecurityFailure: a wrong user name or password. Nothing is sent then, as QEMU closes then.
        RemoteProtocolError: the client breaks the protocol.
    """
    mechlist = ",".join(mechanisms).encode("ascii")
    send(len(mechlist).to_bytes(4, "big") + mechlist)
    mechanism = yield from _read_mechname(reader, mechanisms)
    first = yield from _read_data(reader, "client")
    if first is None:  # a client may have itself asked for its first message (RFC 4422 section 3.3)
        send(_data(None) + bytes([_MORE]))
        first = yield from _read_data(reader, "client")
    if mechanism == PLAIN:
        _judge_plain(first or b"", credentials)
        send(_data(None) + bytes([_COMPLETE]))
    else:
        scram = ScramServer(mechanism, credentials, b64encode(random(_NONCE_SIZE)), random(_SALT_SIZE))
        send(_data(scram.challenge(first or b"")) + bytes([_MORE]))
        answer = yield from _read_data(reader, "client")
        send(_data(scram.verdict(answer or b"")) + bytes([_COMPLETE]))
    return mechanism


def _read_mechname(reader: Reader, offered: Sequence[str]) -> Reading[str]:
    length = yield from reader.u32()
    if not 1 <= length <= MECHNAME_LIMIT:
        raise RemoteProtocolError(f"client's SASL mechanism is {length} bytes long, allowed are 1..{MECHNAME_LIMIT}")
    mechanism = (yield from reader.take(length)).decode("latin-1")
    if mechanism not in offered:
        raise RemoteProtocolError(f"client chooses SASL mechanism {mechanism!a}, offered are [{', '.join(offered)}]")
    return mechanism


def _judge_plain(message: bytes, credentials: Credentials) -> None:
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise RemoteProtocolError(f"client's SASL PLAIN message has {len(parts)} parts, not 3 (RFC 4616 section 2)")
    identity, given_name, given_password = parts
    name, password = credentials.for_login(PLAIN, limit=TEXT_LIMIT)
    name_is_right = hmac.compare_digest(given_name, name) & (identity in (b"", given_name))
    if not hmac.compare_digest(given_password, password) & name_is_right:
        raise SecurityFailure("client gives a wrong user name or password")


def _mechname(mechanism: str) -> bytes:
    return len(mechanism).to_bytes(4, "big") + mechanism.encode("ascii")


def _data(data: bytes | None) -> bytes:
    if data is None:
        return bytes(4)
    return (len(data) + 1).to_bytes(4, "big") + data + b"\0"


def _read_data(reader: Reader, whose: str) -> Reading[bytes | None]:
    length = yield from reader.u32()
    if length > DATA_LIMIT:
        raise RemoteProtocolError(f"{whose}'s SASL data is {length} bytes long, allowed are {DATA_LIMIT}")
    if length == 0:
        return None
    data = yield from reader.take(length)
    if data[-1] != 0:
        raise RemoteProtocolError(f"{whose}'s SASL data does not end with a NUL (QEMU ui/vnc-auth-sasl.c)")
    return data[:-1]
