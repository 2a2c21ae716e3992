import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.consoleauth.token import CONSOLE_TYPES, ConsoleToken, Grant, hash_token, new_token
from rfbproxy.secret import Secret


def console_token(**fields):
    return ConsoleToken(
        **{
            "token_hash": hash_token("T"),
            "console_type": "novnc",
            "host": "node1",
            "port": 10000,
            "instance_uuid": "f0f0f0f0-0000-4000-8000-000000000000",
            "expires": 1000,
            "access_url_base": None,
        }
        | fields
    )


def test_a_new_token_is_a_uuid4_in_lower_case():
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", new_token())


def test_new_tokens_differ():
    assert len({new_token() for _ in range(1000)}) == 1000


def test_the_hash_is_novas():
    assert hash_token("123-456-789") == hashlib.sha256(b"123-456-789").hexdigest()


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_every_str_has_a_hash(token):
    assert re.fullmatch(r"[0-9a-f]{64}", hash_token(token))


def test_lone_surrogates_have_a_hash_of_their_own():
    assert hash_token("\ud800") != hash_token("\ud801")


@pytest.mark.parametrize(
    ("host", "target"),
    [("node1", "node1:10000"), ("192.0.2.1", "192.0.2.1:10000"), ("2001:db8::1", "[2001:db8::1]:10000")],
)
def test_target_brackets_ipv6(host, target):
    assert console_token(host=host).target == target


def test_target_keeps_brackets_that_are_there():
    assert console_token(host="[::1]").target == "[::1]:10000"


def test_the_id_is_the_start_of_the_hash():
    assert console_token(token_hash="0123456789abcdef" * 4).id == "01234567"


def test_secrets_are_not_printed():
    token = console_token(internal_access_path="/console?session_id=geheim1", grant=Grant("user", Secret("geheim2")))
    assert "geheim" not in f"{token} {token!r}"


def test_console_types_are_the_interfaces():
    assert CONSOLE_TYPES == ("novnc", "xvpvnc", "spice-html5", "spice-direct", "vnc-direct")
