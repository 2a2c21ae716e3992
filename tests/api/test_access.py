"""The files that hold the API's tokens."""

import pytest

from rfbproxy.api.access import TokenFile, weaknesses
from rfbproxy.errors import ConfigError

GOOD = "0123456789abcdef"


@pytest.mark.parametrize("content", ["", "\n", "  \t \nsecond line", "x" * 5000])
def test_a_file_without_a_usable_token(tmp_path, content):
    (tmp_path / "token").write_text(content)
    with pytest.raises(ConfigError, match=r"\[consoleproxy\] of_test: the first line of .*/token has \d+ bytes"):
        TokenFile(tmp_path / "token", "[consoleproxy] of_test")


def test_white_space_around_a_token_is_not_of_it(tmp_path):
    (tmp_path / "token").write_bytes(f" {GOOD}\t\r\n".encode())
    file = TokenFile(tmp_path / "token", "o")
    assert file.admits(GOOD.encode())
    for wrong in (None, b"", GOOD.upper().encode(), GOOD[:-1].encode(), GOOD.encode() + b" "):
        assert not file.admits(wrong)


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (GOOD, 0o600, []),
        (GOOD, 0o640, []),
        (GOOD, 0o644, ["every user of this machine can read the token"]),
        (GOOD[:-1], 0o600, ["has less than 16 bytes: it can be guessed"]),
        ("x" + "\n" + GOOD, 0o604, ["every user", "less than 16"]),
    ],
)
def test_what_is_weak_about_a_file(tmp_path, content, mode, expected):
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(mode)
    found = list(weaknesses(file))
    assert len(found) == len(expected)
    for line, words in zip(found, expected, strict=True):
        assert words in line
        assert content not in line


def test_a_file_that_has_just_gone_has_no_weakness(tmp_path):
    assert list(weaknesses(tmp_path / "gone")) == []
