"""`graphics-xml`: libvirt's XML of a machine's console."""

import argparse

from rfbproxy.cli.subcommands import Subcommands
from rfbproxy.config import Config


def add_to(commands: Subcommands) -> None:
    """Add the command."""
    what = "print libvirt's XML for machines with such a console"
    commands.add("graphics-xml", _graphics_xml, what).add_argument("protocol", choices=["vnc", "spice"])


def _graphics_xml(parsed: argparse.Namespace, config: Config) -> object:
    from rfbproxy.graphics_xml import graphics_xml

    xml = graphics_xml(config, parsed.protocol)
    return {"xml": xml} if parsed.json else xml
