"""`twistd consoleproxy`."""

from twisted.application.service import ServiceMaker

consoleproxy = ServiceMaker(
    "consoleproxy", "rfbproxy.tap", "A console proxy for VNC: browsers to the consoles of machines.", "consoleproxy"
)
