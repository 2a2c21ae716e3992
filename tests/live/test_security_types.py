"""Real servers with every security type that they know, in Chromium; and those that must be refused."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page

from rfbproxy.reasons import CloseReason
from tests.live.browser import ConsolePage
from tests.live.laboratory import Laboratory
from tests.live.pki import ELSEWHERE
from tests.live.security_cases import BROWSER, CASES, NATIVE_VIEWERS, PAGE, SOME, WRITE, Case, Table, claims

DEADLINE_S = 10.0  # of each step of a handshake; a refusal that is known sooner must be said sooner


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_works(lab: Laboratory, page: Page, table: Table, case: Case, new_text: Callable[[], str]) -> None:
    proxy, target, text = lab.proxy_for(case), lab.target(case.target), new_text()
    console, known = proxy.create_for(target, *case.options), len(proxy.records())
    proxy.secrets.add(text)
    shown = ConsolePage(page, console.url)
    shown.see_and_type(target, text)
    assert shown.complaints == []
    record = proxy.next_record(known, console.token_id)
    expected = {
        "client_security": "None",
        "target_security": case.security,
        "target_version": target.version,
        "close_reason": CloseReason.CLIENT_CLOSED.value,
    }
    assert {name: record[name] for name in expected} == expected
    assert "Traceback" not in proxy.said
    proxy.check_secrets_kept()
    table.works(case, BROWSER)


@dataclass(frozen=True)
class Refusal:
    """A target that must not be logged in to.

    Attributes:
        proxy: which of the laboratory's.
        said: what the log line names, among other things.
        options: of the command that makes the token.
        password: what the token has in place of the right one.
        unsaid: what the log line does not name, for it is not the cause.
    """

    target: str
    said: str
    proxy: str = "trusting_authority"
    options: list[str] = field(default_factory=list)
    password: str | None = None
    unsaid: str = "Traceback"

    def __str__(self) -> str:
        return " ".join([self.target, self.proxy, *self.options, *(["wrong password"] if self.password else [])])


REFUSALS = [
    Refusal("qemu-client-certificate", "client certificate", proxy="trusting_everybody"),
    Refusal("qemu-client-certificate", "client certificate", proxy="strange"),
    Refusal("qemu-expired", "expired"),
    Refusal("qemu-stranger", "issuer"),
    Refusal("qemu-elsewhere", "127.0.0.1"),
    Refusal("qemu-x509none", ELSEWHERE, options=["--tls-name", ELSEWHERE]),
    Refusal("qemu-tlsnone", "TLSNone"),
    Refusal("xvnc-tlsplain", "TLSPlain"),
    Refusal("xvnc-plain", "Plain"),
    Refusal("qemu-none", "[None]", options=["--require-security", "x509none"]),
    Refusal("qemu-sasl", "DIGEST-MD5", proxy="trusting_everybody"),
    Refusal("qemu-tlssasl", "DIGEST-MD5", proxy="trusting_everybody"),
    Refusal("qemu-x509vnc", "'Authentication failed'", password="wrong one"),
    Refusal("qemu-x509sasl", "SASL", password="wrong one", unsaid="client certificate"),
    Refusal("qemu-x509sasl-plain", "SASL", password="wrong one", unsaid="client certificate"),
    Refusal("xvnc-x509vnc", "'Authentication failure'", password="wrong one"),
    Refusal("xvnc-x509plain", "invalid password", password="wrong one"),
    Refusal("x11vnc-user", "pw failed", password="wrong one"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_it_is_refused(lab: Laboratory, page: Page, refusal: Refusal) -> None:
    proxy, target = getattr(lab, refusal.proxy), lab.target(refusal.target)
    user = ["--username", target.username] if target.username is not None else []
    console = proxy.create(target.port, refusal.password or target.password, *user, *refusal.options)
    known, said_before, began = len(proxy.records()), len(proxy.said), time.monotonic()
    assert ConsolePage(page, console.url).wait_refused() == CloseReason.TARGET_AUTH_FAILED.sentence
    assert time.monotonic() - began < DEADLINE_S
    record = proxy.next_record(known, console.token_id)
    assert record["close_reason"] == CloseReason.TARGET_AUTH_FAILED.value
    assert record["target_security"] is None
    assert record["bytes_to_client"] == record["bytes_to_target"] == 0

    ended = [line for line in proxy.said[said_before:].splitlines() if f"[{record['session']}] ended: " in line]
    assert len(ended) == 1
    assert refusal.said in ended[0]
    assert refusal.unsaid not in ended[0]
    proxy.check_secrets_kept()


def test_a_certificate_may_be_for_the_name_that_the_token_gives(
    lab: Laboratory, page: Page, new_text: Callable[[], str]
) -> None:
    proxy, target = lab.trusting_authority, lab.target("qemu-elsewhere")
    console, known = proxy.create_for(target, "--tls-name", ELSEWHERE), len(proxy.records())
    ConsolePage(page, console.url).see_and_type(target, new_text())
    assert proxy.next_record(known, console.token_id)["target_security"] == "VeNCrypt X509None"


def test_the_reference_says_what_is_proved_here() -> None:
    """The last test, so that a run that writes the page has written it."""
    proved = {(case.server, case.security, viewer) for case in CASES for viewer in (BROWSER, NATIVE_VIEWERS[0])}
    proved |= {(case.server, case.security, viewer) for case in SOME for viewer in NATIVE_VIEWERS}
    assert claims(PAGE.read_text()) == proved, f"run tests/live with {WRITE}=1"
