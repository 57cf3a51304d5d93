"""A round of the demo with a switch of the genesis on beside one with it off: `python -m tests.bench.switch NAME`, no part of `make bench`.

The runs take turns, and which goes first changes, so that whatever else uses the machine meets both.
"""

import argparse
import sys
from dataclasses import fields
from statistics import median

from bflcd.params import Params
from tests.bench.turns import paired
from tests.bench.work_w import round_seconds, testnet

NODES, ROUNDS = 10, 20

SWITCHES = [field.name for field in fields(Params) if field.type is bool and field.name != "small_community"]


def seconds(switch: str, on: bool, wait: float) -> float:
    """Median seconds of a round after the first, of ten daemons that learn `digits`."""
    with testnet(NODES, "--task", "digits", "--rounds", str(ROUNDS), "--param", f"{switch}={int(on)}") as running:
        running.wait(ROUNDS, wait)
        return median(round_seconds(running.datadirs[0])[1:])


def main() -> int:
    """Print each pair, then the median of the ratios."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.switch")
    parser.add_argument("switch", choices=SWITCHES)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--wait", type=float, default=300.0, help="seconds that a run may take (default 300)")
    options = parser.parse_args()
    with_it, without = list[float](), list[float]()
    for turn in range(options.turns):
        for on in (True, False) if turn % 2 else (False, True):
            (with_it if on else without).append(seconds(options.switch, on, options.wait))
        sys.stdout.write(f"turn {turn}: on {with_it[-1]:.3f} s, off {without[-1]:.3f} s\n")
        sys.stdout.flush()
    sys.stdout.write(f"on {median(with_it):.3f} s, off {median(without):.3f} s a round, {paired(with_it, without)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
