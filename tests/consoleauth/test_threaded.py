import queue
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from rfbproxy.consoleauth import threaded
from rfbproxy.consoleauth.spice_sessions import LIVE_S, ChannelRow, Location, SpiceClaim
from rfbproxy.consoleauth.sql import CLOCKS_S, SqlStore
from rfbproxy.consoleauth.threaded import ThreadedStore
from rfbproxy.consoleauth.token import Grant
from rfbproxy.errors import StoreBusy, StoreError, StoreReadOnly, StoreUnlisted, TokenInUse
from rfbproxy.secret import Secret
from tests.consoleauth.test_token import console_token


class QueueReactor:
    """As much of a reactor as the store asks for: the test is its thread."""

    def __init__(self):
        self.calls = queue.Queue()

    def callFromThread(self, function, *args):
        self.calls.put((function, args))

    def result(self, deferred):
        outcome = []
        deferred.addBoth(outcome.append)
        while not outcome:
            function, args = self.calls.get(timeout=5)
            function(*args)
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]


class GatedStore:
    """Answers only when the gate is open."""

    in_memory = False
    find_at_once = None

    def __init__(self):
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.found = []
        self.threads = set()

    def find(self, token):
        self.entered.release()
        self.gate.wait(5)
        self.found.append(token)
        self.threads.add(threading.current_thread())

    def ping(self):
        raise StoreError("down")

    def purge(self, now):
        return now


@pytest.fixture
def reactor():
    return QueueReactor()


@pytest.fixture
def gated():
    return GatedStore()


@pytest.fixture
def store(reactor, gated):
    store = ThreadedStore(gated, reactor, threads=2)
    store.start()
    yield store
    gated.gate.set()
    reactor.result(store.stop())


def test_it_answers_for_an_sql_store(reactor):
    inner = SqlStore("sqlite://")
    inner.open()
    token = console_token(grant=Grant(password=Secret("geheim")))
    inner.create("T", token, now=0)
    store = ThreadedStore(inner, reactor)
    store.start()
    assert reactor.result(store.ping()) is None
    assert reactor.result(store.find("T")) == token
    assert reactor.result(store.find("\ud800")) is None
    assert reactor.result(store.run(lambda: inner.find("T"))) == token
    assert reactor.result(store.purge(token.expires + CLOCKS_S)) == 1
    assert reactor.result(store.find("T")) is None
    reactor.result(store.stop())
    inner.close()


def test_it_answers_for_spice_sessions(reactor):
    inner = SqlStore("sqlite://")
    inner.open()
    store = ThreadedStore(inner, reactor)
    store.start()
    sessions, location = store.spice_sessions, Location("node2", 5900)
    claimed = SpiceClaim("T", "a", "192.0.2.7/32")
    assert reactor.result(sessions.claim("T", "a", "192.0.2.7/32", 0, take_over=False)) == claimed
    assert reactor.result(sessions.claim("T", "b", "192.0.2.8/32", 0, take_over=False)) is None
    reactor.result(sessions.begin("T", "a", 7, 0))
    assert reactor.result(sessions.find("T", 7, 0)) == replace(claimed, connection_id=7)
    reactor.result(sessions.keep({"a": "T"}, 10))
    assert reactor.result(sessions.living(["a", "b"], LIVE_S)) == {"a"}
    reactor.result(sessions.note_channel("a", "l", "display", 1, 2, 0))
    assert reactor.result(sessions.channels(["a"])) == {"a": [ChannelRow("display", 1, 2)]}
    assert reactor.result(sessions.take_channels("a")) == [ChannelRow("display", 1, 2)]
    reactor.result(sessions.move("T", "a", location, 100))
    assert reactor.result(sessions.claim("T", "b", "", 20, take_over=False)).moved_to == location
    reactor.result(sessions.end("T", "b"))
    assert reactor.result(sessions.living(["a", "b"], 20)) == frozenset()
    reactor.result(store.stop())
    inner.close()


