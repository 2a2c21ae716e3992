import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.consoleauth.vmware_ports import VmwarePorts, port_range
from rfbproxy.errors import ConfigError, StoreError
from tests.consoleauth.stores import opened, rows
from tests.consoleauth.test_sql import novas  # noqa: F401 - a fixture

PORTS = port_range(5900, 3)
NODE1, NODE2 = "192.0.2.7", "node2.example"


@pytest.fixture
def ports(store):
    return VmwarePorts(store.own_database)


def test_the_lowest_free_port_of_the_host(ports):
    assert [ports.allocate(name, NODE1, PORTS) for name in "abc"] == [5900, 5901, 5902]
    assert ports.allocate("d", NODE2, PORTS) == 5900
    assert ports.release("b") == 1
    assert ports.allocate("e", NODE1, PORTS) == 5901


def test_an_instance_keeps_its_port_whatever_the_range_is_now(ports):
    ports.allocate("a", NODE1, PORTS)
    assert ports.allocate("b", NODE1, PORTS) == 5901
    ports.release("a")
    assert ports.allocate("b", NODE1, PORTS) == 5901
    assert ports.allocate("b", NODE1, port_range(6000, 1)) == 5901


def test_an_instance_that_moves_gives_back_its_port(ports, file):
    ports.allocate("x", NODE2, PORTS)
    ports.allocate("a", NODE1, PORTS)
    assert ports.allocate("a", NODE2, PORTS) == 5901
    assert ports.allocate("b", NODE1, PORTS) == 5900
    assert len(rows(file, "SELECT * FROM console_vmware_ports")) == 3


def test_the_case_of_a_name_does_not_matter(ports):
    assert ports.allocate("a", "Node2.Example", PORTS) == ports.allocate("a", NODE2, PORTS) == 5900
    assert ports.allocate("b", NODE2.upper(), PORTS) == 5901


@pytest.mark.parametrize(
    ("first", "count", "told"),
    [
        (5900, 3, "all 3 from 5900 to 5902 are allocated"),
        (5900, 1, "all 1 from 5900 to 5900 are allocated"),
        (5900, 0, "none may be given out"),
    ],
)
def test_a_range_that_is_exhausted(ports, first, count, told):
    for name in range(count):
        ports.allocate(str(name), NODE1, port_range(first, count))
    with pytest.raises(ConfigError) as raised:
        ports.allocate("one more", NODE1, port_range(first, count))
    assert str(raised.value) == f"no VNC port is free on {NODE1}: {told} ([vmware] vnc_port, vnc_port_total)"
    if count:
        assert ports.allocate("0", NODE1, port_range(first, count)) == first, "who has one keeps it"


def test_there_are_65535_ports():
    assert list(port_range(65534, 10000)) == [65534, 65535]


def test_who_has_none_gives_none_back(ports):
    assert ports.release("unknown") == 0


@pytest.mark.parametrize("same", [False, True], ids=["instances", "one instance"])
def test_of_two_programs_that_choose_alike_one_chooses_again(file, same):
    count = 8
    with contextlib.ExitStack() as stack:
        those = [VmwarePorts(stack.enter_context(opened(file)).own_database) for _ in range(count)]
        together = threading.Barrier(count)

        def allocate(index):
            together.wait()
            return those[index].allocate("one" if same else str(index), NODE1, port_range(5900, count))

        with ThreadPoolExecutor(count) as pool:
            given = sorted(pool.map(allocate, range(count)))
    assert given == ([5900] * count if same else list(range(5900, 5900 + count)))


def test_a_choice_that_another_program_made_first_is_made_again(file, ports, monkeypatch):
    """What was looked up is old when it is written."""
    with opened(file) as other:
        rival, tried = VmwarePorts(other.own_database), []

        class Meddling(VmwarePorts):
            def _allocate(self, instance_uuid, host, ports):
                tried.append(host)
                if len(tried) == 1:
                    rival.allocate("rival", host, ports)
                    stale = [port for port in ports if port == 5900]
                    monkeypatch.setattr("rfbproxy.consoleauth.vmware_ports.set", lambda found: [], raising=False)
                    try:
                        return super()._allocate(instance_uuid, host, stale)
                    finally:
                        monkeypatch.undo()
                return super()._allocate(instance_uuid, host, ports)

        assert Meddling(ports._database).allocate("a", NODE1, PORTS) == 5901
        assert len(tried) == 2


def test_beside_novas_tokens_they_are_in_the_state_database(novas, tmp_path):  # noqa: F811
    with opened(novas, tmp_path / "state.sqlite") as store:
        assert VmwarePorts(store.own_database).allocate("a", NODE1, PORTS) == 5900
    assert rows(tmp_path / "state.sqlite", "SELECT * FROM console_vmware_ports") == [("a", NODE1, 5900)]


def test_beside_novas_tokens_and_no_state_database_they_are_nowhere(novas):  # noqa: F811
    store = SqlStore(f"sqlite:///{novas}")
    store.open()
    with contextlib.closing(store), pytest.raises(StoreError, match="is nova's, and there is no state database"):
        _ = store.own_database
