"""What stands in configuration files, and what is to be said of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Written:
    """A name that stands in a file."""

    group: str
    name: str
    file: str

    def __str__(self) -> str:
        return f"[{self.group}] {self.name}"

    @property
    def key(self) -> tuple[str, str]:
        """Its group and name."""
        return self.group, self.name


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be said of an option.

    Attributes:
        option: `[group] name`; None: it is about no single one.
    """

    option: str | None
    says: str

    def __str__(self) -> str:
        return f"{self.option}: {self.says}" if self.option is not None else self.says
