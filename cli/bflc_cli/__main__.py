"""The control command, `bflc-cli`."""

import sys
from collections.abc import Callable, Sequence

from bflcd.launch import launch


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: this process's) to its exit code."""

    def load() -> Callable[[], int]:
        from bflc_cli.main import main as run  # noqa: PLC0415 - the streams have to be open before anything else is

        return lambda: run(arguments)

    return launch("bflc-cli", load)


if __name__ == "__main__":
    sys.exit(main())