def test_what_the_caller_changes_after_the_call_is_not_looked_at(reactor, store, gated):
    asked = []
    gated.spice_sessions = SimpleNamespace(
        keep=lambda sessions, now: asked.append(sessions), living=lambda sessions, now: asked.append(sessions)
    )
    blocking = [store.find("running"), store.find("running")]
    mine = {"a": "T"}
    calls = [store.spice_sessions.keep(mine, 0), store.spice_sessions.living(mine, 0)]
    mine.clear()
    gated.gate.set()
    for call in (*blocking, *calls):
        reactor.result(call)
    assert sorted(map(list, asked)) == [["a"], ["a"]]


def test_errors_arrive(reactor, store):
    with pytest.raises(StoreError, match="down"):
        reactor.result(store.ping())


def test_calls_run_on_other_threads_and_no_more_than_asked(reactor, store, gated):
    calls = [store.find(str(number)) for number in range(20)]
    gated.gate.set()
    for call in calls:
        reactor.result(call)
    assert threading.current_thread() not in gated.threads
    assert 1 <= len(gated.threads) <= 2


def test_a_memory_database_gets_one_thread(reactor):
    gated = GatedStore()
    gated.in_memory = True
    gated.gate.set()
    store = ThreadedStore(gated, reactor, threads=4)
    store.start()
    for call in [store.find(str(number)) for number in range(20)]:
        reactor.result(call)
    reactor.result(store.stop())
    assert len(gated.threads) == 1


def test_too_many_waiting_calls_fail_at_once(reactor, store, gated, monkeypatch):
    monkeypatch.setattr(threaded, "MAX_WAITING", 3)
    calls = [store.find(str(number)) for number in range(2 + 3)]
    with pytest.raises(StoreError, match="3 calls wait"):
        reactor.result(store.find("one too many"))
    gated.gate.set()
    for call in calls:
        reactor.result(call)
    assert "one too many" not in gated.found
    reactor.result(store.find("room again"))


def test_a_thousand_may_wait():
    assert threaded.MAX_WAITING == 1000


def test_a_caller_that_has_gone_costs_no_query(reactor, store, gated):
    running = [store.find("running"), store.find("running")]
    assert gated.entered.acquire(timeout=5)
    assert gated.entered.acquire(timeout=5)
    waiting = store.find("waiting")
    waiting.cancel()
    with pytest.raises(CancelledError):
        reactor.result(waiting)
    gated.gate.set()
    for call in running:
        reactor.result(call)
    reactor.result(store.find("last"))
    assert sorted(gated.found) == ["last", "running", "running"]


def test_before_the_start_and_after_the_stop_calls_fail(reactor, gated):
    store = ThreadedStore(gated, reactor)
    with pytest.raises(StoreError, match="stopped"):
        reactor.result(store.find("T"))
    reactor.result(store.stop())
    store.start()
    reactor.result(store.stop())
    with pytest.raises(StoreError, match="stopped"):
        reactor.result(store.find("T"))
    reactor.result(store.stop())


def test_stop_waits_for_the_running_and_fails_the_waiting(reactor, gated):
    store = ThreadedStore(gated, reactor, threads=1)
    store.start()
    running, waiting = store.find("running"), store.find("waiting")
    assert gated.entered.acquire(timeout=5)
    stopped = store.stop()
    assert not stopped.called
    gated.gate.set()
    with pytest.raises(StoreError, match="stopped"):
        reactor.result(waiting)
    assert reactor.result(running) is None
    reactor.result(stopped)
    assert gated.found == ["running"]


