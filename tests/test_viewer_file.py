import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from rfbproxy.config import Config
from rfbproxy.errors import ConfigError
from rfbproxy.secret import Secret
from rfbproxy.viewer_file import OwnCertificate, ViewerFile, own_certificate, viewer_file
from tests.certificates import certificate

TOKEN = "8f14e45f-ceea-467f-a2b5-1d1a4b1f0c11"
OURS = OwnCertificate("CN=proxy.example", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")
ESCAPES = {r"\s": " ", r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\\": "\\"}


def parse(text):
    """A GKeyFile of one group as GLib reads it, but nothing that it would forgive."""
    assert text.endswith("\n")
    group, *lines = text[:-1].split("\n")
    assert group == "[virt-viewer]"
    entries = {}
    for line in lines:
        key, equals, value = line.partition("=")
        assert re.fullmatch("[a-z-]+", key)
        assert equals
        assert key not in entries
        assert not re.search("[\0-\x1f\x7f]", value)
        assert value == value.strip(" "), "GLib drops it"
        assert re.fullmatch(r"(?:[^\\]|\\[sntr\\])*", value)
        entries[key] = re.sub(r"\\.", lambda found: ESCAPES[found[0]], value)
    return entries


def test_a_file():
    file = ViewerFile("proxy.example", tls_port=5931, password=Secret("geheim"), title="a machine", ca="A\nB\n")
    assert file.text() == (
        "[virt-viewer]\n"
        "type=spice\n"
        "host=proxy.example\n"
        "tls-port=5931\n"
        "password=geheim\n"
        "title=a machine\n"
        "ca=A\\nB\\n\n"
        "delete-this-file=1\n"
    )


def test_its_secrets_are_not_shown():
    assert "geheim" not in repr(ViewerFile("geheim1", 1, password=Secret("geheim2")))


TEXT = st.text(st.characters() | st.sampled_from(" \\\n\r\t\0[]=#;"))


@given(host=TEXT, password=TEXT, title=TEXT, ca=TEXT, host_subject=TEXT, proxy=TEXT)
def test_nothing_can_be_put_into_it_by_a_value(host, password, title, ca, host_subject, proxy):
    values = {"host": host, "title": title, "ca": ca, "host_subject": host_subject, "proxy": proxy}
    read = parse(ViewerFile(password=Secret(password), port=1, tls_port=2, **values).text())
    told = {"host": host, "password": password, "title": title, "ca": ca, "host-subject": host_subject, "proxy": proxy}
    told = {key: re.sub("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", "\ufffd", value) for key, value in told.items()}
    assert read == {"type": "spice", "port": "1", "tls-port": "2", "delete-this-file": "1", **told}


# Where a viewer is sent


def config(tmp_path, listen="", base="http://proxy.example:6082/spice_auto.html", rest=""):
    (tmp_path / "nova.conf").write_text(f"[spice]\nhtml5proxy_base_url = {base}\n[consoleproxy]\n{listen}\n{rest}")
    return Config([str(tmp_path / "nova.conf")], base=tmp_path)


def told(config, ours=None):
    return parse(viewer_file(config, Secret(TOKEN), title="a machine", certificate=ours).text())


FIXED = {"type": "spice", "title": "a machine", "delete-this-file": "1"}


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("spice_listen = 192.0.2.7:5930", "192.0.2.7", "5930"),
        ("spice_listen = viewers.example:5930", "viewers.example", "5930"),
        ("spice_listen = [2001:db8::1]:5930", "2001:db8::1", "5930"),
        ("spice_listen = 0.0.0.0:5930", "proxy.example", "5930"),
        ("spice_listen = [::]:5930", "proxy.example", "5930"),
        ("spice_listen = :5930", "proxy.example", "5930"),
        ("spice_listen = unix:/run/spice, 127.0.0.1:0, 192.0.2.7:5930, 192.0.2.8:5931", "192.0.2.7", "5930"),
    ],
)
def test_to_where_native_viewers_are_listened_for(tmp_path, listen, host, port):
    assert told(config(tmp_path, listen)) == {**FIXED, "host": host, "port": port, "password": TOKEN}
    assert told(config(tmp_path, listen), OURS) == {
        **FIXED, "host": host, "tls-port": port, "password": TOKEN, "ca": OURS.ca, "host-subject": OURS.subject,
    }  # fmt: skip


