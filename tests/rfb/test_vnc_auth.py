import pytest

from rfbproxy.rfb.vnc_auth import vnc_response, vnc_response_is_valid
from rfbproxy.secret import Secret

CHALLENGE = bytes.fromhex("000102030405060708090a0b0c0d0e0f")


@pytest.mark.parametrize(
    ("password", "response"),
    [
        ("password", "b866924125c8eebb9debc1db61c538e2"),
        ("", "491e890de9ace932838a49792f2213f3"),
        ("abc", "9c22b4f2088c3465a1562c4b9d6edb04"),
        ("longer-than-eight", "d7f5512dcd81e076eaf94d16cb29ec75"),
        ("longer-t", "d7f5512dcd81e076eaf94d16cb29ec75"),  # only eight characters count
    ],
)
def test_known_answers(password, response):
    assert vnc_response(Secret(password), CHALLENGE).hex() == response
    assert vnc_response_is_valid(Secret(password), CHALLENGE, bytes.fromhex(response))


def test_a_wrong_response_is_not_valid():
    response = vnc_response(Secret("password"), CHALLENGE)
    assert not vnc_response_is_valid(Secret("passwore"), CHALLENGE, response)
    assert not vnc_response_is_valid(Secret("password"), CHALLENGE[::-1], response)
    assert not vnc_response_is_valid(Secret("password"), CHALLENGE, response[:-1])


def test_a_password_beyond_ascii_is_latin_1_where_it_can_be():
    assert vnc_response(Secret("é"), CHALLENGE) != vnc_response(Secret("Ã©"[:1]), CHALLENGE)
    assert vnc_response(Secret("Ã©"), CHALLENGE) != vnc_response(Secret("é"), CHALLENGE)


def test_and_utf_8_where_it_cannot():
    assert vnc_response(Secret("€"), CHALLENGE) == vnc_response(Secret("â\x82¬"), CHALLENGE)  # e2 82 ac
