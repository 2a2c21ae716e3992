"""The supervisor on a clock, with workers that a test lets serve and go."""

import pytest
from twisted.internet.task import Clock

from rfbproxy.config import Config
from rfbproxy.consoleauth import worker_of
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.service import service_name
from rfbproxy.workers import supervisor as module
from rfbproxy.workers.slot import FIRST_DELAY_S
from rfbproxy.workers.supervisor import GRACE_S, Supervisor
from tests.workers.fakes import FakeWorker

DRAIN_S = 2.0


class FakeStore:
    """Stands for the store behind its threads."""

    def __init__(self, *_):
        self.forgotten, self.is_stopped = [], False
        self.sessions = self.spice_sessions = self
        self.ended = []

    def start(self):
        pass

    async def stop(self):
        self.is_stopped = True

    async def forget(self, proxy, _now):
        self.forgotten.append(proxy)
        return {"session": "hash"}

    async def end(self, token_hash, session):
        self.ended.append((token_hash, session))


class Bench:
    """A supervisor of two workers, without sockets."""

    def __init__(self, folder, monkeypatch, spares=()):
        self.folder = folder
        self.clock = Clock()
        self.clock.callWhenRunning = lambda call, *arguments: call(*arguments)
        self.store = FakeStore()
        self.systemd = []
        monkeypatch.setattr(module, "ThreadedStore", lambda *_: self.store)
        monkeypatch.setattr(module, "notify", self.systemd.append)
        self.write("")
        memory = SqlStore("sqlite://")
        memory.open()
        self.workers = []
        config = Config([str(self.folder / "nova.conf")])
        self.supervisor = Supervisor(config, memory, self.clock, [], [], 2, {"file": None}, spares, self._start)
        self.supervisor.startService()

    def write(self, options):
        text = f"[DEFAULT]\nstate_path = {self.folder}\n[consoleproxy]\ndrain_timeout_s = {DRAIN_S}\n{options}"
        (self.folder / "nova.conf").write_text(text)

    def _start(self, *arguments):
        self.workers.append(FakeWorker(*arguments))
        return self.workers[-1]

    def serve(self):
        """Let all that were started serve."""
        for worker in self.workers:
            worker.serve()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


def test_it_is_ready_once_all_serve_and_says_so_once(bench):
    first, second = bench.workers
    assert (first.number, second.number) == (1, 2)
    first.serve()
    assert bench.systemd == []
    second.serve()
    assert bench.systemd == ["READY=1"]
    first.go("by SIGKILL")
    bench.clock.advance(FIRST_DELAY_S)
    bench.workers[-1].serve()
    assert bench.systemd == ["READY=1"]


def test_workers_that_wait_already_come_first(tmp_path, monkeypatch):
    spares = [FakeWorker(), FakeWorker()]
    bench = Bench(tmp_path, monkeypatch, spares)
    assert bench.workers == []
    assert sorted(spare.number for spare in spares) == [1, 2]
    for spare in spares:
        spare.serve()
    assert bench.systemd == ["READY=1"]
    spares[0].go("by SIGKILL")
    bench.clock.advance(FIRST_DELAY_S)
    assert [worker.number for worker in bench.workers] == [spares[0].number]


def test_what_a_dead_worker_had_is_given_back(bench):
    first, second = bench.workers
    bench.serve()
    first.go("by SIGKILL")
    assert bench.store.forgotten == [worker_of(service_name(), first.pid)]
    assert bench.store.ended == [("hash", "session")]
    second.go("with status 0")
    assert len(bench.store.forgotten) == 1, "it has told the store itself"


def test_all_are_replaced_one_after_the_other(bench):
    first, second = bench.workers
    bench.serve()
    bench.write("max_sessions = 5\n")
    bench.supervisor.reload()
    assert ("reopen", {}) in first.link.told
    assert len(bench.workers) == 3
    assert bench.workers[2].begun["options"] != first.begun["options"]
    bench.workers[2].serve()
    assert first.done == ["retire"]
    assert second.done == []
    assert len(bench.workers) == 4
    assert bench.systemd == ["READY=1", "RELOADING=1"]
    bench.workers[3].serve()
    assert second.done == ["retire"]
    assert bench.systemd == ["READY=1", "RELOADING=1", "READY=1"]
    assert len(bench.workers) == 4


def test_options_that_change_while_workers_are_replaced_come_to_all(bench):
    bench.serve()
    for most in (5, 6):
        bench.write(f"max_sessions = {most}\n")
        bench.supervisor.reload()
    while (last := bench.workers[-1]).done == [] and len(bench.workers) < 10:
        last.serve()
        if bench.workers[-1] is last:
            break
    serving = [worker for worker in bench.workers if not worker.done]
    assert [worker.options for worker in serving] == [3, 3]
    assert bench.systemd.count("READY=1") == 2


def test_options_that_cannot_be_used_replace_nobody(bench):
    bench.serve()
    bench.write("handshake_timeout_s = soon\n")
    bench.supervisor.reload()
    assert len(bench.workers) == 2
    assert bench.systemd == ["READY=1", "RELOADING=1", "READY=1"]


def test_options_that_need_a_restart_are_kept_from_workers(bench):
    bench.serve()
    bench.write("workers = 3\n[vnc]\nnovncproxy_port = 1\n")
    bench.supervisor.reload()
    told = {tuple(option[:2]): option[2] for option in bench.workers[2].begun["options"]["options"]}
    assert told["vnc", "novncproxy_port"] == 6080
    assert told["consoleproxy", "workers"] is None


def test_at_the_end_all_drain_and_those_that_do_not_go_are_killed(bench):
    first, second = bench.workers
    bench.serve()
    stopped = bench.supervisor.stopService()
    assert bench.systemd[-1] == "STOPPING=1"
    assert first.done == second.done == ["drain"]
    first.go()
    bench.clock.advance(DRAIN_S + GRACE_S)
    assert second.done == ["drain", "kill"]
    assert not stopped.called
    second.go("by SIGKILL")
    assert stopped.called
    assert bench.store.is_stopped
    bench.clock.advance(100)
    assert len(bench.workers) == 2, "nobody comes after them"


def test_the_end_comes_in_the_middle_of_a_replacement_too(bench):
    bench.serve()
    bench.supervisor.reload()
    stopped = bench.supervisor.stopService()
    assert len(bench.workers) == 3
    for worker in bench.workers:
        worker.go()
    assert stopped.called
    bench.supervisor.reload()
    assert len(bench.workers) == 3
    assert bench.supervisor.stopService().called
