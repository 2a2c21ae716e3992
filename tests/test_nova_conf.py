"""`nova.conf` as it stands on real hosts: interpolation, folders of files, and the Liberty manual's two servers."""

import pytest
from oslo_config import cfg

from rfbproxy.address import Address
from rfbproxy.assembly import wanted
from rfbproxy.config import Config
from rfbproxy.config_check import as_text, check
from rfbproxy.consoleauth.sql import SqlStore
from rfbproxy.errors import ConfigError
from rfbproxy.graphics_xml import graphics_xml
from rfbproxy.issue import Console, issue
from rfbproxy.options import GROUPS


def read(tmp_path, text):
    (tmp_path / "nova.conf").write_text(text)
    return Config([str(tmp_path / "nova.conf")], base=tmp_path)


ADDRESSES = {
    "vnc": ["novncproxy_host", "xvpvncproxy_host", "server_listen", "server_proxyclient_address"],
    "spice": ["html5proxy_host", "server_listen", "server_proxyclient_address"],
}
URLS = {
    "vnc": ["novncproxy_base_url", "xvpvncproxy_base_url"],
    "spice": ["html5proxy_base_url", "spice_direct_proxy_base_url"],
}
LISTS = {"consoleproxy": ["rfb_listen", "spice_listen", "spice_tls_listen"]}
PATHS = {
    "DEFAULT": ["cert", "key", "record", "web"],
    "vnc": ["web", "vencrypt_ca_certs", "vencrypt_client_cert", "vencrypt_client_key"],
    "spice": ["web"],
    "consoleproxy": ["audit_log", "spice_ca_certs", "client_ca_certs"],
}
STORES = {"consoleauth": ["connection"], "consoleproxy": ["state_connection"]}
OTHERS = {  # tested for themselves, or no address and no path
    "DEFAULT": ["state_path", "my_ip", "pybasedir"],
    "vnc": ["keymap", "auth_schemes"],
    "spice": ["keymap"],
    "console": ["ssl_ciphers", "allowed_origins"],
    "consoleproxy": ["trusted_proxies", "vencrypt_subtypes", "unix_socket_mode"],
}


def options(of):
    return [(group, name) for group, names in of.items() for name in names]


def test_every_option_of_novas_that_is_text_stands_above():
    listed = {option for of in (ADDRESSES, URLS, LISTS, PATHS, STORES, OTHERS) for option in options(of)}
    text = {
        (group, option.dest)
        for group in ("DEFAULT", "vnc", "spice", "console")
        for option in GROUPS[group]
        if isinstance(option, cfg.StrOpt | cfg.ListOpt) and not option.type.__dict__.get("choices")
    }
    assert not text - listed, "say above what these name"


@pytest.mark.parametrize("of", [ADDRESSES, URLS, LISTS], ids=["addresses", "URLs", "lists"])
def test_my_ip_in_whatever_names_an_address(tmp_path, of):
    around = {id(ADDRESSES): "{}", id(URLS): "http://{}:7000/a", id(LISTS): "{}:7000, [::1]:7000"}[id(of)]
    for group, name in options(of):
        config = read(tmp_path, f"[{group}]\n{name} = {around.format('$my_ip')}\n[DEFAULT]\nmy_ip = 192.0.2.9\n")
        found = config[group, name]
        expected = around.format("192.0.2.9")
        assert found == (expected.split(", ") if of is LISTS else expected), name


def test_my_ip_may_be_trusted_and_is_a_host_that_is_listened_on(tmp_path):
    config = read(
        tmp_path,
        "[DEFAULT]\nmy_ip = 192.0.2.9\n[vnc]\nnovncproxy_host = $my_ip\n"
        "[consoleproxy]\ntrusted_proxies = ${my_ip}, ::1\n",
    )
    assert config.addresses("vnc", "novncproxy") == (Address("192.0.2.9", 6080),)
    assert [str(network) for network in config.trusted_proxies] == ["192.0.2.9/32", "::1/128"]


