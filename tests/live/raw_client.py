"""A way in for tests alone: RFB over bare TCP, with the token preset, so that a viewer that is no browser can visit.

`python -m tests.live.raw_client HOST:PORT --audit FILE [--password-file FILE]` prints the port that it listens on.
"""

import argparse
import sys
from pathlib import Path
from time import time

from twisted.internet import reactor
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogBeginner, textFileLogObserver

from rfbproxy.address import parse_address
from rfbproxy.cli.secrets import read_secret
from rfbproxy.client.request import ConsoleRequest
from rfbproxy.config import Config
from rfbproxy.consoleauth import Grant
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.consoleauth.threaded import ThreadedStore
from rfbproxy.issue import EXPIRES_LIMIT, Console, issue
from rfbproxy.reasons import Refused
from rfbproxy.session.audit import AuditLog
from rfbproxy.session.visit import Surroundings, VisitRules
from rfbproxy.session.visits import Visits
from rfbproxy.stream import ClientStream
from rfbproxy.target.dial import Dialler
from rfbproxy.target.tls import TargetTls, TargetTlsRules
from rfbproxy.transport import StreamProtocol, TransportStream


class RawClientStream(TransportStream, ClientStream):
    """A client whose way in has no words for a close reason."""

    def close_because(self, refused: Refused) -> None:
        self.close()


class RawClientProtocol(StreamProtocol):
    """Opens a visit as soon as somebody connects."""

    def __init__(self, visits: Visits, token: str) -> None:
        self._client = RawClientStream(reactor)
        super().__init__(self._client)
        self._client.protocol = self
        self._visits = visits
        self._token = token

    def connectionMade(self) -> None:
        super().connectionMade()
        assert self.transport is not None
        source = self.transport.getPeer().host
        self._visits.open(ConsoleRequest(way_in="test", source=source, token=self._token), self._client)


class RawClientFactory(Factory):
    """The listener."""

    def __init__(self, visits: Visits, token: str) -> None:
        self._visits = visits
        self._token = token

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return RawClientProtocol(self._visits, self._token)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--audit", type=Path, required=True)
    parser.add_argument("--password-file")
    parsed = parser.parse_args()
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    target = parse_address(parsed.target, "target")
    password = read_secret(parsed.password_file) if parsed.password_file else None
    store = SqlStore("sqlite://")
    store.open()
    console = Console("novnc", target.host, target.port, grant=Grant(password=password))
    token = issue(store, console, base="http://127.0.0.1/", ttl=EXPIRES_LIMIT, now=int(time())).token.reveal()
    threaded = ThreadedStore(store, reactor)
    threaded.start()
    rules = VisitRules(security_preference=Config().security_preference)
    tls = TargetTls(TargetTlsRules())
    visits = Visits(Surroundings(rules, threaded, Dialler(reactor, 10), tls, reactor, time), AuditLog(parsed.audit))
    port = reactor.listenTCP(0, RawClientFactory(visits, token), interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.addSystemEventTrigger("before", "shutdown", threaded.stop)
    reactor.run()


if __name__ == "__main__":
    main()
