import pytest

from rfbproxy.config import Config, is_trusted
from rfbproxy.errors import ConfigError


def trusted(tmp_path, value):
    file = tmp_path / "nova.conf"
    file.write_text(f"[consoleproxy]\ntrusted_proxies = {value}\n")
    return Config([str(file)]).trusted_proxies


@pytest.mark.parametrize(
    ("value", "those", "others"),
    [
        ("", [], ["127.0.0.1", "::1", "unix", ""]),
        ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.8", "unix"]),
        ("192.0.2.0/24, 2001:db8::/32", ["192.0.2.1", "2001:db8:1::1"], ["192.0.3.1", "2001:db9::1"]),
        ("192.0.2.9/24", ["192.0.2.1"], ["192.0.3.1"]),
        ("::ffff:192.0.2.7", ["192.0.2.7"], ["192.0.2.8"]),
        ("fe80::/10", ["fe80::1%eth0"], ["::1"]),
        ("unix", ["unix"], ["127.0.0.1", "unknown", "probe"]),
        ("unix, 192.0.2.7", ["unix", "192.0.2.7"], ["192.0.2.8"]),
        ("0.0.0.0/0", ["192.0.2.7"], ["2001:db8::1", "unix"]),
    ],
)
def test_who_is_trusted(tmp_path, value, those, others):
    networks = trusted(tmp_path, value)
    assert all(is_trusted(source, networks) for source in those)
    assert not any(is_trusted(source, networks) for source in others)


@pytest.mark.parametrize("value", ["friend", "192.0.2.7:80", "192.0.2.0/33", "unix:/run/socket"])
def test_what_nobody_can_be_trusted_by(tmp_path, value):
    with pytest.raises(ConfigError, match="trusted_proxies"):
        trusted(tmp_path, value)
