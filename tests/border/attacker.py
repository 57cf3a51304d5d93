"""One attack, in a process of its own: `python -m tests.border.attacker NAME DIRECTORY SECONDS` prints its complaints as JSON."""

import asyncio
import logging
import sys
from pathlib import Path

import msgspec

from tests.border.attack import Net, catalogue


def main(name: str, directory: str, seconds: str) -> int:
    """Carry it out."""
    logging.disable(logging.CRITICAL)  # what its own transport says of an attacker is nobody's concern
    complaints = asyncio.run(catalogue()[name].run(Net(Path(directory)), float(seconds)))
    sys.stdout.write(msgspec.json.encode(complaints).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
