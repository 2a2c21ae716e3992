"""`consoleproxy graphics-xml`."""

import json

import pytest

from tests.cli.commands import command


@pytest.mark.parametrize("protocol", ["vnc", "spice"])
def test_graphics_xml(store, protocol):
    printed = command(store, "graphics-xml", protocol)
    assert printed.returncode == 0
    assert printed.stdout.startswith(f'<graphics type="{protocol}" ')
    assert json.loads(command(store, "graphics-xml", protocol, "--json").stdout) == {"xml": printed.stdout[:-1]}


@pytest.mark.parametrize("arguments", [(), ("rdp",)])
def test_graphics_xml_of_another_protocol_is_wrong_usage(store, arguments):
    assert command(store, "graphics-xml", *arguments).returncode == 2
