"""`consoleproxy session …`, where there are none."""

import json

from tests.cli.commands import command


def test_no_sessions(store):
    assert json.loads(command(store, "session", "list", "--json").stdout) == {"sessions": []}
    assert command(store, "session", "list").stdout == "none\n"
    assert json.loads(command(store, "session", "end", "0123", "--json").stdout) == {"ended": 0}
