"""`make bench`: measures the budgets of the design and writes docs/benchmarks.md.

Each row is a value beside its floor or rival, both measured in this run, in turn. `python -m tests.bench NAME ...` runs some of the parts and
writes nothing. Work W needs BFLC_DATA, the GPU rows a CUDA device, the laboratory's rival BFLC_FLOWER (an interpreter that has
`flwr[simulation]` and torch); what can't be measured is said, not guessed.
"""

import importlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.turns import report

PARTS = ("chain", "ledger", "judging", "store", "blob", "daemon", "demo", "work_w", "kill", "growth", "degraded", "lab", "gpu")
DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
MISSING = {
    "work_w": "work W: not measured, BFLC_DATA names no folder with mnist_by_nist_writer.npz",
    "gpu": "scoring on a GPU: not measured, torch finds no CUDA device",
}

INTRODUCTION = """# Benchmarks

Made by `make bench`. Every row is a ratio within one run: the value beside the floor (the work that can't be avoided, done by the
barest means) on the same machine in the same minutes, in turn. Machines are noisy; the ratio is what counts, with the lowest and highest
of its turns in brackets.

"""


REST = """
## Where the rest goes

Two rows are above their budget, and two are near it.

- **Deciding a segment.** Ten to seventeen hops where six are allowed. A trace of every event and effect of five daemons on two cores
  shows three pushes of some 2 ms, four transactions of 1 to 3 ms (found right, prepared, committed, closed), the aggregate begun
  beforehand, and between them waits for a core: five daemons have fifteen busy threads. It was not measured on a machine with a
  core for each.
- **A round of the demo.** Its torch work is 11 ms, less than the daemons' own: ten daemons push, fetch, store and sign for it on two
  cores. With work W, whose torch work is 1.7 s, the same daemons are within the budget.
- **Storing a round.** The floor hashes the blob that is made here, 4 of the 12 MiB: its address is its hash, so no store by address
  goes without. The rest, a quarter of the floor's processor time, is a dozen transactions for the floor's one, each with a trip to SQLite's
  thread and its page of `blobs`. Chunks that come together share one, up to four; more of them gain nothing (one transaction for a whole
  blob took as much), and a vote would wait longer. libsodium's BLAKE2b was a tenth faster than Python's, too little to change for.
- **One blob.** Of the receiver's 260 ms of processor time for 64 MiB (a raw stream takes 250) 70 are hashes, in threads of their own. Into
  SQLite it is 384, less than raw stream, hashes and bare sqlite3 (88) together, and while a checkpoint runs, chunks wait: more of them
  in flight would hide that, at the price of the memory that they take.
"""


def main(names: list[str]) -> int:
    """Measure all parts, or those named."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for part in names or PARTS:
        print(f"measuring {part} ...", file=sys.stderr, flush=True)
        found = report(importlib.import_module(f"tests.bench.{part}").run)
        if not found:
            notes.append(MISSING.get(part, f"{part}: not measured"))
        elif found[0]["busy_machine"]:
            notes.append(f"{part}: on a busy machine, others had {found[0]['others_cores']:.1f} cores; only ratios count")
        rows += found
    if not names:
        DOCUMENT.write_text(INTRODUCTION + table(rows) + after(notes) + REST)
        print(f"wrote {DOCUMENT}", file=sys.stderr)
    return 0


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| what | value | floor or rival | ratio | budget |", "|---|---|---|---|---|"]
    for row in rows:
        floor = row.get("floor")
        named = "" if floor is None else f"{_number(floor)} {row.get('floor_is', '')}".strip()
        unit = f" {row['unit']}" if "unit" in row else ""
        ratio = row.get("ratio")
        cells = (
            row["row"],
            f"{_number(row['value'])}{unit}",
            named,
            "" if ratio is None else _ratio(row),
            row.get("budget") or "",
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def after(notes: list[str]) -> str:
    """Where and when, and what was left out."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    where = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    lines = [f"\nMeasured on {where}, at commit {commit or 'unknown'}.\n"]
    lines += [f"- {note}\n" for note in notes]
    return "".join(lines)


def _ratio(row: dict[str, Any]) -> str:
    """The ratio, with the lowest and highest of its turns where it had any."""
    spread = f" ({row['low']:.2f} to {row['high']:.2f})" if "low" in row else ""
    return f"{row['ratio']:.2f}{spread}"


def _number(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
