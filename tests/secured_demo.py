"""The demo desktop as a target that demands a login: `python -m tests.secured_demo TYPE [SUBTYPE] [options]`.

Prints its port and runs until it is stopped. TYPE and SUBTYPE are words of `auth_schemes` and `vencrypt_subtypes`.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from twisted.internet import reactor

from rfbproxy.client.tls import ServerTls
from rfbproxy.demo import DemoServer
from rfbproxy.demo.login import Login
from rfbproxy.rfb import Credentials, Offer, Version
from rfbproxy.rfb.preference import SUBTYPE_WORDS, TYPE_WORDS
from rfbproxy.rfb.sasl import MECHANISMS
from rfbproxy.secret import Secret

USERNAME, PASSWORD = "ada", "opensesame"


@contextmanager
def secured_demo(*arguments: str) -> Iterator[int]:
    """The port of such a target, which runs as a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", "tests.secured_demo", *arguments], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(10)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("types", help="separated by commas")
    parser.add_argument("subtypes", nargs="?", default="", help="separated by commas")
    parser.add_argument("--version", choices=[str(version) for version in Version], default="3.8")
    parser.add_argument("--mechanism", action="append", choices=MECHANISMS)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--client-ca", type=Path)
    parsed = parser.parse_args(arguments)
    subtypes = [word for word in parsed.subtypes.split(",") if word]
    offer = Offer(
        tuple(TYPE_WORDS[word] for word in parsed.types.split(",")),
        tuple(SUBTYPE_WORDS[word] for word in subtypes),
        tuple(parsed.mechanism or MECHANISMS),
        Credentials(USERNAME, Secret(PASSWORD)),
        os.urandom,
    )
    tls = ServerTls(parsed.certificate, None, client_ca_certs=parsed.client_ca) if parsed.certificate else None
    version = next(version for version in Version if str(version) == parsed.version)
    port = reactor.listenTCP(0, DemoServer(login=Login(offer, tls=tls, version=version)), interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
