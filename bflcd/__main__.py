"""The daemon's command, `bflcd`."""

import sys
from collections.abc import Callable

from bflcd.launch import launch


def main(arguments: list[str] | None = None) -> int:
    """Run the command line (default: this process's) to its exit code."""

    def load() -> Callable[[], int]:
        from bflcd.commands.app import run  # noqa: PLC0415 - the streams have to be open before anything else is

        return lambda: run(arguments)

    return launch("bflcd", load)


if __name__ == "__main__":
    sys.exit(main())
