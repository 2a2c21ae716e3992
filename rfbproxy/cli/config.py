"""`config check` and `config sample`."""

import argparse

from rfbproxy.cli.subcommands import Subcommands
from rfbproxy.config import Config
from rfbproxy.importing import importing


def add_to(commands: Subcommands) -> None:
    """Add what can be done with options."""
    options = commands.add_noun("config", "check options, or print all that there are")
    check = options.add("check", _check, "say whether the service could start with these options")
    check.set_defaults(refused=_refused)
    options.add("sample", _sample, "print a file with every option, its default and what it does")


def _check(parsed: argparse.Namespace, config: Config) -> object:
    with importing():
        from rfbproxy.config_check import as_json, as_text, check

    findings = check(config)
    return as_json(findings) if parsed.json else as_text(findings)


def _refused(error: Exception) -> dict[str, object]:
    from rfbproxy.config_check import refusal_as_json

    return refusal_as_json(error)


def _sample(parsed: argparse.Namespace, config: Config) -> object:
    from rfbproxy.config_sample import config_sample

    sample = config_sample()
    return {"sample": sample} if parsed.json else sample
