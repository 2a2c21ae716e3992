"""What of nova's console options is read no more, old names and old services included: for each why, in one line.

What is read stands in `rfbproxy.options`, its old names with it. Sources: nova/conf/*.py of all releases, the option
tables of the Liberty manual, and what older releases had in nova/console, nova/consoleauth and nova/virt/vmwareapi.
"""

_NO_RPC = "tokens are looked up in their database; nobody is asked over the message queue"
_NO_CONSOLEAUTH = "there is no nova-consoleauth: tokens are looked up in [consoleauth] connection"
_NO_NOVA_CONSOLE = "nova-console and XenServer's own proxy (xvp) went with nova 21; their consoles are not served"
_NO_AJAX = "the Ajax console is long gone from nova; it is not served"
_NO_VMRC = "VMware's own remote console (VMRC) is long gone from nova; it is not served"
_LOG = "the log goes to the journal, or to the file that --logfile names"
_SERIAL = "serial consoles are not served; keep nova-serialproxy for them"
_MACHINES = "nova-compute writes it into the machine's configuration; the proxy has no use for it"

_XVP = dict.fromkeys(
    [
        "console_xvp_conf_template",
        "console_xvp_conf",
        "console_xvp_pid",
        "console_xvp_log",
        "console_xvp_multiplex_port",
    ],
    _NO_NOVA_CONSOLE,
)

# Group, then name with underscores.
RETIRED: dict[str, dict[str, str]] = {
    "DEFAULT": {
        **_XVP,
        "console_driver": _NO_NOVA_CONSOLE,
        "console_manager": _NO_NOVA_CONSOLE,
        "console_public_hostname": _NO_NOVA_CONSOLE,
        "console_topic": _NO_RPC,
        "console_host": "nova-compute tells it to nova-console; access URLs begin with novncproxy_base_url",
        "console_vmrc_port": _NO_VMRC,
        "console_vmrc_error_retries": _NO_VMRC,
        "stub_compute": "it was for nova-console's own tests",
        "consoleauth_manager": _NO_CONSOLEAUTH,
        "consoleauth_topic": _NO_RPC,
        "vncproxy_topic": _NO_RPC,
        "ajax_console_proxy_port": _NO_AJAX,
        "ajax_console_proxy_topic": _NO_AJAX,
        "ajax_console_proxy_url": _NO_AJAX,
        "memcached_servers": "tokens are in a database that all proxies share, not in a cache",
        "debug": "the log has one level; a visit stands in it under one id from its beginning to its end",
        "log_dir": _LOG,
        "log_file": _LOG,
        "use_syslog": _LOG,
    },
    "vmware": {
        "vnc_keymap": _MACHINES,
        "console_delay_seconds": _MACHINES,
        "vnc_password": "a password belongs to one console: console create --password-file",
        "serial_port_service_uri": _SERIAL,
        "serial_port_proxy_uri": _SERIAL,
        "serial_log_dir": _SERIAL,
    },
    "xvp": _XVP,
    "xenserver": {"console_public_hostname": _NO_NOVA_CONSOLE},
    "upgrade_levels": {"console": _NO_RPC, "consoleauth": _NO_RPC},
    "workarounds": {"enable_consoleauth": _NO_CONSOLEAUTH},
}

# Groups that are about consoles of other kinds, whatever stands in them.
RETIRED_GROUPS: dict[str, str] = {
    "serial_console": _SERIAL,
    "mks": "VMware's WebMKS consoles are not served",
    "rdp": "Hyper-V's RDP consoles went with nova 29; they are not served",
}

# What is read, and changes nothing here.
UNUSED_BY_THE_SERVICE: dict[tuple[str, str], str] = {
    ("vnc", "server_proxyclient_address"): "a token says where its machine is (console create --host)",
    ("spice", "server_proxyclient_address"): "a token says where its machine is (console create --host)",
}
