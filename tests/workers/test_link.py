import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from rfbproxy.workers.link import LinkError
from tests.workers.fakes import Pair


def test_what_is_told_is_heard_in_its_order():
    heard = []
    pair = Pair(others={"note": lambda **facts: heard.append(facts), "end": lambda: heard.append("end")})
    pair.here.tell("note", source="2001:db8::1", count=3)
    pair.here.tell("end")
    pair.pump()
    assert heard == [{"source": "2001:db8::1", "count": 3}, "end"]


def test_questions_are_answered_though_later_ones_sooner():
    slow = Deferred()
    pair = Pair(others={"slow": lambda: slow, "add": lambda a, b: a + b})
    first, second = pair.here.ask("slow"), pair.here.ask("add", a=1, b=2)
    pair.pump()
    assert second.result == 3
    assert not first.called
    slow.callback(["late"])
    pair.pump()
    assert first.result == ["late"]


def test_both_ends_ask():
    pair = Pair(hears={"who": lambda: "here"}, others={"who": lambda: "there"})
    answers = pair.here.ask("who"), pair.there.ask("who")
    pair.pump()
    assert [answer.result for answer in answers] == ["there", "here"]


def test_a_question_that_cannot_be_answered_fails():
    def fail():
        raise ValueError("no such")

    pair = Pair(others={"fail": fail})
    answer = pair.here.ask("fail")
    pair.pump()
    with pytest.raises(LinkError, match="no such"):
        answer.result.raiseException()
    answer.addErrback(lambda _: None)


def test_the_end_of_a_link_answers_what_was_asked_and_what_is_asked_then():
    pair = Pair(others={"wait": Deferred})
    before = pair.here.ask("wait")
    pair.here.connectionLost(Failure(ConnectionDone()))
    after = pair.here.ask("wait")
    pair.here.tell("nothing")
    for answer in (before, after):
        with pytest.raises(LinkError, match="lost"):
            answer.result.raiseException()
        answer.addErrback(lambda _: None)
    assert pair.lost == ["here"]
