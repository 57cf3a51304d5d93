"""Whether what a manifest expects has come true: from the stores of the stopped daemons, their logs, and what was seen."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bflc_cli.offline import verify_datadir
from bflcd.inspect.reader import open_reader
from bflcd.types import Round
from tests.helpers.daemons import Community, Daemon
from tests.manifests.manifest import Expectations
from tests.manifests.watching import Progress

BATCH = 256
"""Headers read at a time."""

CONFLICTS = ("two offers in one round", "two score cards in one round", "signed two different messages")
"""What a node logs when it holds two contradicting signatures of one author."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What a stopped node holds: hash and state hash of each model block, and how many rounds were empty."""

    node: str
    blocks: dict[int, tuple[str, str]]
    empty: int
    times: dict[int, float] = field(default_factory=dict)
    """Of each block, in seconds."""
    operated: frozenset[int] = frozenset()
    """Rounds whose block carries operations."""

    @property
    def head(self) -> int:
        return max(self.blocks, default=0)


@dataclass(slots=True)
class Verdict:
    """The outcome of one manifest."""

    manifest: str
    seed: int
    seconds: float = 0.0
    rounds: int = 0
    perturbations: int = 0
    longest_stall: float = 0.0
    stall_round: int = 0
    rejoin: list[float] = field(default_factory=list)
    resumes: list[float] = field(default_factory=list)
    views: int = 0
    """Rounds that were decided above view 0."""
    empty: int = 0
    conflicts: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    """Times that members came and went, by kind."""
    usual: float = 0.0
    """Median seconds of a round in which nobody did."""
    changing: list[float] = field(default_factory=list)
    """Seconds of the rounds in which somebody did, and of those after them."""
    state_hash: str = ""
    complaints: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.complaints


def judge(expect: Expectations, net: Community, progress: Progress, verdict: Verdict) -> None:
    """Fill in the verdict of a community whose daemons have all stopped."""
    say = verdict.complaints.append
    chains = [read_chain(node) for node in net]
    verdict.rounds = min(chain.head for chain in chains)
    verdict.empty = max(chain.empty for chain in chains)
    verdict.longest_stall, verdict.stall_round = progress.longest_stall, progress.stall_round
    verdict.rejoin = [back.seconds for back in progress.back]
    verdict.resumes = list(progress.resumes)
    verdict.conflicts = sum(conflicts(node) for node in net)
    if verdict.rounds < expect.min_rounds:
        say(f"{verdict.rounds} rounds on every node, {expect.min_rounds} were expected")
    if expect.one_state_hash:
        verdict.complaints += disagreements(chains)
        verdict.state_hash = chains[0].blocks[verdict.rounds][1] if verdict.rounds else ""
    if verdict.longest_stall > expect.max_stall_seconds:
        say(
            f"no round for {verdict.longest_stall:.1f} s after round {verdict.stall_round}; {expect.max_stall_seconds:g} s allowed"
        )
    for back in progress.back:
        if back.seconds > expect.back_in_seconds:
            say(f"node{back.node} was back {back.seconds:.1f} s after {back.action}; {expect.back_in_seconds:g} s allowed")
    verdict.complaints += [f"node{lost.node} did not come back after {lost.action}" for lost in progress.awaited]
    for seconds in progress.resumes:
        if seconds > expect.resume_in_seconds:
            say(f"the first round after a halt took {seconds:.1f} s; {expect.resume_in_seconds:g} s allowed")
    if verdict.conflicts > expect.double_signatures:
        say(f"{verdict.conflicts} contradicting signatures were seen; {expect.double_signatures} allowed")
    if expect.empty_rounds_at_most is not None and verdict.empty > expect.empty_rounds_at_most:
        say(f"{verdict.empty} empty rounds; {expect.empty_rounds_at_most} allowed")
    if expect.slowest_times_usual is not None:
        _judge_changes(expect.slowest_times_usual, max(chains, key=lambda chain: chain.head), verdict)
    verdict.complaints += net.faults()
    if expect.verify_clean:
        verdict.complaints += [finding for node in net for finding in findings(node.datadir)]


def _judge_changes(limit: float, chain: Chain, verdict: Verdict) -> None:
    """Rounds with operations, and those after them, beside the usual ones."""
    seconds = {round_: at - chain.times[round_ - 1] for round_, at in chain.times.items() if round_ - 1 in chain.times}
    near = {round_ for round_ in seconds if round_ in chain.operated or round_ - 1 in chain.operated}
    usual = [value for round_, value in seconds.items() if round_ not in near]
    verdict.usual, verdict.changing = median(usual) if usual else 0.0, [seconds[round_] for round_ in sorted(near)]
    slowest = max(near, key=seconds.__getitem__, default=None)
    if slowest is not None and seconds[slowest] > limit * verdict.usual:
        verdict.complaints.append(
            f"round {slowest}, in or after which members changed, took {seconds[slowest]:.2f} s, "
            f"{seconds[slowest] / verdict.usual:.1f} x the usual {verdict.usual:.2f} s; {limit:g} x allowed"
        )


def read_chain(node: Daemon) -> Chain:
    """The model blocks in the store of a stopped node."""

    async def read() -> Chain:
        blocks: dict[int, tuple[str, str]] = {}
        times: dict[int, float] = {}
        operated = set()
        empty = 0
        async with open_reader(node.datadir) as store:
            while found := await store.headers(Round(len(blocks) + 1), BATCH):
                for certified in found:
                    state = certified.header.model.state.hex() if certified.header.model is not None else ""
                    times[certified.header.round] = certified.header.time / 1000
                    blocks[certified.header.round] = (certified.certificate.digest.hex(), state)
            for round_ in blocks:
                segment = await store.segment(Round(round_))
                if segment is not None and segment.segment.model.operations:
                    operated.add(round_)
                empty += segment is not None and all(update.offer is None for update in segment.segment.updates)
        return Chain(node.name, blocks, empty, times, frozenset(operated))

    return asyncio.run(read())


def disagreements(chains: Sequence[Chain]) -> list[str]:
    """Rounds of which two nodes hold different blocks or states; the first of each node is told."""
    known: dict[int, tuple[str, tuple[str, str]]] = {}
    found = []
    for chain in chains:
        for round_, block in sorted(chain.blocks.items()):
            other, expected = known.setdefault(round_, (chain.node, block))
            if block != expected:
                found.append(f"a fork: {chain.node} and {other} hold different blocks of round {round_}")
                break
    return found


def conflicts(node: Daemon) -> int:
    """Lines in a node's log that tell of contradicting signatures."""
    parts = [node.text(), *(path.read_text(encoding="utf-8", errors="replace") for path in logs(node.datadir))]
    return sum(any(sign in line for sign in CONFLICTS) for part in parts[1:] or parts for line in part.splitlines())


def logs(datadir: Path) -> list[Path]:
    """The log files of a data directory."""
    return sorted((datadir / "log").glob("bflcd.log*"))


def findings(datadir: Path) -> list[str]:
    """What `bflc-cli verify` finds in the data directory of a stopped node."""
    report = asyncio.run(verify_datadir(datadir, deep=True, on_progress=lambda _: None))
    return [f"{datadir.name}: {finding.where}: {finding.text}" for finding in report.findings]
