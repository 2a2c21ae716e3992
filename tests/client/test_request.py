from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.client.http_head import RequestHead
from rfbproxy.client.request import ConsoleRequest, token_of

T = "123-456-789"


def token(target="/", *cookies):
    headers = tuple(("cookie", cookie) for cookie in cookies)
    return token_of(RequestHead("GET", target, "HTTP/1.1", headers, b""))


@pytest.mark.parametrize(
    "target",
    [
        f"/?token={T}",
        f"/vnc.html?token={T}",  # noVNC 1.6 and later
        f"/websockify?token={T}",
        f"/vnc_lite.html?token={T}",
        f"/?a=b&token={T}&c",
        f"/?path=%3Ftoken%3D{T}",  # nova's own URL, unturned
        f"/?path=websockify%3Ftoken%3D{T}",
        f"/?noop=true&path={quote(f'a/b?x=y&token={T}', safe='')}",
        f"http://example.net:6080/?token={T}",
        f"//example.net/?token={T}",
    ],
)
def test_nova_W01_the_token_in_a_url(target):
    assert token(target) == T


def test_nova_W25_the_last_of_two_tokens_wins():
    assert token(f"/?token=other&token={T}") == T
    assert token(f"/?path=%3Ftoken%3Dother&path=%3Ftoken%3D{T}") == T
    assert token("/", f"token=other; token={T}") == T
    assert token("/", "token=other", f"token={T}") == T


def test_a_blank_token_does_not_count():
    assert token(f"/?token={T}&token=") == T
    assert token("/?token=", f"token={T}") == T
    assert token("/?token=&path=%3Ftoken%3D") is None
    assert token("/", f"token={T}; token=") == T


def test_the_query_wins_over_path_and_path_over_the_cookie_of_another_tab():
    assert token(f"/?token={T}&path=%3Ftoken%3Dpath", "token=cookie") == T
    assert token(f"/?path=%3Ftoken%3D{T}", "token=cookie") == T
    assert token("/?path=websockify", f"token={T}") == T


@pytest.mark.parametrize(
    "cookie",
    [
        f'?=!; token="{T}"',  # nova's own case
        f"token={T}; ?=!",
        f'a=b; token="{T}"; c',
        f"token={T}",
        f"a[b]=c; token={T}",
        f"=; ;;token={T};",
        f'x="unclosed; token={T}',
        f"\xff\xfe; token={T}",
        f"expires=never; token={T}; path=/",
    ],
)
def test_nova_W17_a_malformed_neighbour_of_the_cookie_does_no_harm(cookie):
    assert token("/", cookie) == T


def test_cookies_of_several_lines_are_not_joined_by_commas():
    assert token("/", f"token={T}", "a=b") == T
    assert token("/", "a=b", f"token={T}", "c=d") == T


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/?",
        "/?Token=x",
        f"/?path={T}",
        f"/token={T}",
        "http://[bad/?token=x",
        "/?" + "&".join(f"a{i}=1" for i in range(101)),  # more fields than anybody sends
    ],
)
def test_no_token(target):
    assert token(target) is None
    assert token(target, f"token={T}") == T


def test_a_request_prints_without_its_token():
    assert T not in repr(ConsoleRequest("websocket", "192.0.2.7", T))


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_no_query_and_no_cookie_raises(query, cookie):
    for found in (token("/?" + query, cookie), token("/?token=" + query), token("/?path=" + query), token(query)):
        assert found is None or isinstance(found, str)


@given(st.lists(st.sampled_from(["token", "=", ";", '"', " ", ",", "a", "\\", "\\073", "$", "path", "/"]), max_size=12))
def test_no_cookie_of_odd_pieces_raises(pieces):
    token("/", "".join(pieces))
