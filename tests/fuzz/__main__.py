"""All harnesses, one after the other: `python -m tests.fuzz --runs 1000000 [--harness NAME]`; prints a table, exits with 1 on a crash."""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from tests.fuzz.slowest import last_of
from tests.fuzz.target import FOLDER, HARNESSES, Target, target

ROOT: Final = Path(__file__).parents[2]

MEMORY_MB: Final = 1024
"""Above this a harness counts as crashed: torch is not in it, and no input may cost memory."""

INPUT_SECONDS: Final = 180
"""Above this one input counts as a hang; wall time, so that a busy machine that stops us for a while is not taken for one."""

MISSING: Final = (
    f"atheris is not installed: run `{sys.executable} -m pip install -e '.[fuzz]'` (it has wheels for Python 3.11 to 3.14)"
)

_STAT: Final = re.compile(r"stat::(\w+):\s+(\d+)")


@dataclass(frozen=True)
class Result:
    """What a harness came to: inputs run, crashes, inputs a second, peak resident memory, the slowest input's time and kind."""

    name: str
    inputs: int
    crashes: int
    per_second: int
    peak_mb: int
    seconds: float
    slowest_ms: float
    slowest_kind: str

    @property
    def row(self) -> str:
        """A line of the table."""
        cells = f"{self.inputs:>9,}  {self.crashes:>7}  {self.per_second:>8,}  {self.peak_mb:>7,}  {self.seconds:>7.0f}  {self.slowest_ms:>10.1f}"
        return f"{self.name:<10}  {cells}  {self.slowest_kind}"


HEADING: Final = (
    f"{'harness':<10}  {'inputs':>9}  {'crashes':>7}  {'exec/s':>8}  {'peak MB':>7}  {'seconds':>7}  {'slowest ms':>10}  of kind"
)


def shares(targets: Sequence[Target], runs: int) -> dict[str, int]:
    """`runs` dealt out by the targets' shares, at least one each; sums to `runs` wherever that is possible."""
    total = sum(t.share for t in targets)
    dealt = {t.name: max(1, int(runs * t.share / total)) for t in targets}
    first = targets[0].name
    dealt[first] = max(1, dealt[first] + runs - sum(dealt.values()))
    return dealt


def write_corpus(found: Target) -> Path:
    """The folder with every seed of a target as a file, beside what earlier runs found."""
    folder = FOLDER / "corpus" / found.name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in found.seeds():
        (folder / blake2b(seed, digest_size=16).hexdigest()).write_bytes(seed[: found.longest])
    return folder


def fuzz(found: Target, runs: int, seed: int) -> Result:
    """Run one harness in a process of its own, at low priority."""
    corpus, crashes = write_corpus(found), FOLDER / "crashes" / found.name
    crashes.mkdir(parents=True, exist_ok=True)
    before = set(crashes.iterdir())
    options = [
        f"-runs={runs}",
        f"-seed={seed}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={INPUT_SECONDS}",
        f"-artifact_prefix={crashes}/",
        "-print_final_stats=1",
        "-len_control=0",
        str(corpus),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "cli"))), "PYTHONHASHSEED": "0"}
    started = time.monotonic()
    log = FOLDER / f"{found.name}.log"
    with log.open("wb") as output:
        code = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.drive", found.name, *options],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.nice(10),
            check=False,
        ).returncode
    seconds = time.monotonic() - started
    text = log.read_text(errors="replace")
    stats = {name: int(value) for name, value in _STAT.findall(text)}
    # A slow unit is libFuzzer's remark on a busy machine; a crash, a hang and too much memory end the run.
    new = {path for path in set(crashes.iterdir()) - before if not path.name.startswith("slow-unit")}
    for crash in sorted(new):
        sys.stderr.write(f"{found.name}: {crash.relative_to(ROOT)}; see {log.relative_to(ROOT)}\n")
    if code and not new:
        sys.stderr.write(f"{found.name} ended with {code}; see {log.relative_to(ROOT)}\n")
    return Result(
        found.name,
        stats.get("number_of_executed_units", 0),
        max(len(new), int(code != 0)),
        stats.get("average_exec_per_sec", 0),
        stats.get("peak_rss_mb", 0),
        seconds,
        *last_of(text),
    )


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs of all harnesses together")
    parser.add_argument("--harness", choices=HARNESSES, action="append", help="only this one; may be given again")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations; 0 draws one")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write(f"{MISSING}\n")
        return 2
    seed = options.seed or int.from_bytes(os.urandom(4), "big") // 2 + 1
    targets = [target(name) for name in options.harness or HARNESSES]
    dealt = shares(targets, max(options.runs, len(targets)))
    sys.stdout.write(f"seed {seed}\n{HEADING}\n")
    results = []
    for found in targets:
        results.append(fuzz(found, dealt[found.name], seed))
        sys.stdout.write(f"{results[-1].row}\n")
        sys.stdout.flush()
    inputs, crashes = sum(r.inputs for r in results), sum(r.crashes for r in results)
    slow = max(results, key=lambda result: result.slowest_ms)
    sys.stdout.write(f"{inputs:,} inputs, {crashes} crashes, peak {max(r.peak_mb for r in results):,} MB, ")
    sys.stdout.write(f"slowest input {slow.slowest_ms:.0f} ms of processor time ({slow.name}, {slow.slowest_kind})\n")
    return int(crashes > 0)


if __name__ == "__main__":
    sys.exit(main())
