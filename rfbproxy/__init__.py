"""A console proxy that understands the protocols it relays.

It stands between people (browsers, VNC viewers) and the RFB servers of virtual machines on private hosts.
Imports run one way: `rfb`, `spice` and `websocket` know only `wire` and `errors`; `client`, `target` and `consoleauth`
know nothing of each other; `session` joins them; `service` assembles; `cli` and the twistd plugin are the doors from
outside.
"""

__version__ = "0.1.0"
