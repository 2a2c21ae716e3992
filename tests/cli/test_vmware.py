"""`consoleproxy vmware port`, and consoles with such a port."""

import json

import pytest

from tests.cli.commands import CREATE, command

VMWARE = ("vmware", "port", "--instance", "an-instance")


def test_a_console_of_a_vmware_host_has_a_port_chosen_for_its_machine(store):
    store.write_config("[vmware]\nvnc_port = 6900\nvnc_port_total = 1\n")
    create = ("create", "--type", "novnc", "--host", "192.0.2.7", "--vmware")
    for _ in range(2):
        store.console(*create, "--instance", "an-instance")
    assert [each["port"] for each in store.console("list")["consoles"]] == [6900, 6900]
    assert command(store, *VMWARE, "--host", "192.0.2.7").stdout == "port  6900\n"
    full = command(store, "console", *create, "--instance", "another")
    assert (full.returncode, full.stdout) == (1, "")
    assert full.stderr == (
        "consoleproxy: no VNC port is free on 192.0.2.7: all 1 from 6900 to 6900 are allocated "
        "([vmware] vnc_port, vnc_port_total)\n"
    )
    store.console("revoke", "--instance", "an-instance")
    assert command(store, *VMWARE, "--release", "--json").stdout == '{"released": 1}\n', "revoking keeps the port"
    assert json.loads(command(store, *VMWARE, "--host", "[::1]", "--json").stdout) == {"port": 6900}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("console", *CREATE, "--vmware"), 2),
        (("console", "create", "--type", "novnc", "--host", "h"), 2),
        (("console", "create", "--type", "novnc", "--host", "h", "--vmware"), 1),
        (("console", "create", "--type", "spice-html5", "--host", "h", "--vmware", "--instance", "i"), 1),
        (VMWARE, 2),
        ((*VMWARE, "--host", "h", "--release"), 2),
        ((*VMWARE, "--host", "a b"), 1),
        (("vmware", "port", "--instance", "x" * 37, "--release"), 1),
    ],
)
def test_what_vmware_ports_cannot_be_asked_for(store, arguments, status):
    result = command(store, *arguments)
    assert (result.returncode, result.stdout) == (status, "")
    assert status == 2 or len(result.stderr.splitlines()) == 1
