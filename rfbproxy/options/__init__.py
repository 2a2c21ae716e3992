"""Every option: nova's that concern consoles, under nova's names and their old names, and ours in `[consoleproxy]`.

What an option does here stands in its help, which `docs/reference/options.md` repeats. They are listed in `nova`,
`own` and `keystone`, of the `kinds` that they share; `retired` has what nova had and is read no more, and `names`
judges the names that stand in files. All of it needs oslo.config, which takes long to import: who is told the options
by another process does without.
"""

from oslo_config import cfg

from rfbproxy.options.keystone import KEYSTONE_AUTHTOKEN
from rfbproxy.options.nova import CONSOLE, CONSOLEAUTH, DEFAULT, SPICE, VMWARE, VNC
from rfbproxy.options.own import CONSOLEPROXY

__all__ = ["GROUPS", "SHARED_GROUPS"]

GROUPS: dict[str, list[cfg.Opt]] = {
    "DEFAULT": DEFAULT,
    "vnc": VNC,
    "spice": SPICE,
    "consoleauth": CONSOLEAUTH,
    "console": CONSOLE,
    "vmware": VMWARE,
    "consoleproxy": CONSOLEPROXY,
    "keystone_authtoken": KEYSTONE_AUTHTOKEN,
}

# Groups that have options of other programs too, so that a name that is unknown here says nothing.
SHARED_GROUPS = frozenset({"DEFAULT", "vmware", "keystone_authtoken"})
