"""What a machine's domain XML says of its console, as nova's libvirt driver writes it (nova/virt/libvirt/config.py)."""

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from rfbproxy.address import parse_host
from rfbproxy.config import Config
from rfbproxy.errors import ConfigError


def graphics_xml(config: Config, protocol: str) -> str:
    """What stands in `<devices>`, for `vnc` or `spice`: one element after another, without an end of line.

    Raises:
        ConfigError: `keymap` or `server_listen` cannot be used.
    """
    elements = [_graphics(config, protocol)]
    if protocol == "spice" and config.flag("spice", "agent_enabled"):
        elements.append(_agent_channel())
    return "\n".join(_text(element) for element in elements)


def _graphics(config: Config, protocol: str) -> Element:
    graphics = Element("graphics", type=protocol, autoport="yes")
    if protocol == "spice" and config.flag("spice", "require_secure"):
        graphics.set("defaultMode", "secure")
    if keymap := config.text(protocol, "keymap"):
        graphics.set("keymap", _matching("[A-Za-z0-9_-]+", keymap, f"[{protocol}] keymap", "en-us"))
    if listen := config.text(protocol, "server_listen"):
        option = f"[{protocol}] server_listen"
        address = _matching("[A-Za-z0-9.:-]+", parse_host(listen, option), option, "127.0.0.1, ::1 or node1.example")
        graphics.set("listen", address)
        SubElement(graphics, "listen", type="address", address=address)
    if protocol == "spice":
        _add_compression(config, graphics)
    return graphics


def _add_compression(config: Config, graphics: Element) -> None:
    """What is unset is left to QEMU."""
    for kind in ("image", "jpeg", "zlib"):
        if how := config.text("spice", f"{kind}_compression"):
            SubElement(graphics, kind, compression=how)
    if config["spice", "playback_compression"] is not None:
        SubElement(graphics, "playback", compression="on" if config.flag("spice", "playback_compression") else "off")
    if mode := config.text("spice", "streaming_mode"):
        SubElement(graphics, "streaming", mode=mode)


def _agent_channel() -> Element:
    """By which the guest's agent is reached: clipboard, files, screen sizes."""
    channel = Element("channel", type="spicevmc")
    SubElement(channel, "target", type="virtio", name="com.redhat.spice.0")
    return channel


def _matching(pattern: str, value: str, option: str, example: str) -> str:
    """The value, where libvirt takes it (schemas/domaincommon.rng, basictypes.rng)."""
    if not re.fullmatch(pattern, value):
        raise ConfigError(f"{option}: {value!r} is nothing that libvirt takes; {example} is")
    return value


def _text(element: Element) -> str:
    indent(element)
    return tostring(element, encoding="unicode")
