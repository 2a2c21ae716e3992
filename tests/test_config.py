import json

import pytest

from rfbproxy import assembly
from rfbproxy.address import Address, parse_address
from rfbproxy.config import Config, is_trusted
from rfbproxy.errors import ConfigError
from rfbproxy.options import GROUPS
from rfbproxy.rfb import Preference, SecurityType, VeNCryptSubtype
from rfbproxy.workers import number
from tests.certificates import certificate


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


def config(tmp_path, text=""):
    file = tmp_path / "nova.conf"
    file.write_text(text)
    return Config([str(file)], base=tmp_path)


def refused(tmp_path, text, judge=lambda config: None):
    """Why options cannot be used, in one line."""
    with pytest.raises(ConfigError) as raised:
        judge(config(tmp_path, text))
    assert "\n" not in str(raised.value)
    return str(raised.value)


# Security towards targets

VENCRYPT, SASL, VNC = SecurityType.VENCRYPT, SecurityType.SASL, SecurityType.VNC_AUTHENTICATION
ARD, MSLOGON2, NONE = SecurityType.APPLE_DH, SecurityType.MSLOGON2, SecurityType.NONE
X509 = (
    VeNCryptSubtype.X509_PLAIN,
    VeNCryptSubtype.X509_SASL,
    VeNCryptSubtype.X509_VNC,
    VeNCryptSubtype.X509_NONE,
)


def preference(tmp_path, schemes=None, subtypes=None):
    text = "" if schemes is None else f"[vnc]\nauth_schemes = {schemes}\n"
    text += "" if subtypes is None else f"[consoleproxy]\nvencrypt_subtypes = {subtypes}\n"
    return config(tmp_path, text).security_preference


def test_by_default_nothing_is_anonymous_or_more_in_clear_than_it_must_be(tmp_path):
    assert preference(tmp_path) == Preference((VENCRYPT, SASL, VNC, NONE), X509)


@pytest.mark.parametrize(
    ("value", "types"),
    [
        ("none", (NONE,)),  # nova's own default
        ("vencrypt,none", (VENCRYPT, NONE)),
        ("none, vencrypt", (NONE, VENCRYPT)),
        (" VeNCrypt ,NONE,vencrypt", (VENCRYPT, NONE)),
        ("mslogon2,ard,vnc,sasl", (MSLOGON2, ARD, VNC, SASL)),
    ],
)
def test_nova_R12_auth_schemes(tmp_path, value, types):
    assert preference(tmp_path, value).types == types


@pytest.mark.parametrize(
    ("value", "subtypes"),
    [
        ("x509none", (VeNCryptSubtype.X509_NONE,)),
        ("TLSNone,X509None", (VeNCryptSubtype.TLS_NONE, VeNCryptSubtype.X509_NONE)),
        ("plain,tlsplain,plain", (VeNCryptSubtype.PLAIN, VeNCryptSubtype.TLS_PLAIN)),
        ("x509sasl,tlssasl", (VeNCryptSubtype.X509_SASL, VeNCryptSubtype.TLS_SASL)),
        ("", ()),
    ],
)
def test_vencrypt_subtypes(tmp_path, value, subtypes):
    assert preference(tmp_path, subtypes=value).subtypes == subtypes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[vnc]\nauth_schemes = tight", "[vnc] auth_schemes: "),  # nova_R12: an unknown name
        ("[vnc]\nauth_schemes = vencrypt,x509none", "[vnc] auth_schemes: "),
        ("[vnc]\nauth_schemes =", "[vnc] auth_schemes is empty: no target could be logged in to"),
        ("[consoleproxy]\nvencrypt_subtypes = vencrypt", "[consoleproxy] vencrypt_subtypes: "),
        ("[consoleproxy]\nvencrypt_subtypes = x509", "[consoleproxy] vencrypt_subtypes: "),
        (
            "[vnc]\nauth_schemes = vencrypt\n[consoleproxy]\nvencrypt_subtypes =",
            "[vnc] auth_schemes allows vencrypt alone, and [consoleproxy] vencrypt_subtypes is empty",
        ),
        ("[consoleproxy]\ntarget_tls_minimum_version = ssl3", "[consoleproxy] target_tls_minimum_version: "),
        ("[consoleproxy]\nvencrypt_verify_names = perhaps", "[consoleproxy] vencrypt_verify_names: "),
        ("[consoleproxy]\nlogin_timeout_s = 0", "[consoleproxy] login_timeout_s: "),
    ],
)
def test_nova_R12_what_cannot_be_used_is_told_at_once(tmp_path, text, told):
    assert refused(tmp_path, text).startswith(told)


