import json
import re
from pathlib import Path

import pytest

from rfbproxy.client import origin
from rfbproxy.reasons import CloseReason, Refused

TABLE = {  # design.md, "A session ends for a reason"
    "client-closed": None,
    "target-closed": 1000,
    "token-unknown": 1008,
    "token-expired": 1008,
    "origin-refused": 1008,
    "tls-required": 1008,
    "policy": 1008,
    "limit": 1008,
    "target-unreachable": 1011,
    "target-auth-failed": 1011,
    "protocol-error": 1011,
    "idle": 1008,
    "time-limit": 1008,
    "revoked": 1008,
    "shutdown": 1001,
    "internal": 1011,
}


def test_the_list_is_closed():
    assert {reason.value: reason.websocket_code for reason in CloseReason} == TABLE


@pytest.mark.parametrize("reason", list(CloseReason))
def test_a_sentence_fits_a_close_frame_and_gives_nothing_away(reason):
    assert 8 <= len(reason.sentence) <= 123
    assert reason.sentence.isascii()
    assert reason.sentence.isprintable()
    assert not re.search(r"[0-9]|://|::", reason.sentence)


def test_sentences_differ():
    assert len({reason.sentence for reason in CloseReason}) == len(CloseReason)


def test_the_targets_end_is_told_in_novas_words():
    assert CloseReason.TARGET_CLOSED.sentence == "Target closed"


def test_novas_three_sentences_of_origin_refused_are_nobody_elses():
    source = Path(origin.__file__).read_text()
    words = (
        "Origin header not valid.",
        "Origin header does not match this host.",
        "Origin header protocol does not match this host.",
    )
    assert CloseReason.ORIGIN_REFUSED.sentence in words
    for sentence in words[1:]:
        assert json.dumps(sentence) in source
        assert sentence not in {reason.sentence for reason in CloseReason}


@pytest.mark.parametrize(
    ("refused", "sentence", "code"),
    [
        (Refused(CloseReason.IDLE, "detail"), CloseReason.IDLE.sentence, 1008),
        (Refused(CloseReason.CLIENT_CLOSED, "detail"), CloseReason.CLIENT_CLOSED.sentence, 1000),
        (Refused(CloseReason.PROTOCOL_ERROR, "detail", websocket_code=1002), CloseReason.PROTOCOL_ERROR.sentence, 1002),
        (Refused(CloseReason.ORIGIN_REFUSED, "detail", sentence="Other words."), "Other words.", 1008),
    ],
)
def test_a_refusal_knows_what_is_said_of_it(refused, sentence, code):
    assert (refused.sentence, refused.websocket_code) == (sentence, code)
    assert (refused.detail, str(refused)) == ("detail", "detail")
