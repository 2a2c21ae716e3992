import contextlib
import os
import socket

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.unix import Server
from twisted.python.failure import Failure

from rfbproxy.workers.link import Link, LinkError
from tests.workers.fakes import Pair


def test_what_is_told_is_heard_in_its_order():
    heard = []
    pair = Pair(others={"note": lambda **facts: heard.append(facts), "end": lambda: heard.append("end")})
    pair.here.tell("note", source="2001:db8::1", count=3)
    pair.here.tell("end")
    pair.pump()
    assert heard == [{"source": "2001:db8::1", "count": 3}, "end"]


def test_files_are_given_before_what_is_told_of_them():
    ours, theirs = socket.socketpair()
    with ours, theirs, contextlib.closing(socket.socket()) as first, contextlib.closing(socket.socket()) as second:
        heard = []
        ends = Link({}), Link({"take": lambda: heard.extend(map(os.fstat, ends[1].given))})
        for side, end in zip((ours, theirs), ends, strict=True):
            transport = Server(side, end, "", None, 0, MemoryReactorClock())
            end.makeConnection(transport)
        for each in (first, second):
            ends[0].give(each.fileno())
        ends[0].tell("take")
        ends[0].transport.doWrite()
        while not heard:
            ends[1].transport.doRead()
        assert [each.st_ino for each in heard] == [os.fstat(each.fileno()).st_ino for each in (first, second)]
        for descriptor in ends[1].given:
            os.close(descriptor)


def test_nothing_is_given_to_who_has_gone():
    pair = Pair()
    pair.here.connectionLost(Failure(ConnectionDone()))
    pair.here.give(0)
    assert pair.here.transport.given == []


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
