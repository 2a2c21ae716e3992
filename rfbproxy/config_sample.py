"""`consoleproxy config sample`: a configuration file with every option at its default, all of it comments."""

from collections.abc import Iterator
from textwrap import wrap

from oslo_config import cfg

from rfbproxy.options import GROUPS

WIDTH = 100


def config_sample() -> str:
    """The file; taken out of its comment, every line is one that can be used."""
    lines = ["# Every option of consoleproxy, at its default.", ""]
    for group, options in GROUPS.items():
        lines += [f"[{group}]", ""]
        for option in options:
            lines += [*_comment(option), f"#{option.dest} = {_value(option)}".rstrip(), ""]
    return "\n".join(lines).rstrip()


def _comment(option: cfg.Opt) -> Iterator[str]:
    for line in wrap(option.help, WIDTH - 2):
        yield f"# {line}"
    choices = _choices(option.type)
    if choices:
        several = isinstance(option, cfg.ListOpt)
        yield f"# {'Any of' if several else 'One of'}: {', '.join(choices)}"
    if option.default is None:
        yield "# Unset by default."
    for old in option.deprecated_opts:
        yield f"# Old name: [{old.group}] {old.name}"


def _value(option: cfg.Opt) -> str:
    """The default; of what is unset, something that could stand there."""
    if isinstance(option.default, list):
        return ",".join(option.default)
    if option.default is not None:
        return str(option.default)
    if isinstance(option, cfg.BoolOpt):
        return "True"
    return next(iter(_choices(option.type)), "")


def _choices(of: object) -> list[str]:
    """The words that a type, or the type of a list's items, allows alone."""
    found = getattr(getattr(of, "item_type", None) or of, "choices", None)
    return [str(choice) for choice in found or []]
