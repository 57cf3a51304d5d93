"""`make hostile`: sweeps of fresh seeds for so many seconds; exit 1 if a command ended as none may, with what repeats it."""

import argparse
import secrets
import sys
import time

from tests.hostile.sweep import sweep

SECONDS = 60.0
"""That it goes on by default; the command that runs then ends first."""


def main() -> int:
    arguments = _arguments()
    first = secrets.randbelow(10**9) if arguments.seed is None else arguments.seed
    print(f"first seed {first}", file=sys.stderr, flush=True)
    started, done, failed, seed = time.monotonic(), 0, 0, first
    while not _over(arguments, started, seed - first):
        for case in sweep(seed, deep=True, only=arguments.command):
            done += 1
            for text in case.complaints:
                failed += 1
                print(f"{text}\n  again: python -m tests.hostile --seed {seed} --command '{case.name}'", file=sys.stderr)
            if _over(arguments, started, 0):
                break
        seed += 1
    print(f"{done} commands in {time.monotonic() - started:.0f} s, {failed} ended as none may, first seed {first}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile", description="Every command in surroundings that nobody would choose."
    )
    parser.add_argument("--seed", type=int, help="this seed alone, whole; without it fresh ones")
    parser.add_argument("--command", default="", help="this command alone, such as 'bflcd init'")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long fresh seeds are drawn (default 60)")
    return parser.parse_args()


def _over(arguments: argparse.Namespace, started: float, seeds: int) -> bool:
    """One seed ends with itself, fresh ones when the time is up."""
    if arguments.seed is not None:
        return seeds > 0
    return time.monotonic() - started >= arguments.seconds


if __name__ == "__main__":
    sys.exit(main())
