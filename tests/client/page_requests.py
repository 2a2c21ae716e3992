"""Asking a listener for pages, with what every answer must have."""

from tests.client.callers import Caller, answers

SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def get(folders, target="/", *headers, method="GET", cache="no-cache", **fields):
    caller = Caller(folders=folders, **fields)
    caller.send("\r\n".join([f"{method} {target} HTTP/1.1", "Host: h", *headers, "", ""]).encode("latin-1"))
    (answer,) = answers(caller.received(), method=method)
    caller.lose()
    assert "server" not in answer[1]
    assert "date" in answer[1]
    assert answer[1].items() >= SECURITY.items()
    assert answer[1]["cache-control"] == cache
    assert "frame-ancestors 'self'" in answer[1]["content-security-policy"]
    return answer


def body(folders, target, **options):
    status, _, text = get(folders, target, **options)
    assert status == 200
    return text


def status(folders, target, **options):
    code, headers, text = get(folders, target, **options)
    assert "secret" not in text.decode()
    assert headers["content-type"] == "text/plain; charset=utf-8"
    return code
