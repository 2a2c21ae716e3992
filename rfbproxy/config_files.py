"""Reading `nova.conf` and its like with oslo.config, which knows nova's types, old names and ways to name a file."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from rfbproxy.errors import ConfigError
from rfbproxy.options import GROUPS
from rfbproxy.options.names import unknown, written_in
from rfbproxy.written import Written

logging.getLogger("oslo_config").setLevel(logging.ERROR)  # old names are welcome here, and not worth a warning

Name = tuple[str, str]  # of an option, after that of its group


@dataclass(frozen=True, slots=True)
class Options:
    """What stands in files, and the defaults of what does not.

    Attributes:
        is_set: what stands there.
        written: the names that stand there, ours or not.
        unknown: those of them, in groups of ours, that nobody reads.
    """

    values: dict[Name, object]
    is_set: set[Name]
    written: tuple[Written, ...]
    unknown: tuple[Written, ...]


def read(files: Sequence[str], folders: Sequence[str], base: Path) -> Options:
    """All options, each of its type.

    Args:
        folders: of `*.conf` files.
        base: what a relative `state_path` starts from.

    Raises:
        ConfigError: a file cannot be read, or an option's value cannot be used; one line that names it.
    """
    arguments = [f"--config-file={file}" for file in files] + [f"--config-dir={folder}" for folder in folders]
    try:
        values, is_set = _parse(arguments, base)
    except (cfg.Error, ValueError, OSError) as error:
        raise ConfigError(" ".join(str(error).split())) from error
    written = tuple(written_in([*files, *(str(p) for f in folders for p in sorted(Path(f).glob("[!.]*.conf")))]))
    return Options(values, is_set, written, tuple(unknown(written)))


def _parse(arguments: Sequence[str], base: Path) -> tuple[dict[Name, object], set[Name]]:
    conf = cfg.ConfigOpts()
    for group, options in GROUPS.items():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)
    conf(arguments, project="consoleproxy", default_config_files=[], default_config_dirs=[])
    # Again with its absolute value: other options may contain it.
    conf.set_override("state_path", str(base / conf.state_path))
    values: dict[Name, object] = {}
    is_set = set()
    for group, options in GROUPS.items():
        for option in options:
            name = option.dest
            try:
                values[group, name] = conf[name] if group == "DEFAULT" else conf[group][name]
            except cfg.Error as error:  # its text names the file in a form not meant for people, or no option
                told = error.__context__ if isinstance(error.__context__, cfg.Error) else error
                why = str(told).partition(" is not valid: ")[2] or str(told)
                raise ConfigError(f"[{group}] {name}: {' '.join(why.split())}") from error
            where = conf.get_location(name, None if group == "DEFAULT" else group)
            if where is not None and where.location is not cfg.Locations.opt_default:
                is_set.add((group, name))
    return values, is_set
