"""What options have in common: kinds of values, and old names."""

from oslo_config import cfg

LONGEST_S = 10_000_000.0  # about four months
TLS_VERSIONS = ("default", "tlsv1_1", "tlsv1_2", "tlsv1_3")


def old(name: str, group: str = "DEFAULT") -> list[cfg.DeprecatedOpt]:
    """What an option was called before, and in which group."""
    return [cfg.DeprecatedOpt(name, group=group)]


def seconds(text: str) -> float:
    """A time that may be 0.

    Raises:
        ValueError: it is none, or longer than `LONGEST_S`.
    """
    found = float(text)
    if not 0 <= found <= LONGEST_S:  # nan too
        raise ValueError(f"{text!r} is not a number of seconds; 0 to {LONGEST_S:.0f} is")
    return found


def deadline(text: str) -> float:
    """A time in which something can be done, as `seconds`."""
    found = seconds(text)
    if found < 0.001:
        raise ValueError(f"{text!r} is not a deadline in seconds; 0.001 to {LONGEST_S:.0f} is")
    return found
