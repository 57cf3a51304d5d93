"""A round of the demo with sealed cards beside one with open ones: `python -m tests.bench.sealing`, no part of `make bench`.

The runs take turns, and which goes first changes, so that whatever else uses the machine meets both.
"""

import argparse
import sys
from statistics import median

from tests.bench.turns import paired
from tests.bench.work_w import round_seconds, testnet

NODES, ROUNDS = 10, 20


def seconds(sealed: bool, wait: float) -> float:
    """Median seconds of a round after the first, of ten daemons that learn `digits`."""
    with testnet(NODES, "--task", "digits", "--rounds", str(ROUNDS), "--param", f"sealed_cards={int(sealed)}") as running:
        running.wait(ROUNDS, wait)
        return median(round_seconds(running.datadirs[0])[1:])


def main() -> int:
    """Print each pair, then the median of the ratios."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sealing")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--wait", type=float, default=300.0, help="seconds that a run may take (default 300)")
    options = parser.parse_args()
    sealed, plain = list[float](), list[float]()
    for turn in range(options.turns):
        for kind in (True, False) if turn % 2 else (False, True):
            (sealed if kind else plain).append(seconds(kind, options.wait))
        sys.stdout.write(f"turn {turn}: sealed {sealed[-1]:.3f} s, open {plain[-1]:.3f} s\n")
        sys.stdout.flush()
    sys.stdout.write(f"sealed {median(sealed):.3f} s, open {median(plain):.3f} s a round, {paired(sealed, plain)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
