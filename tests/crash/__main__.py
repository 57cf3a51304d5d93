"""`make crash`: kill daemons of one community at every durable write, and report: progress on stderr, the last line on stdout."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.crash.campaign import GIVE_UP_SECONDS, Campaign, as_json, tell
from tests.crash.operators import Operators
from tests.crash.victims import Victim
from tests.helpers.daemons import PACED_TASK, ROOT, Community, Daemon, environment

NODES: Final = 6
SEATS: Final = 4
"""One of four may be away."""

SLOTS: Final = 2
"""Victims at a time: where both have a seat the community stands until one is back, which it has to survive, too."""

PACE_MS: Final = 200
"""Pause after each batch: rounds of a second or two, so that starting daemons have the machine to themselves."""


def main() -> int:
    """Run the campaign that the command line describes; exit code 1 if anything was lost, signed twice or never came back."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="bflc-crash-") as folder:
        net, victims, guest = community(Path(folder) / "net", arguments.nodes, arguments.seats)
        operators = Operators(net, guest, arguments.seed)
        try:
            net.start()
            guest.start()
            net.wait_round(1, GIVE_UP_SECONDS)
            campaign = Campaign(net, victims, arguments.runs, arguments.seed, arguments.minutes * 60)
            operators.start()
            campaign.execute(arguments.slots)
            operators.end()
            faults = [*net.faults(), *operators.failures]
            net.stop(*net.running())
            verified = {victim.name: verify(victim) for victim in victims}
        finally:
            guest.sweep()
            net.close()
    found = {**as_json(campaign, verified), "faults": faults, "changes": operators.carried}
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return report(found)


def community(path: Path, nodes: int, seats: int) -> tuple[Community, list[Victim], Daemon]:
    """A testnet of victims, half of which prune, and one more member that comes and goes."""
    net = Community.create(
        path,
        nodes + 1,
        "--committee-size",
        str(seats),
        "--param",
        "collect_deadline=10000",
        "--option",
        f"pace={PACE_MS}",
        task=PACED_TASK,
    )
    victims = [
        Victim(node.name, node.datadir, node.node_id, node.address, prunes=number % 4 > 1)
        for number, node in enumerate(net.nodes[:nodes])
    ]
    guest = net.nodes[nodes]
    net.nodes = list(victims)
    return net, victims, guest


def verify(victim: Victim) -> dict[str, Any]:
    """What `bflc-cli verify` says of the stopped node."""
    done = subprocess.run(
        [sys.executable, "-m", "bflc_cli.main", "--datadir", str(victim.datadir), "--json", "verify"],
        cwd=ROOT,
        env={**environment(), "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    answer = json.loads(done.stdout)
    return {"exit": done.returncode, "status": answer["status"], **(answer.get("data") or {"message": answer.get("message")})}


def report(found: dict[str, Any]) -> int:
    """Everything that is wrong on stderr, one line of figures on stdout."""
    for key in ("double", "fork", "lost_what", "stuck", "faults"):
        for line in found[key]:
            tell(f"{key}: {line}")
    clean = all(node["exit"] == 0 for node in found["verified"].values())
    late = found["rejoined"] - found["rejoined_in_20_s"]
    sys.stdout.write(
        f"seed {found['seed']}: {found['runs']} runs, {found['at_failpoints']} at {found['failpoints']} failpoints, "
        f"{found['rejoined']} rejoined ({late} after more than 20 s), median {found['rejoin_median_s']} s, "
        f"max {found['rejoin_max_s']} s; double signatures {found['double_signatures']} in {found['messages_compared']} messages, "
        f"forks {found['forks']}, lost {found['lost']}, {found['rounds']} rounds, "
        f"verify {'clean' if clean else 'FAILED'}, "
        f"beside them {', '.join(f'{count} {kind}' for kind, count in sorted(found['changes'].items()))}, {found['seconds']} s\n"
    )
    wrong = any(found[key] for key in ("double", "fork", "lost_what", "stuck", "faults"))
    return 1 if wrong or not clean or found["rejoined"] < found["runs"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.crash", description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--seats", type=int, default=SEATS)
    parser.add_argument("--slots", type=int, default=SLOTS)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no run after that long")
    parser.add_argument("--output", type=Path, help="file for the whole result as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
