from xml.etree import ElementTree

import pytest

from rfbproxy.config import Config
from rfbproxy.errors import ConfigError
from rfbproxy.graphics_xml import graphics_xml


def config(tmp_path, options=""):
    (tmp_path / "nova.conf").write_text(options)
    return Config([str(tmp_path / "nova.conf")])


def test_vnc(tmp_path):
    assert graphics_xml(config(tmp_path), "vnc") == (
        '<graphics type="vnc" autoport="yes" keymap="en-us" listen="127.0.0.1">\n'
        '  <listen type="address" address="127.0.0.1" />\n'
        "</graphics>"
    )


def test_spice(tmp_path):
    assert graphics_xml(config(tmp_path), "spice") == (
        '<graphics type="spice" autoport="yes" keymap="en-us" listen="127.0.0.1">\n'
        '  <listen type="address" address="127.0.0.1" />\n'
        "</graphics>\n"
        '<channel type="spicevmc">\n'
        '  <target type="virtio" name="com.redhat.spice.0" />\n'
        "</channel>"
    )


def test_spice_by_tls_alone(tmp_path):
    made = graphics_xml(config(tmp_path, "[spice]\nrequire_secure = True"), "spice")
    assert ElementTree.fromstring(f"<devices>{made}</devices>").find("graphics").get("defaultMode") == "secure"


def test_each_protocol_has_its_own_options(tmp_path):
    read = config(tmp_path, "[spice]\nkeymap = de\nserver_listen = [2001:db8::1]\nagent_enabled = False\n")
    assert 'keymap="en-us" listen="127.0.0.1"' in graphics_xml(read, "vnc")
    assert graphics_xml(read, "spice") == (
        '<graphics type="spice" autoport="yes" keymap="de" listen="2001:db8::1">\n'
        '  <listen type="address" address="2001:db8::1" />\n'
        "</graphics>"
    )


def test_the_seeds_options(tmp_path):
    read = config(tmp_path, "[DEFAULT]\nvncserver_listen=0.0.0.0\n")
    assert graphics_xml(read, "vnc").startswith('<graphics type="vnc" autoport="yes" keymap="en-us" listen="0.0.0.0">')


def test_how_spice_machines_compress(tmp_path):
    options = "image_compression = auto_glz\njpeg_compression = never\nzlib_compression = always\n"
    options += "playback_compression = False\nstreaming_mode = filter\nagent_enabled = False\n"
    read = config(tmp_path, f"[spice]\n{options}")
    assert graphics_xml(read, "spice").split("\n")[2:] == [
        '  <image compression="auto_glz" />',
        '  <jpeg compression="never" />',
        '  <zlib compression="always" />',
        '  <playback compression="off" />',
        '  <streaming mode="filter" />',
        "</graphics>",
    ]
    assert graphics_xml(read, "vnc") == graphics_xml(config(tmp_path), "vnc")


def test_empty_options_say_nothing(tmp_path):
    read = config(tmp_path, "[vnc]\nkeymap =\nserver_listen =\n")
    assert graphics_xml(read, "vnc") == '<graphics type="vnc" autoport="yes" />'


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("keymap = en us", "[spice] keymap: 'en us' is nothing that libvirt takes; en-us is"),
        ("keymap = \"'><x/>", "[spice] keymap: "),
        ("server_listen = a b", "[spice] server_listen: 'a b' is nothing that libvirt takes; 127.0.0.1, ::1 or"),
        ("server_listen = node1:5900", "[spice] server_listen: 'node1:5900' is not a host"),
    ],
)
def test_what_libvirt_would_not_take(tmp_path, option, told):
    with pytest.raises(ConfigError) as raised:
        graphics_xml(config(tmp_path, f"[spice]\n{option}"), "spice")
    assert str(raised.value).startswith(told)
