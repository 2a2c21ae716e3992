from rfbproxy.metrics import Figures
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.visits import Visits
from tests.session.fakes import Bench, FakeStream, console_request, console_token, refusal

SHUTDOWN = Refused(CloseReason.SHUTDOWN, "the test ends")
V3_8 = b"RFB 003.008\n"


def another(bench, **request):
    client = FakeStream()
    bench.visits.open(console_request(**request), client)
    client.deliver(V3_8)
    return client


def entered(bench, **request):
    """One whose token was good, and whose target is being reached."""
    client = another(bench, **request)
    bench.authorise()
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
    bench = Bench(sessions=2)
    first, _ = entered(bench), entered(bench, source="203.0.113.1")
    third = another(bench, source="203.0.113.2")
    assert third.take() == V3_8 + refusal(CloseReason.LIMIT)
    assert third.farewell.reason is CloseReason.LIMIT
    first.deliver_lost()
    assert another(bench).said == [], "there is room again"


def test_the_limit_of_one_source():
    bench = Bench(sessions_per_source=1)
    first = entered(bench)
    assert another(bench).farewell.reason is CloseReason.LIMIT
    assert another(bench, source="203.0.113.1").said == []
    first.deliver_lost()
    assert another(bench).said == []


def test_no_token_is_looked_up_beyond_the_limit():
    bench = Bench(sessions=1)
    entered(bench)
    another(bench)
    assert len(bench.store.asked) == 1


def test_strangers_take_no_sessions_room():
    """Two are asked about at once: both may come in if there is room, and only one does."""
    bench = Bench(sessions=1)
    first = another(bench)
    answers = [bench.store.waiting]
    second = another(bench)
    answers.append(bench.store.waiting)
    answers[1].callback(console_token())
    answers[0].callback(console_token())
    assert first.farewell.reason is CloseReason.LIMIT
    assert second.said == []


def test_a_dead_token_is_looked_up_once_and_its_source_waits_only_for_new_ones():
    bench = Bench()
    first = another(bench)
    bench.store.waiting.callback(None)
    assert first.farewell.reason is CloseReason.TOKEN_UNKNOWN
    for _ in range(1000):
        again = another(bench)
        bench.clock.advance(0.1)
        if not bench.store.waiting.called:
            bench.store.waiting.callback(None)
        assert again.farewell.reason is CloseReason.TOKEN_UNKNOWN
    assert len(bench.store.asked) <= 51, "once in two seconds"
    assert bench.clock.getDelayedCalls() == []


def test_the_delay_greets_at_once_and_looks_up_later():
    bench = Bench()
    another(bench)
    bench.store.waiting.callback(None)
    client = FakeStream()
    bench.visits.open(console_request(token="another"), client)
    assert client.take() == V3_8, "the greeting does not wait"
    assert len(bench.store.asked) == 1
    bench.clock.advance(0.1)
    assert len(bench.store.asked) == 2
    client.deliver_lost()


def test_a_client_that_leaves_while_it_is_delayed_is_never_looked_up():
    bench = Bench()
    another(bench)
    bench.store.waiting.callback(None)
    another(bench, token="another").deliver_lost()
    assert len(bench.store.asked) == 1
    assert len(bench.visits) == 0
    assert bench.clock.getDelayedCalls() == []


def test_a_good_token_opens_after_the_delay_and_its_connection_hears_of_it():
    bench, heard = Bench(), []
    another(bench)
    bench.store.waiting.callback(None)
    bench.client.on_authorised = lambda: heard.append(bench.clock.seconds())
    bench.visits.open(console_request(token="good"), bench.client)
    bench.clock.advance(0.1)
    bench.authorise()
    assert heard == [0.1]
    bench.client.deliver_lost()


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


def test_who_is_crowded_out_while_waiting_was_refused_by_a_limit():
    bench = Bench()
    client = another(bench)
    client.crowded_out = True
    client.deliver_lost()
    assert bench.record.close_reason == "limit"


def test_what_is_counted_of_visits():
    figures = Figures()
    bench = Bench()
    bench.visits = Visits(bench.visits._surroundings, bench.audit, figures)
    client = entered(bench)
    assert bench.visits.live_figures() == {
        "consoleproxy_to_client_bytes_total|vnc": 0,
        "consoleproxy_to_target_bytes_total|vnc": 0,
        "consoleproxy_sessions|vnc|novnc": 1,
    }
    client.deliver_lost()
    assert bench.visits.live_figures() == {}
    counted = figures.snapshot({})
    assert counted["consoleproxy_visits_total|vnc|client-closed"] == 1
    assert counted["consoleproxy_visits_refused_total|vnc|client-closed"] == 1
    assert not any(count for name, count in counted.items() if "handshake" in name)


def test_a_port_probe_is_not_counted():
    figures = Figures()
    bench = Bench()
    bench.visits = Visits(bench.visits._surroundings, bench.audit, figures)
    client = FakeStream()
    client.silent = True
    bench.visits.open(console_request(), client)
    client.deliver_lost()
    assert not any("visits" in name for name in figures.snapshot({}))
