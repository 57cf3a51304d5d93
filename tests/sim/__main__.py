"""`make sim`: many seeds over some processes, progress on stderr, one line at the end; exit 1 if anything was violated."""

import argparse
import multiprocessing
import secrets
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from bflcd.params import ELECTIONS
from tests.sim.profiles import PROFILES
from tests.sim.run import run_seed
from tests.sim.world import Result

CHUNK = 2
"""Seeds that a process takes at a time."""

PROGRESS_SECONDS = 10.0

MOST_SHOWN = 20
"""Violations that are printed in full."""


@dataclass
class Totals:
    """What all seeds gave together."""

    seeds: int = 0
    violated: int = 0
    out_of_contract: int = 0
    events: int = 0
    virtual_ms: int = 0
    slowest: float = 0.0
    recoveries: int = 0
    superseded: int = 0
    slowest_recovery: int = 0
    changed: int = 0
    carried: Counter[str] = field(default_factory=Counter)
    by_profile: dict[str, int] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.events += result.events
        self.virtual_ms += result.virtual_ms
        self.by_profile[result.profile] = self.by_profile.get(result.profile, 0) + 1
        self.changed += result.changes > 0
        self.carried.update(result.carried or {})
        if result.out_of_contract:
            self.out_of_contract += 1
        if result.violations:
            self.violated += 1
        self.recoveries += len(result.recoveries)
        self.superseded += result.superseded
        self.slowest_recovery = max(self.slowest_recovery, *result.recoveries, 0)
        if result.healed_ms is not None:
            self.slowest = max(self.slowest, result.healed_ms / result.limit_ms)


def main() -> int:
    arguments = _arguments()
    if arguments.seed is not None:
        return _replay(arguments)
    first = secrets.randbelow(10**9) if arguments.first is None else arguments.first
    print(f"first seed {first}", file=sys.stderr)
    seeds = range(first, first + (arguments.seeds if arguments.seconds is None else 10**9))
    totals, started, told = Totals(), time.monotonic(), time.monotonic()
    for result in _results(seeds, arguments, started):
        totals.add(result)
        if result.violations and totals.violated <= MOST_SHOWN:
            _show(result, arguments)
        if time.monotonic() - told >= PROGRESS_SECONDS:
            told = time.monotonic()
            print(_line(totals, started), file=sys.stderr)
    print(_line(totals, started) + (f", first seed {first}" if arguments.first is None else ""))
    return 1 if totals.violated else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim", description="A simulated world of real cores under drawn faults."
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds (default 100)")
    parser.add_argument("--first", type=int, help="the first seed; a fresh random one if not given")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--seconds", type=float, help="run seeds for this long instead of a number of them")
    parser.add_argument("--profile", choices=sorted(PROFILES), help="this fault profile only")
    parser.add_argument("--nodes", type=int, help="this many nodes only")
    parser.add_argument("--election", choices=ELECTIONS, help="this rule of election only")
    parser.add_argument(
        "--changing", action=argparse.BooleanOptionalAction, help="members come and go in all seeds, or none; else it is drawn"
    )
    parser.add_argument("--seed", type=int, help="run one seed")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happened")
    arguments = parser.parse_args()
    if arguments.nodes is not None and not 1 <= arguments.nodes <= 64:
        parser.error("--nodes takes 1 to 64")
    return arguments


def _replay(arguments: argparse.Namespace) -> int:
    result = run_seed(
        arguments.seed,
        profile=arguments.profile,
        nodes=arguments.nodes,
        election=arguments.election,
        changing=arguments.changing,
        readable=arguments.trace,
    )
    print("\n".join(result.lines), end="\n" if result.lines else "")
    print(
        f"seed {result.seed}, profile {result.profile}, {result.nodes} nodes: trace {result.trace_hash}, {result.events} events, "
        f"{result.rounds} rounds, {result.virtual_ms / 1000:.1f} virtual s"
        + (", out of contract" if result.out_of_contract else "")
    )
    print("\n".join(result.violations) or "no violation")
    return 1 if result.violations else 0


def _results(seeds: range, arguments: argparse.Namespace, started: float) -> Iterator[Result]:
    tasks = ((seed, arguments.profile, arguments.nodes, arguments.election, arguments.changing) for seed in seeds)
    if arguments.jobs <= 1:
        for task in tasks:
            yield _one(task)
            if _over(arguments, started):
                return
        return
    with multiprocessing.Pool(arguments.jobs) as pool:
        if arguments.seconds is None:
            yield from pool.imap_unordered(_one, tasks, CHUNK)
            return
        while not _over(arguments, started):  # `imap` would draw every seed at once
            batch = [task for task, _ in zip(tasks, range(CHUNK * arguments.jobs), strict=False)]
            yield from pool.imap_unordered(_one, batch, 1)


def _over(arguments: argparse.Namespace, started: float) -> bool:
    return arguments.seconds is not None and time.monotonic() - started >= arguments.seconds


def _one(task: tuple[int, str | None, int | None, str | None, bool | None]) -> Result:
    seed, profile, nodes, election, changing = task
    try:
        return run_seed(seed, profile=profile, nodes=nodes, election=election, changing=changing)
    except Exception:  # noqa: BLE001 - one seed that breaks the simulator must not end the run; it counts as a violation
        text = "the simulator itself failed:\n" + traceback.format_exc()
        return Result(seed, profile or "?", nodes or 0, (text,), "", 0, 0, 0, False, None, 1, {})


def _show(result: Result, arguments: argparse.Namespace) -> None:
    extra = f" --profile {arguments.profile}" if arguments.profile else ""
    extra += f" --nodes {arguments.nodes}" if arguments.nodes else ""
    extra += f" --election {arguments.election}" if arguments.election else ""
    extra += "" if arguments.changing is None else " --changing" if arguments.changing else " --no-changing"
    print(f"seed {result.seed} ({result.profile}, {result.nodes} nodes):", file=sys.stderr)
    for text in result.violations:
        print(f"  {text}", file=sys.stderr)
    print(f"  replay: python -m tests.sim --seed {result.seed}{extra} --trace", file=sys.stderr)


def _line(totals: Totals, started: float) -> str:
    minutes = max(time.monotonic() - started, 1e-9) / 60
    return (
        f"{totals.seeds} seeds, {totals.violated} violations, {totals.events} events, "
        f"{totals.virtual_ms / 3_600_000:.1f} virtual hours, {totals.seeds / minutes:.0f} seeds a minute, "
        f"{totals.out_of_contract} out of contract, slowest heal {totals.slowest:.0%} of its limit, "
        f"members changed in {totals.changed} ({', '.join(f'{count} {kind}' for kind, count in totals.carried.most_common())})"
        + (
            f", {totals.recoveries} recoveries, slowest {totals.slowest_recovery}% of its limit, {totals.superseded} blocks superseded"
            if totals.recoveries
            else ""
        )
    )


if __name__ == "__main__":
    sys.exit(main())
