"""`make border`: every attack on the border against real daemons, what it cost them, and whether that is allowed."""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.border.attack import catalogue
from tests.border.figures import row, table
from tests.border.running import run, start, usual

IN_ALL_SECONDS = 540.0
"""What attacks and the quiet time before them share, so that all is over within ten minutes."""

MOST_SECONDS = 60.0

EXTRA_SECONDS = 14.0
"""What an attack takes beside its time, on a machine that has much else to do: a process that starts, connections that end, a rest."""


def main(arguments: list[str]) -> int:
    """Run them; 0 if every attack holds."""
    attacks = catalogue()
    parser = argparse.ArgumentParser(prog="python -m tests.border", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(attacks), metavar="NAME", help="this attack; repeat for more")
    parser.add_argument("--seconds", type=float, help="of each attack; by default what fits into ten minutes, at most 60")
    parser.add_argument("--output", type=Path, help="write all figures to this file, as JSON")
    given = parser.parse_args(arguments)
    chosen = [one for name, one in attacks.items() if given.only is None or name in given.only]
    with tempfile.TemporaryDirectory(prefix="bflc-border-") as folder:
        began = time.monotonic()
        net, running = start(Path(folder) / "net")
        try:
            seconds = given.seconds or share(IN_ALL_SECONDS - (time.monotonic() - began), len(chosen))
            quiet = usual(net, running, min(seconds, 30.0))
            outcomes = []
            for outcome in run(net, running, chosen, quiet, seconds):
                outcomes.append(outcome)
                print(row(quiet, outcome), file=sys.stderr, flush=True)
            faults = net.faults()
        finally:
            net.close()
    print(table(quiet, outcomes))
    for line in faults:
        print(line)
    if given.output is not None:
        found = {"seconds": seconds, "usual": asdict(quiet), "attacks": [asdict(one) for one in outcomes], "faults": faults}
        given.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if faults or any(one.complaints for one in outcomes) else 0


def share(left: float, attacks: int) -> float:
    """Seconds for each attack: what is left, less a quiet half minute and what each takes to begin and end."""
    return max(10.0, min(MOST_SECONDS, (left - 30.0) / attacks - EXTRA_SECONDS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