def test_to_where_tls_begins_if_there_is_such_a_place(tmp_path):
    both = config(tmp_path, "spice_listen = 192.0.2.7:5930\nspice_tls_listen = 192.0.2.8:5931")
    assert (told(both, OURS)["host"], told(both, OURS)["tls-port"]) == ("192.0.2.8", "5931")
    assert "port" not in told(both, OURS)
    assert (told(both)["host"], told(both)["port"]) == ("192.0.2.7", "5930")


@pytest.mark.parametrize("listen", ["", "spice_listen = unix:/run/spice"])
@pytest.mark.parametrize(
    ("base", "ours", "proxy", "ports"),
    [
        ("http://proxy.example:6082/", None, "http://proxy.example:6082", {"port": "6082"}),
        ("http://proxy.example/", None, "http://proxy.example:80", {"port": "80"}),
        ("https://proxy.example/", None, "https://proxy.example:443", {"port": "443"}),
        ("http://[2001:db8::1]:6082/a?b=c", None, "http://[2001:db8::1]:6082", {"port": "6082"}),
        ("http://proxy.example:6082/", OURS, "http://proxy.example:6082", {"tls-port": "6082"}),
        ("https://proxy.example:7082/", OURS, "https://proxy.example:7082", {"port": "7082"}),
    ],
)
def test_else_by_connect(tmp_path, listen, base, ours, proxy, ports):
    certified = {"ca": OURS.ca, "host-subject": OURS.subject} if ours else {}
    assert told(config(tmp_path, listen, base), ours) == {**FIXED, "host": TOKEN, "proxy": proxy, **ports, **certified}


# Our certificate


def test_without_a_certificate_nothing_is_told_of_it(tmp_path):
    assert own_certificate(config(tmp_path)) is None


def pem_of(file):
    """The certificate of a file that holds its key too."""
    return x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.PEM).decode()


def test_what_is_told_of_a_certificate(tmp_path):
    for name in ("self.pem", "ca.pem"):
        certificate(tmp_path / name, tmp_path / name, name=f"{name},\\")
    own = pem_of(tmp_path / "self.pem")
    assert own_certificate(config(tmp_path)) == OwnCertificate(r"CN=self.pem\,\\", own), "it is its own CA"
    with (tmp_path / "self.pem").open("ab") as chain:
        chain.write((tmp_path / "ca.pem").read_bytes() * 2)
    ca = pem_of(tmp_path / "ca.pem")
    assert own_certificate(config(tmp_path)) == OwnCertificate(r"CN=self.pem\,\\", ca * 2)


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("[DEFAULT]\ncert = other.pem", "other.pem cannot be read: No such file or directory"),
        ("[DEFAULT]\ncert = nova.conf", "nova.conf holds no usable certificate"),
        ("[DEFAULT]\ncert = .", "cannot be read: Is a directory"),
        ("[DEFAULT]\nkey = key.pem", "self.pem cannot be read: No such file or directory"),
        ("[DEFAULT]\nssl_only = True", "SSL only and self.pem not found"),
        ("client_ca_certs = ca.pem", "[consoleproxy] client_ca_certs needs a certificate, and self.pem is not there"),
    ],
)
def test_a_certificate_that_cannot_be_used(tmp_path, rest, why):
    with pytest.raises(ConfigError) as raised:
        own_certificate(config(tmp_path, rest=rest))
    assert str(raised.value).endswith(why)