def test_the_rules_of_a_visit(tmp_path):
    rules = assembly.rules(config(tmp_path, "[consoleproxy]\nlogin_timeout_s = 7.5\n[vnc]\nauth_schemes = none"))
    assert rules.login_timeout_s == 7.5
    assert rules.security_preference.types == (NONE,)
    assert assembly.rules(config(tmp_path)).login_timeout_s == 60


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("vencrypt_client_key = key.pem", "[vnc] vencrypt_client_key is set, but vencrypt_client_cert is not"),
        ("vencrypt_client_cert = none.pem", "[vnc] vencrypt_client_cert: "),
        ("vencrypt_client_cert = ca.pem\nvencrypt_client_key = none.pem", "[vnc] vencrypt_client_key: "),
        ("vencrypt_ca_certs = none.pem", "[vnc] vencrypt_ca_certs: "),
    ],
)
def test_files_that_cannot_be_used_towards_targets(tmp_path, option, told):
    certificate(tmp_path / "ca.pem", tmp_path / "ca.pem")
    assert refused(tmp_path, f"[vnc]\n{option}", assembly.target_tls).startswith(told)


def test_nova_V02_files_towards_targets_are_found_beside_the_configuration_and_optional(tmp_path):
    certificate(tmp_path / "ca.pem", tmp_path / "ca.pem")
    assembly.target_tls(config(tmp_path))
    assembly.target_tls(config(tmp_path, "[vnc]\nvencrypt_ca_certs = ca.pem\nvencrypt_client_cert = ca.pem"))