@pytest.mark.parametrize("option", options(PATHS), ids=" ".join)
def test_state_path_and_pybasedir_in_whatever_names_a_path(tmp_path, option):
    group, name = option
    for variable, folder in {"state_path": tmp_path / "state", "pybasedir": tmp_path / "py"}.items():
        section = "" if group == "DEFAULT" else f"[{group}]\n"
        config = read(
            tmp_path, f"[DEFAULT]\nstate_path = state\npybasedir = {tmp_path}/py\n{section}{name} = ${variable}/x\n"
        )
        assert config.path(group, name) == folder / "x"


@pytest.mark.parametrize("option", options(STORES), ids=" ".join)
def test_state_path_in_the_urls_of_stores(tmp_path, option):
    group, name = option
    config = read(tmp_path, f"[DEFAULT]\nstate_path = state\n[{group}]\n{name} = sqlite:///$state_path/x\n")
    assert config.text(group, name) == f"sqlite:///{tmp_path}/state/x"


def test_state_path_in_sockets(tmp_path):
    config = read(
        tmp_path,
        f"[DEFAULT]\nstate_path = {tmp_path}/s\n[vnc]\nnovncproxy_host = unix:$state_path/a\n"
        "[consoleproxy]\nrfb_listen = unix:$state_path/b\n",
    )
    assert wanted(config)["novncproxy"] == (Address(path=f"{tmp_path}/s/a"),)
    assert wanted(config)["rfb"] == (Address(path=f"{tmp_path}/s/b"),)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("$nowhere/x", "[DEFAULT] cert: no such option nowhere in group [DEFAULT]"),
        ("${nova.x}", "[DEFAULT] cert: no such group [nova]"),
        ("$my_ip.pem", "[DEFAULT] cert: no such group [my_ip]"),
    ],
)
def test_what_stands_for_nothing_is_told_with_its_option(tmp_path, value, told):
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, f"[DEFAULT]\ncert = {value}\n")
    assert str(raised.value) == told


# --config-dir


@pytest.fixture
def folder(tmp_path):
    """A folder of files as packages leave them, and others that are none."""
    folder = tmp_path / "nova.conf.d"
    folder.mkdir()
    (folder / "10-host.conf").write_text("[DEFAULT]\nmy_ip = 192.0.2.1\n[vnc]\nnovncproxy_port = 7000\nkeymap = de\n")
    (folder / "20-site.conf").write_text("[vnc]\nnovncproxy_port = 7001\nnovncproxy_host = $my_ip\nno_option = 1\n")
    for name in ("20-site.conf.dpkg-old", "README", ".hidden.conf"):
        (folder / name).write_text("[vnc]\nnovncproxy_port = 7002\nnone_either = 1\n")
    return folder


def test_files_of_a_folder_are_read_in_the_order_of_their_names(folder):
    config = Config([], [str(folder)])
    assert config.addresses("vnc", "novncproxy") == (Address("192.0.2.1", 7001),)
    assert [(str(each), each.file) for each in config.unknown] == [("[vnc] no_option", f"{folder}/20-site.conf")]


def test_folders_come_after_files(folder, tmp_path):
    (tmp_path / "nova.conf").write_text(
        "[DEFAULT]\nnovncproxy_port = 7003\n[vnc]\nkeymap = fr\nserver_listen = $my_ip\n"
    )
    config = Config([str(tmp_path / "nova.conf")], [str(folder)])
    assert config.number("vnc", "novncproxy_port") == 7001
    assert config.text("vnc", "keymap") == "de"
    assert config.text("vnc", "server_listen") == "192.0.2.1"


def test_a_relative_folder_starts_from_where_the_command_was_given(folder, tmp_path):
    config = Config([], ["nova.conf.d"], base=tmp_path)
    assert config.again().number("vnc", "novncproxy_port") == 7001


# The Liberty manual: PROXYSERVER (public_ip=172.24.1.1, management_ip=192.168.1.1) and COMPUTESERVER
# (management_ip=192.168.1.2)

