"""The community under a soak: started, sampled until its last round, checked, stopped."""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.helpers.daemons import Community, Daemon, UnreachableError, community
from tests.soak.sampling import Sample, take

TASK = "tests.soak.task:PointsTask"

START_SECONDS = 180.0

STALL_SECONDS = 120.0
"""A soak in which no round closes for so long is ended: it shows nothing any more."""


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """What is run. Every second node prunes to `keep` rounds, the others are archives."""

    nodes: int = 6
    rounds: int = 1000
    committee: int = 4
    keep: int = 2
    period: float = 3.0
    """Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Soaked:
    """What was seen."""

    plan: SoakPlan
    seconds: float
    samples: tuple[Sample, ...]
    pruned: tuple[str, ...]
    hashes: tuple[str, ...]
    """Different (head hash, state hash) at the end: one, if all agree."""
    faults: tuple[str, ...]

    def write(self, path: Path) -> None:
        """All of it as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Soaked":
        """What `write` wrote."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        plan = SoakPlan(**raw.pop("plan"))
        samples = tuple(Sample(**sample) for sample in raw.pop("samples"))
        return cls(plan=plan, samples=samples, **{key: tuple(v) if isinstance(v, list) else v for key, v in raw.items()})


def soak(plan: SoakPlan, directory: Path) -> Soaked:
    """Run it to its last round. Raises AssertionError if a daemon ends by itself, or nothing moves."""
    options = ("--rounds", str(plan.rounds), "--committee-size", str(plan.committee), "--partition", "equal")
    with community(directory / "net", plan.nodes, *options, task=TASK) as net:
        pruned = net.nodes[1::2]
        net.start(net.nodes[0::2], "--log-level", "warning")
        net.start(pruned, "--log-level", "warning", "--prune-keep", str(plan.keep))
        net.wait_round(1, START_SECONDS)
        begun = time.monotonic()
        samples = _sample(net, plan, begun)
        seconds = time.monotonic() - begun
        net.wait_for(lambda: all(node.status()["done"] for node in net), 60, "the last round on all")
        hashes = {f"{status['head_hash']} {status['state_hash']}" for status in (node.status() for node in net)}
        codes = net.stop(*net)
        faults = [*net.faults(), *(f"exit code {code}" for code in codes if code)]
        return Soaked(plan, seconds, tuple(samples), tuple(n.name for n in pruned), tuple(sorted(hashes)), tuple(faults))


def _sample(net: Community, plan: SoakPlan, begun: float) -> list[Sample]:
    """Look at every node each period until all are done."""
    samples: list[Sample] = []
    foremost, moved = 0, begun
    while not _done(net):
        time.sleep(plan.period)
        net.check()
        now = time.monotonic()
        found = [sample for node in net if (sample := take(node, now - begun)) is not None]
        samples += found
        here = max((sample.round for sample in found), default=foremost)
        if here > foremost:
            foremost, moved = here, now
        if now - moved > STALL_SECONDS:
            raise AssertionError(f"no round closed for {STALL_SECONDS:.0f} s\n{net.report()}")
        line = f"\r{now - begun:6.0f} s  round {foremost:5d} of {plan.rounds}  {foremost / (now - begun):.2f} rounds/s "
        sys.stderr.write(line)
        sys.stderr.flush()
    sys.stderr.write("\n")
    return samples


def _done(net: Community) -> bool:
    def done(node: Daemon) -> bool:
        try:
            return bool(node.status()["done"])
        except UnreachableError:
            return False

    return all(done(node) for node in net)
