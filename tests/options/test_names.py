import pytest

from rfbproxy.config import Config
from rfbproxy.options import GROUPS
from rfbproxy.options.names import meant_by, remarks
from rfbproxy.options.retired import RETIRED, RETIRED_GROUPS, UNUSED_BY_THE_SERVICE
from rfbproxy.written import Finding, Written

# nova/conf of today's nova and of all since Liberty, and older option tables: what concerns consoles.
NOVA = {
    "DEFAULT": """
        daemon key cert record source_is_ipv6 ssl_only web state_path my_ip pybasedir
        novncproxy_host novncproxy_port novncproxy_base_url xvpvncproxy_host xvpvncproxy_port xvpvncproxy_base_url
        vnc_enabled vnc_keymap vncserver_listen vncserver_proxyclient_address
        spicehtml5proxy_host spicehtml5proxy_port
        console_token_ttl console_allowed_origins consoleauth_manager consoleauth_topic
        console_driver console_manager console_public_hostname console_topic console_host stub_compute
        console_vmrc_port console_vmrc_error_retries
        console_xvp_conf console_xvp_conf_template console_xvp_log console_xvp_multiplex_port console_xvp_pid
    """,
    "vnc": """
        enabled keymap vnc_keymap server_listen vncserver_listen server_proxyclient_address
        vncserver_proxyclient_address novncproxy_host novncproxy_port novncproxy_base_url
        xvpvncproxy_host xvpvncproxy_port xvpvncproxy_base_url
        auth_schemes vencrypt_client_key vencrypt_client_cert vencrypt_ca_certs
    """,
    "spice": """
        enabled agent_enabled html5proxy_host html5proxy_port html5proxy_base_url spice_direct_proxy_base_url
        server_listen server_proxyclient_address keymap require_secure
        image_compression jpeg_compression zlib_compression playback_compression streaming_mode
    """,
    "consoleauth": "token_ttl enforce_session_timeout",
    "console": "allowed_origins ssl_ciphers ssl_minimum_version",
    "vmware": """
        vnc_port vnc_port_total vnc_keymap vnc_password console_delay_seconds
        serial_port_service_uri serial_port_proxy_uri serial_log_dir
    """,
    "xvp": """
        console_xvp_conf console_xvp_conf_template console_xvp_log console_xvp_multiplex_port console_xvp_pid
    """,
    "xenserver": "console_public_hostname",
    "upgrade_levels": "console consoleauth",
    "workarounds": "enable_consoleauth",
    "serial_console": """
        enabled base_url port_range proxyclient_address serialproxy_host serialproxy_port
    """,
    "mks": "enabled mksproxy_base_url",
    "rdp": "enabled html5_proxy_base_url",
}


def current(group):
    return {option.dest for option in GROUPS.get(group, [])}


@pytest.mark.parametrize("name", [f"{group} {name}" for group, names in NOVA.items() for name in names.split()])
def test_every_console_option_of_nova_is_read_or_has_a_reason(name):
    group, name = name.split()
    said = [finding.says for finding in remarks([Written(group, name, "nova.conf")])]
    assert len(said) <= 1
    assert "\n" not in "".join(said)
    if name not in current(group):
        assert said, "it is neither read nor told of"
        assert said[0].startswith(("used; its new name is [", "not needed: ", "not used: "))


def test_what_is_read_no_more_is_not_read():
    for group, names in RETIRED.items():
        assert not current(group) & set(names)
    assert not set(GROUPS) & set(RETIRED_GROUPS)
    assert all(name in current(group) for group, name in UNUSED_BY_THE_SERVICE)


def test_reasons_are_lines():
    reasons = [why for names in RETIRED.values() for why in names.values()]
    for why in [*reasons, *RETIRED_GROUPS.values(), *UNUSED_BY_THE_SERVICE.values()]:
        assert 10 < len(why) < 100
        assert not why.endswith(".")


def read(tmp_path, *files):
    """Files of these texts, the first `0.conf`."""
    for index, text in enumerate(files):
        (tmp_path / f"{index}.conf").write_text(text)
    return Config([str(tmp_path / f"{index}.conf") for index in range(len(files))])


def unknown(tmp_path, text):
    return [str(each) for each in read(tmp_path, text).unknown]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[vnc]\nnovncproxy_prt = 1", ["[vnc] novncproxy_prt"]),
        ("[VNC]\nnovncproxy_prt = 1", ["[vnc] novncproxy_prt"]),  # oslo.config takes it for [vnc]
        ("[vnc]\nnovncproxy-port = 1", ["[vnc] novncproxy-port"]),  # which oslo.config does not read
        ("[vnc]\nvnc_enabled = False", ["[vnc] vnc_enabled"]),  # the old name was in [DEFAULT]
        ("[consoleproxy]\na = 1\nb = 2", ["[consoleproxy] a", "[consoleproxy] b"]),
        ("[spice]\na=\n[console]\na=\n[consoleauth]\na=", ["[spice] a", "[console] a", "[consoleauth] a"]),
        ("[DEFAULT]\nrpc_backend = rabbit\n[vmware]\nhost_ip = vcenter\n[libvirt]\na = b\n[serial_console]\na = b", []),
        ("[vnc]\nvncserver_listen = ::\n[xvp]\na = b", []),
    ],
)
def test_unknown_names_in_groups_of_ours(tmp_path, text, names):
    assert unknown(tmp_path, text) == names


@pytest.mark.parametrize(
    ("name", "meant"), [("novncproxy_prt", "[vnc] novncproxy_port"), ("keymaps", "[vnc] keymap"), ("zzz", None)]
)
def test_what_is_meant(name, meant):
    assert meant_by(Written("vnc", name, "nova.conf")) == meant


def told(config):
    return [str(finding) for finding in remarks(config.written)]


def test_an_old_name_is_told_with_its_new_one(tmp_path):
    config = read(tmp_path, "[DEFAULT]\nvnc_enabled = False\nconsole_token_ttl = 5\n")
    assert not config.flag("vnc", "enabled")
    assert told(config) == [
        "[DEFAULT] vnc_enabled: used; its new name is [vnc] enabled",
        "[DEFAULT] console_token_ttl: used; its new name is [consoleauth] token_ttl",
    ]


def test_an_old_name_beside_its_new_one(tmp_path):
    config = read(tmp_path, "[DEFAULT]\nvnc_enabled = False\n[vnc]\nenabled = True\n")
    assert config.flag("vnc", "enabled")
    assert told(config) == [
        f"[DEFAULT] vnc_enabled: not used: [vnc] enabled is its new name, and stands in {tmp_path}/0.conf"
    ]


def test_an_old_name_in_a_later_file_wins(tmp_path):
    config = read(tmp_path, "[vnc]\nenabled = True\n", "[DEFAULT]\nvnc_enabled = False\n")
    assert not config.flag("vnc", "enabled")
    assert told(config) == ["[DEFAULT] vnc_enabled: used; its new name is [vnc] enabled"]


def test_each_name_is_told_once(tmp_path):
    config = read(
        tmp_path, "[rdp]\nenabled = True\n", "[rdp]\nenabled = False\n[vnc]\nserver_proxyclient_address = ::\n"
    )
    assert told(config) == [
        f"[rdp] enabled: not needed: {RETIRED_GROUPS['rdp']}",
        f"[vnc] server_proxyclient_address: not used: {UNUSED_BY_THE_SERVICE['vnc', 'server_proxyclient_address']}",
    ]


def test_a_finding_is_a_line():
    assert str(Finding("[vnc] keymap", "is nice")) == "[vnc] keymap: is nice"
    assert str(Finding(None, "is nice")) == "is nice"
