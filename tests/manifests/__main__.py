"""`python -m tests.manifests run FILE...` puts communities of daemons through what manifests say; `generate` draws manifests."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.manifests.generating import generate
from tests.manifests.judging import Verdict
from tests.manifests.manifest import Manifest, ManifestError, read_manifest, write_manifest
from tests.manifests.running import run_manifest

HERE = Path(__file__).parent

COLUMNS = (
    "manifest",
    "seed",
    "rounds",
    "empty",
    "perturbations",
    "came, went",
    "usual round, slowest with changes, s",
    "longest stall, s",
    "back, median / longest, s",
    "resumed, s",
    "conflicts",
    "state hash",
    "took, s",
    "verdict",
)
HEAD = ("| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS))


def main(arguments: list[str]) -> int:
    """0 if every verdict is good, 1 if one is not, 2 if a manifest can't be read."""
    parser = argparse.ArgumentParser(prog="python -m tests.manifests", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run manifests")
    run.add_argument("files", type=Path, nargs="*", help="manifests; `all` names those of the repository")
    run.add_argument("--seed", type=int, action="append", default=[], help="run a drawn manifest too; may be repeated")
    run.add_argument("--keep", type=Path, help="leave the communities in this directory")
    draw = commands.add_parser("generate", help="draw a manifest")
    draw.add_argument("--seed", type=int, required=True)
    given = parser.parse_args(arguments)
    if given.command == "generate":
        sys.stdout.write(write_manifest(generate(given.seed)))
        return 0
    try:
        manifests = [read_manifest(path) for name in given.files for path in paths(name)]
    except ManifestError as error:
        print(error, file=sys.stderr)
        return 2
    manifests += [generate(seed) for seed in given.seed]
    if not manifests:
        parser.error("nothing to run: give FILE, `all`, or --seed N")
    verdicts = run_all(manifests, given.keep)
    print("\n".join((*HEAD, *map(row, verdicts))))
    for verdict in verdicts:
        for complaint in verdict.complaints:
            print(f"{verdict.manifest}: {complaint}")
    return 0 if all(verdict.ok for verdict in verdicts) else 1


def paths(name: Path) -> list[Path]:
    """The files that an argument names."""
    return sorted(HERE.glob("*.toml")) if str(name) == "all" else [name]


def run_all(manifests: list[Manifest], keep: Path | None) -> list[Verdict]:
    """One after the other."""
    with tempfile.TemporaryDirectory(prefix="bflc-manifests-") as folder:
        place = Path(folder) if keep is None else keep
        place.mkdir(parents=True, exist_ok=True)
        found = []
        for manifest in manifests:
            print(f"{manifest.name}: {manifest.purpose}", file=sys.stderr)
            found.append(run_manifest(manifest, place))
            print(f"\n{row(found[-1])}", file=sys.stderr)
        return found


def row(verdict: Verdict) -> str:
    """A verdict as a row of the table."""
    rejoin = sorted(verdict.rejoin)
    cells = (
        verdict.manifest,
        verdict.seed,
        verdict.rounds,
        verdict.empty,
        verdict.perturbations,
        ", ".join(f"{count} {kind}" for kind, count in verdict.changes.items()),
        f"{verdict.usual:.2f}, {max(verdict.changing):.2f}" if verdict.changing else "",
        f"{verdict.longest_stall:.1f}",
        f"{rejoin[len(rejoin) // 2]:.1f} / {rejoin[-1]:.1f}" if rejoin else "",
        ", ".join(f"{seconds:.1f}" for seconds in verdict.resumes),
        verdict.conflicts,
        verdict.state_hash[:8],
        f"{verdict.seconds:.0f}",
        "good" if verdict.ok else "FAILED",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
