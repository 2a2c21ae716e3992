import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.consoleauth.grants import grant_row, read_grant
from rfbproxy.consoleauth.sealing import seal
from rfbproxy.consoleauth.token import Grant
from rfbproxy.errors import StoreError
from rfbproxy.secret import Secret

TOKEN = "8f14e45f-ceea-467f-a2b5-1d1a4b1f0c11"
GRANTS = st.builds(
    Grant,
    username=st.none() | st.text(),
    password=st.none() | st.builds(Secret, st.text(st.characters(codec=None, exclude_categories=()))),
    idle_timeout_s=st.none() | st.integers(),
    time_limit_s=st.none() | st.integers(),
    host_subject=st.none() | st.text(),
    allow_channels=st.none() | st.lists(st.text()).map(tuple),
)


@given(GRANTS)
def test_a_grant_comes_back_as_it_was(grant):
    assert read_grant(TOKEN, **grant_row(TOKEN, grant)) == grant


def test_an_empty_grant_seals_nothing():
    assert grant_row(TOKEN, Grant()) == {"policy": "{}", "secrets": None}


def test_only_policy_is_in_clear():
    row = grant_row(TOKEN, Grant("user", Secret("geheim"), idle_timeout_s=60))
    assert json.loads(row["policy"]) == {"idle_timeout_s": 60}
    assert b"geheim" not in row["secrets"]
    assert b"user" not in row["secrets"]


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"view_only": true}', "view_only.*unknown here"),
        ('{"password": "x"}', "password.*unknown here"),
        ('{"idle_timeout_s": "60"}', "idle_timeout_s.*wrong type"),
        ('{"idle_timeout_s": true}', "idle_timeout_s.*wrong type"),
        ('{"host_subject": ["CN=a"]}', "host_subject.*wrong type"),
        ('{"allow_channels": "usbredir"}', "allow_channels.*wrong type"),
        ('{"allow_channels": ["usbredir", 9]}', "allow_channels.*wrong type"),
        ('{"allow_channels": {"usbredir": true}}', "allow_channels.*wrong type"),
        ('{"allow_channels": null}', "allow_channels.*wrong type"),
    ],
)
def test_a_policy_half_understood_is_refused(policy, says):
    with pytest.raises(StoreError, match=says):
        read_grant(TOKEN, policy, None)


@pytest.mark.parametrize("secrets", [b"geheim", b'{"geheim": 1}', b'{"password": 17}', b"\xff\xfe"])
def test_secrets_that_are_odd_inside_are_refused(secrets):
    with pytest.raises(StoreError, match=r"secrets|wrong type"):
        read_grant(TOKEN, "{}", seal(TOKEN, secrets))
