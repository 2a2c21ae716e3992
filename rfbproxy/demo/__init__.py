"""A desktop of our own behind a small RFB server, so that a console can be tried, and tested, without a machine.

`Desktop` is the model without I/O; `DemoServer` puts it on the network. Imported by the command
(`consoleproxy demo`) and by tests; imports `rfbproxy.rfb`, `rfbproxy.wire`, `rfbproxy.errors` and `rfbproxy.secret`,
and Twisted in `rfb_server` and `login` alone.
"""

from rfbproxy.demo.desktop import Desktop
from rfbproxy.demo.rfb_server import DemoServer

__all__ = ["DemoServer", "Desktop"]
