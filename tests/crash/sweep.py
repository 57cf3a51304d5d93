"""Kill a store's writer at every failpoint, one fork each, and judge what it leaves: `python -m tests.crash.sweep DIR PASSINGS`.

The daemon's own campaign takes minutes; this one covers the same durable writes, without network and training, in seconds.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from tests.crash.failpoints import POINTS, Killer, Order, install
from tests.helpers.store_writer import check_acknowledged, write

KEPT = 3
"""Rounds of which the writer keeps the payloads when it prunes."""


def killed_at(order: Order, directory: Path) -> list[str]:
    """Fork a writer that is killed there; what it acknowledged before."""
    directory.mkdir(exist_ok=True)
    place, said = directory.with_suffix(".order"), directory.with_suffix(".said")
    order.place(place)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        signal.alarm(120)  # a failpoint that is never reached ends the writer with another signal
        install(Killer(place, lambda _point: None).reached)
        asyncio.run(write(directory, prune=True))
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"{order}: the writer ended with {status}"
    assert os.WTERMSIG(status) == signal.SIGKILL, f"{order}: it was never reached"
    return said.read_text(encoding="utf-8").splitlines()


async def judge(directory: Path, said: list[str]) -> None:
    """All that was acknowledged is there, and the writer can go on."""
    if any(line.startswith("open") for line in said):
        await check_acknowledged(directory, said, KEPT)


def main() -> int:
    """The number of failpoints on stdout; AssertionError at the first that loses something."""
    place, passings = Path(sys.argv[1]), [int(word) for word in sys.argv[2].split(",")]
    passed: dict[str, int] = {}
    for point in POINTS:
        for passing in passings:
            if passing > 1 and point.startswith(("storing the genesis", "new marks", "tables")):
                continue
            directory = place / "store"
            said = killed_at(Order(point, passing), directory)
            asyncio.run(judge(directory, said))
            again = killed_at(Order("committing a segment: after", 1), directory)  # it goes on, and is killed once more
            asyncio.run(judge(directory, again))
            passed[point] = passed.get(point, 0) + 1
            shutil.rmtree(directory)
    sys.stdout.write(json.dumps(passed) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
