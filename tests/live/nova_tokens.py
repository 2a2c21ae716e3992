"""Nova's own code on a database, for Debian's python3: `nova_tokens.py nova.conf`.

Each line of input is a JSON list, a command and its arguments; each line of output is what came of it, as JSON.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from nova import config, context, exception, objects
from nova.console.websocketproxy import NovaProxyRequestHandler
from nova.db import migration

ADMIN = context.get_admin_context()
ADMIN.project_id = ADMIN.user_id = "console-tests"


class RequestHandler(NovaProxyRequestHandler):
    """Nova's proxy without its HTTP, and without nova-compute, which it would ask for the port."""

    def __init__(self) -> None: ...

    def _check_console_port(self, *_: object) -> bool:
        return True


def sync() -> None:
    """Make the tables of a cell, as `nova-manage db sync --local_cell` does."""
    migration.db_sync(database="main")


def authorize(ttl: int, fields: dict[str, Any]) -> dict[str, str]:
    """Give out a console of a new machine."""
    instance = objects.Instance(ADMIN, project_id=ADMIN.project_id, user_id=ADMIN.user_id)
    instance.create()
    console = objects.ConsoleAuthToken(ADMIN, instance_uuid=instance.uuid, **fields)
    return {"token": console.authorize(ttl), "instance": instance.uuid, "url": console.access_url}


def validate(token: str) -> dict[str, Any] | None:
    """What nova's proxy gets to know of a token; None where it is not valid."""
    try:
        console = RequestHandler()._get_connect_info(ADMIN, token)
    except exception.InvalidToken:
        return None
    known = ("console_type", "host", "port", "internal_access_path", "instance_uuid", "access_url_base", "access_url")
    return {name: getattr(console, name) for name in known}


def clean_instance(instance: str) -> None:
    objects.ConsoleAuthToken.clean_console_auths_for_instance(ADMIN, instance)


def clean_expired() -> None:
    objects.ConsoleAuthToken.clean_expired_console_auths(ADMIN)


COMMANDS: dict[str, Callable[..., object]] = {
    command.__name__: command for command in (sync, authorize, validate, clean_instance, clean_expired)
}


def main() -> None:
    config.parse_args(["nova", "--config-file", sys.argv[1]])
    objects.register_all()
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        print(json.dumps(COMMANDS[command](*arguments)), flush=True)


if __name__ == "__main__":
    main()
