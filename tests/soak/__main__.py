"""`make soak`: a long run of a small community; says whether anything grows, and draws it."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.community import Soaked, SoakPlan, soak
from tests.soak.report import draw, judge, table

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "soak.png"


def main(arguments: list[str]) -> int:
    """Run (or read) a soak; 0 if nothing grows that should not, and all agree."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--committee", type=int, default=4)
    parser.add_argument("--period", type=float, default=3.0, help="seconds between two looks")
    parser.add_argument("--samples", type=Path, help="write what was measured to this file")
    parser.add_argument("--read", type=Path, help="judge and draw such a file; run nothing")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    given = parser.parse_args(arguments)
    if given.read is not None:
        soaked = Soaked.read(given.read)
    else:
        plan = SoakPlan(nodes=given.nodes, rounds=given.rounds, committee=given.committee, period=given.period)
        with tempfile.TemporaryDirectory(prefix="bflc-soak-") as folder:
            soaked = soak(plan, Path(folder))
    if given.samples is not None:
        soaked.write(given.samples)
    print(table(soaked))
    draw(soaked, given.picture)
    print(f"drawn: {given.picture}", file=sys.stderr)
    complaints = judge(soaked)
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
