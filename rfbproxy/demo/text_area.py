"""Text that is typed: its content, and how it wraps."""

from collections.abc import Iterator

TEXT_LIMIT = 16384  # characters; the oldest fall out
_TAB_COLUMNS = 4


class TextArea:
    """What was typed so far; the caret stands at its end."""

    def __init__(self) -> None:
        self.text = ""

    def type(self, text: str) -> None:
        """Add to the end."""
        self.text = (self.text + text)[-TEXT_LIMIT:]

    def backspace(self) -> None:
        """Take the last character away."""
        self.text = self.text[:-1]

    def clear(self) -> None:
        """Take everything away."""
        self.text = ""

    def lines(self, columns: int, rows: int) -> list[str]:
        """The last `rows` lines as they stand on the screen; the caret is behind the last one.

        A line that fills all columns is followed by an empty one, so that the caret has a place.
        """
        lines = list(wrapped(self.text, columns))
        if len(lines[-1]) >= columns:
            lines.append("")
        return lines[-rows:]


def wrapped(text: str, columns: int) -> Iterator[str]:
    """Lines of at most `columns` characters, broken at a space where there is one; at least one line."""
    for paragraph in text.split("\n"):
        rest = paragraph.expandtabs(_TAB_COLUMNS)
        while len(rest) > columns:
            space = rest.rfind(" ", 1, columns + 1)
            if space < 0:
                yield rest[:columns]
                rest = rest[columns:]
            else:
                yield rest[:space]
                rest = rest[space + 1 :]
        yield rest
