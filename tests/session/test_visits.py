from rfbproxy.reasons import CloseReason, Refused
from tests.session.fakes import Bench, FakeStream, console_request, refusal

SHUTDOWN = Refused(CloseReason.SHUTDOWN, "the test ends")
V3_8 = b"RFB 003.008\n"


def another(bench, **request):
    client = FakeStream()
    bench.visits.open(console_request(**request), client)
    client.deliver(V3_8)
    return client


def test_visits_are_counted_while_they_live():
    bench = Bench()
    clients = [another(bench) for _ in range(3)]
    assert len(bench.visits) == 3
    for client in clients:
        client.deliver_lost()
    assert len(bench.visits) == 0
    assert [record.close_reason for record in bench.audit.records] == ["client-closed"] * 3
    assert len({record.session for record in bench.audit.records}) == 3


def test_the_limit_of_all():
    bench = Bench(max_visits=2)
    first, _ = another(bench), another(bench, source="203.0.113.1")
    third = another(bench, source="203.0.113.2")
    assert third.take() == V3_8 + refusal(CloseReason.LIMIT)
    assert third.farewell.reason is CloseReason.LIMIT
    first.deliver_lost()
    assert another(bench).said == [], "there is room again"


def test_the_limit_of_one_source():
    bench = Bench(max_visits_per_source=1)
    first = another(bench)
    assert another(bench).farewell.reason is CloseReason.LIMIT
    assert another(bench, source="203.0.113.1").said == []
    first.deliver_lost()
    assert another(bench).said == []
    assert bench.visits._sources == {"198.51.100.9": 1, "203.0.113.1": 1}


def test_no_token_is_looked_up_beyond_the_limit():
    bench = Bench(max_visits=1)
    another(bench)
    another(bench)
    assert len(bench.store.asked) == 1


def test_close_all_with_nobody_there():
    fired = []
    Bench().visits.close_all(SHUTDOWN).addCallback(fired.append)
    assert fired == [None]


def test_close_all_lets_nobody_in_any_more():
    bench = Bench()
    assert bench.visits.accepting
    bench.visits.close_all(SHUTDOWN)
    assert not bench.visits.accepting
    late = another(bench)
    assert late.take() == V3_8 + refusal(CloseReason.SHUTDOWN)
    assert late.farewell.websocket_code == 1001


def test_close_all_waits_for_the_last_and_may_be_called_twice():
    bench = Bench()
    bench.open()  # has not spoken yet
    another(bench)
    fired = []
    for _ in range(2):
        bench.visits.close_all(SHUTDOWN).addCallback(fired.append)
    assert (len(bench.visits), fired) == (1, [])
    bench.client.deliver(V3_8)
    assert fired == [None, None]


def test_abort_all_drops_those_who_take_their_time():
    bench = Bench()
    bench.open()
    bench.visits.close_all(SHUTDOWN)
    bench.visits.abort_all()
    assert bench.client.said[0] == "abort"
    assert bench.record.close_reason == "shutdown"
    assert not len(bench.visits)


def test_an_audit_that_fails_is_logged_and_nobody_stays(failures):
    bench = Bench()
    bench.audit.write = lambda record: 1 / 0
    another(bench).deliver_lost()
    assert not len(bench.visits)
    assert failures.pop()["log_failure"].check(ZeroDivisionError)
