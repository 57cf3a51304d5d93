"""Seeds of the simulated world until one shows something: `python -m tests.mutants.simulated PROFILE --seeds N`.

An error of the product's own (InvariantError and the like) is a finding too: the simulated world lets it through, the daemon
would die of it.
"""

import argparse
import sys

from tests.sim.profiles import PROFILES
from tests.sim.run import run_seed

DRAWN = "drawn"


def complaint(profile: str | None, seed: int) -> str | None:
    """The first violation of this seed, or what ended it."""
    try:
        result = run_seed(seed, profile=profile)
    except Exception as error:  # noqa: BLE001 - whatever ends a run that passes without the mutant is what the mutant did
        return f"{type(error).__name__}: {error}"
    return result.violations[0] if result.violations else None


def main() -> int:
    """Try seeds until one shows something: exit status 1 and the seed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.simulated")
    parser.add_argument("profile", choices=(DRAWN, *sorted(PROFILES)))
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    for seed in range(options.first, options.first + options.seeds):
        found = complaint(None if options.profile == DRAWN else options.profile, seed)
        if found is not None:
            sys.stdout.write(f"seed {seed} of {options.profile}: {found.splitlines()[0][:200] if found else 'no text'}\n")
            return 1
    sys.stdout.write(f"{options.seeds} seeds of {options.profile}: nothing\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
