"""Proof that the tests can fail: `python -m tests.mutants [NAME ...]` plants defects and shows who notices them."""

import argparse
import sys
import time
from dataclasses import replace

from tests.mutants.catalogue import MUTANTS
from tests.mutants.catchers import DEFAULT_SEEDS, NoVerdictError, Simulated, Tests, Worlds
from tests.mutants.harness import BrokenBaselineError, hunt
from tests.mutants.mutant import StaleMutantError
from tests.mutants.table import summary, table

WRONG_USAGE = 2

KINDS = {"tests": Tests, "worlds": Worlds, "sim": Simulated}


def main() -> int:
    """Exit status 0 if every mutant is caught, 1 if one lives or the harness can't judge, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants, or layers such as `consensus`; all without one")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (default 2)")
    parser.add_argument("--seeds", type=int, default=DEFAULT_SEEDS, help=f"seeds that worlds try (default {DEFAULT_SEEDS})")
    parser.add_argument("--first", action="store_true", help="stop at the first catcher that notices a mutant")
    parser.add_argument("--only", choices=sorted(KINDS), help="ask catchers of this kind alone")
    parser.add_argument("--list", action="store_true", help="name the mutants and what they break")
    options = parser.parse_args()
    unknown = set(options.names) - {mutant.name for mutant in MUTANTS} - {mutant.layer for mutant in MUTANTS}
    if unknown or options.jobs < 1 or options.seeds < 1:
        wrong = f"no such mutant or layer: {', '.join(sorted(unknown))}; see --list" if unknown else "at least 1 job and 1 seed"
        sys.stderr.write(f"{wrong}\n")
        return WRONG_USAGE
    chosen = [m for m in MUTANTS if not options.names or m.name in options.names or m.layer in options.names]
    if options.only is not None:
        asked = {m: tuple(c for c in m.catchers if isinstance(c, KINDS[options.only])) for m in chosen}
        chosen = [replace(mutant, catchers=catchers) for mutant, catchers in asked.items() if catchers]
    if options.list:
        sys.stdout.write("".join(f"{mutant.name}: {mutant.breaks}\n" for mutant in chosen))
        return 0
    started = time.monotonic()
    try:
        outcomes = hunt(chosen, jobs=options.jobs, seeds=options.seeds, thorough=not options.first)
    except (StaleMutantError, BrokenBaselineError, NoVerdictError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{table(outcomes)}\n\n{summary(outcomes, time.monotonic() - started)}\n")
    return int(any(outcome.lives or outcome.errors for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