# Pages


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Where noVNC and spice-html5 are looked for."""
    for name, file in {"_NOVNC_FOLDERS": "core/rfb.js", "_SPICE_FOLDERS": "spice_auto.html"}.items():
        found = tmp_path / name / file
        found.parent.mkdir(parents=True)
        found.touch()
        monkeypatch.setattr(assembly, name, (tmp_path / "none", tmp_path / name))


@pytest.mark.usefixtures("packages")
def test_pages_come_from_the_first_package_there_is(tmp_path):
    vnc, spice = (assembly.folders(config(tmp_path), protocol) for protocol in ("vnc", "spice"))
    assert (vnc.novnc, vnc.spice, vnc.operator) == (tmp_path / "_NOVNC_FOLDERS", None, None)
    assert (spice.novnc, spice.spice, spice.operator) == (None, tmp_path / "_SPICE_FOLDERS", None)
    assert vnc.own == spice.own


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("text", "vnc", "spice"),
    [
        ("[DEFAULT]\nweb = both", "both", "both"),
        ("[DEFAULT]\nweb = both\n[spice]\nweb = one", "both", "one"),
        ("[DEFAULT]\nweb = both\n[vnc]\nweb = one", "one", "both"),
        ("[spice]\nweb = one", None, "one"),
    ],
)
def test_a_listeners_own_web_goes_before_the_shared_one(tmp_path, text, vnc, spice):
    for name in ("both", "one"):
        (tmp_path / name).mkdir()
    for protocol, name in {"vnc": vnc, "spice": spice}.items():
        operator = assembly.folders(config(tmp_path, text), protocol).operator
        assert operator == (name and tmp_path / name)


def test_pages_that_are_not_there(tmp_path, monkeypatch):
    told = refused(tmp_path, "[spice]\nweb = none", lambda options: assembly.folders(options, "spice"))
    assert told == f"Can not find html/js files at {tmp_path}/none: web is not a folder."
    for name, protocol, package in (("_NOVNC_FOLDERS", "vnc", "noVNC"), ("_SPICE_FOLDERS", "spice", "spice-html5")):
        monkeypatch.setattr(assembly, name, (tmp_path / "a", tmp_path / "b"))
        assert refused(tmp_path, "", lambda options, which=protocol: assembly.folders(options, which)) == (
            f"{package} is not installed: there is none in {tmp_path}/a or {tmp_path}/b; "
            f"run make venv, or apt install {package.lower()}, or name a folder with web ="
        )
        assert assembly.folders(config(tmp_path, f"[DEFAULT]\nweb = {tmp_path}"), protocol).operator == tmp_path


# Native viewers


def rfb_listen(tmp_path, value):
    return config(tmp_path, f"[consoleproxy]\nrfb_listen = {value}\n").rfb_listen


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("", []),
        ("192.0.2.7:5900", [Address("192.0.2.7", 5900)]),
        ("0.0.0.0:5900", [Address("0.0.0.0", 5900)]),
        ("proxy.example:5900", [Address("proxy.example", 5900)]),
        (":5900", [Address("", 5900)]),
        ("[::]:5900", [Address("::", 5900)]),
        ("[2001:db8::1]:5900, 192.0.2.7:5901", [Address("2001:db8::1", 5900), Address("192.0.2.7", 5901)]),
        ("192.0.2.7:5900,192.0.2.7:5900", [Address("192.0.2.7", 5900)]),
        ("unix:/run/vnc", [Address(path="/run/vnc")]),
        ("192.0.2.7:0", [Address("192.0.2.7", 0)]),
    ],
)
def test_where_native_viewers_are_listened_for(tmp_path, value, addresses):
    assert rfb_listen(tmp_path, value) == tuple(addresses)
    assert assembly.wanted(config(tmp_path, f"[consoleproxy]\nrfb_listen = {value}"))["rfb"] == tuple(addresses)


def test_a_relative_socket_lies_beside_the_configuration(tmp_path):
    assert rfb_listen(tmp_path, "unix:vnc") == (Address(path=str(tmp_path / "vnc")),)


def test_native_viewers_are_nowhere_by_default(tmp_path):
    assert config(tmp_path).rfb_listen == ()


@pytest.mark.parametrize(
    "value", ["5900", "192.0.2.7", "2001:db8::1:5900", "[::1]", "h:65536", "h:-1", "h:vnc", "unix:", "a:1, b", "[::1:1"]
)
def test_what_is_no_address(tmp_path, value):
    told = refused(tmp_path, f"[consoleproxy]\nrfb_listen = {value}")
    assert told.startswith("[consoleproxy] rfb_listen: '")
    assert told.endswith("is not an address; host:port, [IPv6]:port or unix:PATH is")


@pytest.mark.parametrize("text", ["192.0.2.7:5900", "[2001:db8::1]:5900", "unix:/run/vnc", "h:1"])
def test_an_address_is_printed_as_it_is_read(text):
    assert str(parse_address(text, "it")) == text


@pytest.mark.parametrize("name", ["spice_listen", "spice_tls_listen"])
def test_where_native_spice_viewers_are_listened_for(tmp_path, name):
    assert getattr(config(tmp_path), name) == ()
    found = getattr(config(tmp_path, f"[consoleproxy]\n{name} = [::1]:5930, unix:spice, [::1]:5930"), name)
    assert found == (Address("::1", 5930), Address(path=str(tmp_path / "spice")))
    told = refused(tmp_path, f"[consoleproxy]\n{name} = 5930")
    assert told == f"[consoleproxy] {name}: '5930' is not an address; host:port, [IPv6]:port or unix:PATH is"


@pytest.mark.parametrize(
    ("name", "enabled"),
    [("rfb_listen", "[vnc]"), ("spice_tls_listen", "[vnc]\nenabled = False\n[spice]\nenabled = True")],
)
def test_native_viewers_need_a_certificate(tmp_path, name, enabled):
    def judge(config):
        assembly.check_tls(assembly.wanted(config), has_tls=assembly.tls(config) is not None)

    text = f"{enabled}\n[consoleproxy]\n{name} = 127.0.0.1:5900"
    assert refused(tmp_path, text, judge) == f"[consoleproxy] {name} needs a certificate: set [DEFAULT] cert"
    certificate(tmp_path / "self.pem", tmp_path / "self.pem")
    judge(config(tmp_path, text))


@pytest.mark.parametrize(
    ("listen", "my_ip", "url"),
    [
        ("192.0.2.7:5900", "", "vnc://192.0.2.7:5900"),
        ("proxy.example:5900", "", "vnc://proxy.example:5900"),
        ("[2001:db8::1]:5900", "", "vnc://[2001:db8::1]:5900"),
        ("0.0.0.0:5900", "192.0.2.9", "vnc://192.0.2.9:5900"),
        ("[::]:5900", "192.0.2.9", "vnc://192.0.2.9:5900"),
        (":5900", "192.0.2.9", "vnc://192.0.2.9:5900"),
        ("0.0.0.0:5900", "2001:db8::9", "vnc://[2001:db8::9]:5900"),
        ("0.0.0.0:5900", "", "vnc://127.0.0.1:5900"),
        ("unix:/run/vnc, 192.0.2.7:5901, 192.0.2.8:5902", "", "vnc://192.0.2.7:5901"),
    ],
)
def test_the_url_of_consoles_for_native_viewers(tmp_path, listen, my_ip, url):
    text = f"[DEFAULT]\nmy_ip = {my_ip}\n" if my_ip else ""
    assert config(tmp_path, f"{text}[consoleproxy]\nrfb_listen = {listen}").base_url("vnc-direct") == url


@pytest.mark.parametrize("listen", ["", "unix:/run/vnc"])
def test_without_a_port_there_is_no_such_url(tmp_path, listen):
    told = refused(tmp_path, f"[consoleproxy]\nrfb_listen = {listen}", lambda config: config.base_url("vnc-direct"))
    assert told == "console type 'vnc-direct' needs a host and port in [consoleproxy] rfb_listen"


# SPICE


def test_spice_has_novas_defaults(tmp_path):
    read = config(tmp_path)
    assert read.addresses("spice", "html5proxy") == (Address("0.0.0.0", 6082),)
    assert read.flag("spice", "agent_enabled")
    assert not read.flag("spice", "require_secure")
    assert read.text("consoleproxy", "spice_second_main") == "refuse"
    for group in ("vnc", "spice"):
        assert read.text(group, "keymap") == "en-us"
        assert read.text(group, "server_listen") == read.text(group, "server_proxyclient_address") == "127.0.0.1"


def test_old_names_of_novas(tmp_path):
    read = config(
        tmp_path,
        "[DEFAULT]\nspicehtml5proxy_host = 192.0.2.1\nspicehtml5proxy_port = 7082\nvnc_keymap = de\n"
        "[vnc]\nvncserver_listen = 192.0.2.2\nvncserver_proxyclient_address = 192.0.2.3\n",
    )
    assert read.addresses("spice", "html5proxy") == (Address("192.0.2.1", 7082),)
    assert read.text("vnc", "keymap") == "de"
    assert read.text("vnc", "server_listen") == "192.0.2.2"
    assert read.text("vnc", "server_proxyclient_address") == "192.0.2.3"
    assert read.unknown == ()


def test_a_second_main_is_refused_or_takes_over(tmp_path):
    assert config(tmp_path, "[consoleproxy]\nspice_second_main = take-over")["consoleproxy", "spice_second_main"]
    told = refused(tmp_path, "[consoleproxy]\nspice_second_main = share")
    assert told.startswith("[consoleproxy] spice_second_main: ")


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ("", "http://127.0.0.1:6082/console.vv"),
        ("html5proxy_base_url = https://proxy.example/a/spice_auto.html?b=c#d", "https://proxy.example/console.vv"),
        ("html5proxy_base_url = http://[2001:db8::1]:7082", "http://[2001:db8::1]:7082/console.vv"),
        ("spice_direct_proxy_base_url = http://kerbside.example/nova", "http://kerbside.example/nova"),
        ("spice_direct_proxy_base_url = http://127.0.0.1:13002/nova", "http://127.0.0.1:13002/nova"),
    ],
)
def test_the_url_of_viewer_files(tmp_path, options, url):
    assert config(tmp_path, f"[spice]\n{options}").base_url("spice-direct") == url


def test_a_url_of_viewer_files_that_is_none(tmp_path):
    told = refused(tmp_path, "[spice]\nspice_direct_proxy_base_url = kerbside")
    assert told == "[spice] spice_direct_proxy_base_url: 'kerbside' is not a URL"


@pytest.mark.parametrize("option", ["[vnc]\nnovncproxy_base_url", "[spice]\nhtml5proxy_base_url"])
@pytest.mark.parametrize(
    "url", ["", "proxy.example", "http://", "http://:6080/", "http://h:port/", "http://h:70000/", "http://[::1:6080/"]
)
def test_what_is_no_base_url(tmp_path, option, url):
    group, name = option.split("\n")
    assert refused(tmp_path, f"{option} = {url}") == f"{group} {name}: {url!r} is not a URL"


def test_another_process_is_told_all_options_whatever_the_files_are_by_then(tmp_path):
    file = tmp_path / "a.conf"
    file.write_text(
        "[DEFAULT]\nstate_path = there\n[vnc]\nnovncproxy_base_url = http://h:1/$$x\\$y\n"
        "[console]\nallowed_origins = a.example,b.example\n[consoleproxy]\ntrusted_proxies = 10.0.0.0/8\n"
        "idle_timeout_s = 0.5\n[keystone_authtoken]\npassword = a$$b\\$c\n"
    )
    config = Config([str(file)], base=tmp_path)
    file.unlink()
    told = Config.of_told(json.loads(json.dumps(config.as_told())))
    for group, options in GROUPS.items():
        for option in options:
            assert told[group, option.dest] == config[group, option.dest], (group, option.dest)
            assert told.is_set(group, option.dest) == config.is_set(group, option.dest)
    assert told.base == tmp_path
    assert told["consoleauth", "connection"] == f"sqlite:///{tmp_path}/there/consoleproxy.sqlite"
    assert told.trusted_proxies == config.trusted_proxies != ()
    assert told.keystone_login == config.keystone_login


def test_some_options_may_stay_as_they_were(tmp_path):
    before, after = tmp_path / "before.conf", tmp_path / "after.conf"
    before.write_text("[vnc]\nnovncproxy_port = 1\n[consoleproxy]\nidle_timeout_s = 1\n")
    after.write_text("[vnc]\nnovncproxy_port = 2\nxvpvncproxy_port = 3\n[consoleproxy]\nidle_timeout_s = 2\n")
    names = [("vnc", "novncproxy_port"), ("vnc", "xvpvncproxy_port")]
    mixed = Config([str(after)]).with_those_of(Config([str(before)]), names)
    assert mixed["vnc", "novncproxy_port"] == 1
    assert mixed.is_set("vnc", "novncproxy_port")
    assert mixed["vnc", "xvpvncproxy_port"] == 6081
    assert not mixed.is_set("vnc", "xvpvncproxy_port")
    assert mixed["consoleproxy", "idle_timeout_s"] == 2


def test_there_is_a_worker_for_each_core_unless_told_or_a_store_is_a_memory(tmp_path, monkeypatch):
    def workers(options):
        file = tmp_path / "nova.conf"
        file.write_text(options)
        return number.workers(Config([str(file)]))

    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5})
    assert workers("") == 3
    assert workers("[consoleproxy]\nworkers = 1") == 1
    assert workers("[consoleproxy]\nworkers = 7") == 7
    assert workers("[consoleauth]\nconnection = sqlite://\n[consoleproxy]\nworkers = 7") == 1
    assert workers("[consoleproxy]\nstate_connection = sqlite:///:memory:") == 1
    with pytest.raises(ConfigError, match=r"\[consoleproxy\] workers: .*1"):
        workers("[consoleproxy]\nworkers = 0")
