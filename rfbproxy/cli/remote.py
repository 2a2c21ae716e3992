"""Commands for this machine's token store, which the API of another machine can carry out in its place."""

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from rfbproxy.cli.secrets import read_secret
from rfbproxy.config import Config
from rfbproxy.errors import ConfigError
from rfbproxy.importing import importing

if TYPE_CHECKING:
    from rfbproxy.consoles import Commands


def remote_options() -> argparse.ArgumentParser:
    """The options that say which API, for the parser of such a command."""
    remote = argparse.ArgumentParser(add_help=False)
    remote.add_argument("--api", metavar="URL", help="ask this API instead of the token store: http(s)://host:port")
    remote.add_argument("--api-token-file", metavar="F", help="its token; default: [consoleproxy] api_token_file")
    remote.add_argument("--api-ca-file", metavar="F", help="PEM file of the CAs to believe; default: the system's")
    remote.add_argument("--api-cert-file", metavar="F", help="PEM file with a certificate of ours and its key to show")
    return remote


@contextmanager
def consoles_of(parsed: argparse.Namespace, config: Config) -> Iterator["Commands"]:
    """The consoles and sessions of the store that the options name, or of the API that the command line names."""
    if parsed.api is not None:
        yield _api(parsed, config)
        return
    with importing():
        from rfbproxy.consoles import Consoles
        from rfbproxy.store_options import open_store

    with closing(open_store(config)) as store:
        yield Consoles(store, config)


def _api(parsed: argparse.Namespace, config: Config) -> "Commands":
    from rfbproxy.api_client import ApiClient

    file = parsed.api_token_file or config.path("consoleproxy", "api_token_file")
    if file is None:
        raise ConfigError("--api needs a token: --api-token-file, or [consoleproxy] api_token_file")
    return ApiClient(parsed.api, read_secret(str(file)), ca_certs=parsed.api_ca_file, cert=parsed.api_cert_file)
