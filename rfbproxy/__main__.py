"""The command's first moments: a secret among the arguments is hidden before anything that takes time is imported."""

import sys

from rfbproxy.cli.secrets import hide_argument
from rfbproxy.importing import importing


def main() -> None:
    """Run `consoleproxy`."""
    for before, argument in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        if before == "--token" or before.startswith("--token="):
            hide_argument(argument if before == "--token" else before.removeprefix("--token="))
    with importing():
        from rfbproxy.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