COMPUTESERVER = """[DEFAULT]
# These flags help construct a connection data structure
vncserver_proxyclient_address=192.168.1.2
novncproxy_base_url=http://172.24.1.1:6080/vnc_auto.html
xvpvncproxy_base_url=http://172.24.1.1:6081/console
# This is the address where the underlying vncserver (not the proxy)
# will listen for connections.
vncserver_listen=192.168.1.2
"""
PROXYSERVER = "[DEFAULT]\nmy_ip=192.168.1.1\nnovncproxy_host=0.0.0.0\nxvpvncproxy_host=0.0.0.0\n"
TODAY = """[vnc]
server_proxyclient_address=192.168.1.2
novncproxy_base_url=http://172.24.1.1:6080/vnc_auto.html
xvpvncproxy_base_url=http://172.24.1.1:6081/console
server_listen=192.168.1.2
"""


@pytest.mark.parametrize("text", [COMPUTESERVER, TODAY], ids=["Liberty", "today"])
def test_machines_of_the_compute_server_listen_where_it_says(tmp_path, text):
    assert graphics_xml(read(tmp_path, text), "vnc") == (
        '<graphics type="vnc" autoport="yes" keymap="en-us" listen="192.168.1.2">\n'
        '  <listen type="address" address="192.168.1.2" />\n'
        "</graphics>"
    )


@pytest.mark.parametrize("text", [COMPUTESERVER, TODAY], ids=["Liberty", "today"])
@pytest.mark.parametrize(
    ("console_type", "url"),
    [
        ("novnc", "http://172.24.1.1:6080/vnc_auto.html?path=%3Ftoken%3D{}"),
        ("xvpvnc", "http://172.24.1.1:6081/console?token={}"),
    ],
)
def test_access_urls_name_the_proxy_and_tokens_the_compute_server(tmp_path, text, console_type, url):
    config, store = read(tmp_path, text), SqlStore("sqlite://")
    store.open()
    host = config.text("vnc", "server_proxyclient_address")
    issued = issue(store, Console(console_type, host, 5900), base=config.base_url(console_type), ttl=600, now=0)
    token = issued.token.reveal()
    assert issued.url.reveal() == url.format(token)
    found = store.find(token)
    assert (found.host, found.port) == ("192.168.1.2", 5900)


def test_the_proxy_server_listens_for_everybody(tmp_path):
    everywhere = wanted(read(tmp_path, PROXYSERVER))
    assert everywhere["novncproxy"] == (Address("0.0.0.0", 6080),)
    assert everywhere["xvpvncproxy"] == (Address("0.0.0.0", 6081),)


def test_for_spice_the_same_in_its_own_group(tmp_path):
    config = read(
        tmp_path,
        "[vnc]\nenabled = False\n[spice]\nenabled = True\nserver_listen = 192.168.1.2\n"
        "server_proxyclient_address = 192.168.1.2\nhtml5proxy_base_url = http://172.24.1.1:6082/spice_auto.html\n",
    )
    assert 'listen="192.168.1.2"' in graphics_xml(config, "spice")
    assert config.base_url("spice-html5") == "http://172.24.1.1:6082/spice_auto.html"
    assert config.base_url("spice-direct") == "http://172.24.1.1:6082/console.vv"
    assert wanted(config)["html5proxy"] == (Address("0.0.0.0", 6082),)


def test_for_live_migration_machines_listen_everywhere(tmp_path):
    xml = graphics_xml(read(tmp_path, "[DEFAULT]\nvncserver_listen=0.0.0.0\n"), "vnc")
    assert 'type="vnc" autoport="yes" keymap="en-us" listen="0.0.0.0"' in xml


@pytest.mark.parametrize("text", [COMPUTESERVER, TODAY, PROXYSERVER], ids=["Liberty", "today", "proxy"])
def test_the_manuals_options_can_be_used(tmp_path, text):
    findings = check(read(tmp_path, f"{text}\n[DEFAULT]\nstate_path = {tmp_path}/state\n"))
    assert as_text(findings).endswith("the configuration is usable")
    assert all("not needed" not in finding.says for finding in findings)
