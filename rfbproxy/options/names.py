"""The names in configuration files: which are nova's old ones, which are read no more, and which are unknown.

oslo.config takes a file for what it registered and keeps quiet about the rest; here the rest is told.
"""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from oslo_config import cfg

from rfbproxy.options import GROUPS, SHARED_GROUPS
from rfbproxy.options.retired import RETIRED, RETIRED_GROUPS, UNUSED_BY_THE_SERVICE
from rfbproxy.written import Finding, Written


def written_in(files: Iterable[str]) -> Iterator[Written]:
    """Every name in every group of these files, in their order.

    Raises:
        oslo_config.cfg.ParseError, OSError: a file cannot be read.
    """
    for file in files:
        sections: dict[str, dict[str, object]] = {}
        cfg.ConfigParser(file, sections).parse()
        for section, names in sections.items():
            group = section if section == "DEFAULT" else section.lower()  # as oslo.config does
            yield from (Written(group, name, file) for name in names)


def unknown(written: Iterable[Written]) -> Iterator[Written]:
    """Names that nobody reads, in the groups that are ours to know: probably misspelt."""
    for each in written:
        group, name = each.key
        known = {*_current(group), *(old for at, old in _OLD if at == group), *RETIRED.get(group, {})}
        if group in GROUPS and group not in SHARED_GROUPS and name not in known:
            yield each


def meant_by(unknown: Written) -> str | None:
    """The option whose name is nearest to a misspelt one, if any is near."""
    near = get_close_matches(unknown.key[1], _current(unknown.group), 1)
    return f"[{unknown.group}] {near[0]}" if near else None


def remarks(written: Sequence[Written]) -> Iterator[Finding]:
    """What is to be said of nova's names: old, read no more, or used by others alone; each once.

    Args:
        written: in the order of the files, of which the later win.
    """
    last = {each.key: each for each in written}
    order = {file: place for place, file in enumerate(dict.fromkeys(each.file for each in written))}
    for each in last.values():
        new = last.get(_OLD.get(each.key, ("", "")))
        if new is not None and order[new.file] >= order[each.file]:
            yield Finding(str(each), f"not used: {new} is its new name, and stands in {new.file}")
        elif (says := _remark(each.key)) is not None:
            yield Finding(str(each), says)


def _remark(key: tuple[str, str]) -> str | None:
    group, name = key
    if (why := RETIRED_GROUPS.get(group) or RETIRED.get(group, {}).get(name)) is not None:
        return f"not needed: {why}"
    new = _OLD.get(key, key)
    if (why := UNUSED_BY_THE_SERVICE.get(new)) is not None:
        return f"not used: {why}"
    return f"used; its new name is [{new[0]}] {new[1]}" if new != key else None


def _current(group: str) -> list[str]:
    return [option.dest for option in GROUPS.get(group, [])]


# Old names with their groups, and what each is called now.
_OLD: dict[tuple[str, str], tuple[str, str]] = {
    (old.group, old.name): (group, option.dest)
    for group, options in GROUPS.items()
    for option in options
    for old in option.deprecated_opts
}
