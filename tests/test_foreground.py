"""Which service `view` makes, and the URL that it prints."""

from types import SimpleNamespace

import pytest

from rfbproxy import foreground
from rfbproxy.address import Address
from rfbproxy.config import Config
from rfbproxy.errors import ConfigError
from rfbproxy.issue import Console


@pytest.mark.parametrize(
    ("console_type", "address", "url"),
    [
        ("novnc", Address("127.0.0.1", 6080), "http://127.0.0.1:6080/vnc_auto.html"),
        ("xvpvnc", Address("127.0.0.1", 6080), "http://127.0.0.1:6080/console"),
        ("spice-html5", Address("127.0.0.1", 6080), "http://127.0.0.1:6080/"),
        ("spice-html5", Address("::", 6082), "http://127.0.0.1:6082/"),
        ("spice-html5", Address("2001:db8::1", 6082), "http://[2001:db8::1]:6082/"),
        ("spice-html5", Address(path="/run/spice"), "http://localhost/"),
    ],
)
def test_what_a_url_begins_with(console_type, address, url):
    assert foreground._base_url(SimpleNamespace(address=address, has_tls=False), console_type) == url
    encrypted = SimpleNamespace(address=address, has_tls=True)
    assert foreground._base_url(encrypted, console_type) == url.replace("http:", "https:")


@pytest.mark.parametrize(("console_type", "protocol"), [("novnc", "vnc"), ("xvpvnc", "vnc"), ("spice-html5", "spice")])
def test_the_service_speaks_the_consoles_protocol(monkeypatch, console_type, protocol):
    asked = {}

    def make_service(config, reactor, **named):
        asked.update(named)
        raise ConfigError("seen enough")

    monkeypatch.setattr(foreground, "make_service", make_service)
    with pytest.raises(ConfigError, match="seen enough"):
        foreground.view(Config(), Address("127.0.0.1", 0), Console(console_type, "192.0.2.7", 5900))
    assert asked.get("protocol") == protocol
    assert asked["address"] == Address("127.0.0.1", 0)