@pytest.mark.parametrize("already", [0, 1])
def test_where_no_thread_can_be_started_those_that_run_do_all_or_calls_fail(reactor, gated, monkeypatch, already):
    store = ThreadedStore(gated, reactor, threads=2)
    store.start()
    gated.gate.set()
    answers = [store.find("first") for _ in range(already)]

    def cannot(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", cannot)
        answers.append(store.find("second"))
    if already:
        assert len([reactor.result(answer) for answer in answers]) == 2
    else:
        with pytest.raises(StoreError, match="no thread for the token store"):
            reactor.result(answers[0])
    assert store.stop().called


def test_calls_are_timed_and_failures_of_the_store_told_apart(reactor):
    class Refusing:
        in_memory = False
        find_at_once = None

        def find(self, token):
            raise {
                "down": StoreError,
                "nova's": StoreReadOnly,
                "many": StoreUnlisted,
                "there": TokenInUse,
                "bug": KeyError,
            }[token]("x")

        def ping(self):
            return None

    told = []
    store = ThreadedStore(Refusing(), reactor, called=lambda seconds, failed: told.append((seconds, failed)))
    store.start()
    reactor.result(store.ping())
    for token in ("down", "nova's", "many", "there", "bug"):
        with pytest.raises((StoreError, KeyError)):
            reactor.result(store.find(token))
    store.stop()
    assert [failed for _, failed in told] == [False, True, False, False, False, False]
    assert all(0 <= seconds < 5 for seconds, _ in told)


class AtOnce:
    """A store that answers at once, unless it is told not to."""

    in_memory = False

    def __init__(self):
        self.threads = []
        self.error = None
        self.takes_s = 0.0
        self.now = 100.0

    def find(self, token):
        self.threads.append(threading.current_thread())
        return f"{token} later"

    def find_at_once(self, token):
        self.now += self.takes_s
        if self.error is not None:
            raise self.error
        return token


@pytest.fixture
def at_once(monkeypatch):
    store = AtOnce()
    monkeypatch.setattr(threaded, "monotonic", lambda: store.now)
    return store


@pytest.fixture
def told():
    return []


@pytest.fixture
def quick(reactor, at_once, told):
    quick = ThreadedStore(at_once, reactor, called=lambda seconds, failed: told.append((round(seconds, 3), failed)))
    quick.start()
    yield quick
    reactor.result(quick.stop())


def test_what_a_store_can_say_at_once_is_asked_of_no_thread(reactor, at_once, quick, told):
    at_once.takes_s = 0.001
    finding = quick.find("T")
    assert finding.called
    assert reactor.result(finding) == "T"
    assert (at_once.threads, told) == ([], [(0.001, False)])


def test_what_it_would_have_to_wait_for_is_asked_of_a_thread(reactor, at_once, quick, told):
    at_once.error = StoreBusy("locked")
    assert reactor.result(quick.find("T")) == "T later"
    assert threading.current_thread() not in at_once.threads
    assert told == [(0.0, False)], "once"


def test_an_error_at_once_is_the_answer(reactor, at_once, quick, told):
    at_once.error = StoreError("damaged")
    with pytest.raises(StoreError, match="damaged"):
        reactor.result(quick.find("T"))
    assert (at_once.threads, told) == ([], [(0.0, True)])


def test_after_a_slow_answer_threads_are_asked_for_some_seconds(reactor, at_once, quick):
    at_once.takes_s = threaded.SLOW_S + 0.001
    assert reactor.result(quick.find("T")) == "T"
    at_once.now += threaded.REST_S - 0.1
    assert reactor.result(quick.find("T")) == "T later"
    at_once.now += 0.1
    at_once.takes_s = 0.0
    assert [reactor.result(quick.find("T")) for _ in range(2)] == ["T", "T"]


def test_a_slow_way_to_saying_no_counts_too(reactor, at_once, quick):
    at_once.takes_s, at_once.error = threaded.SLOW_S + 0.001, StoreBusy("a disk that does not answer")
    assert reactor.result(quick.find("T")) == "T later"
    at_once.error = None
    assert reactor.result(quick.find("T")) == "T later"


def test_a_store_that_is_stopped_says_nothing_at_once(reactor, at_once):
    quick = ThreadedStore(at_once, reactor)
    with pytest.raises(StoreError, match="stopped"):
        reactor.result(quick.find("T"))


def test_a_file_is_read_on_the_spot(reactor, tmp_path):
    inner = SqlStore(f"sqlite:///{tmp_path}/tokens.sqlite")
    inner.open()
    inner.create("T", console_token(), now=0)
    quick = ThreadedStore(inner, reactor)
    quick.start()
    finding = quick.find("T")
    assert finding.called
    assert reactor.result(finding) == console_token()
    reactor.result(quick.stop())
    inner.close()
