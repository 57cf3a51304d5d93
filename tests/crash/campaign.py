"""Kill daemons of one community at failpoints, over and over, and judge each one's return (fault catalogue 17).

A run: a failpoint and a passing are drawn, the daemon is killed there, its store is held against what it had acknowledged and said,
it is started again, and it has to commit a round that closed after that start and to be heard in it by another node.
"""

import asyncio
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

from bflcd.core.records import RoundRecords
from bflcd.inspect.reader import open_reader
from bflcd.store.marks import FILE_BYTES, read
from bflcd.types import Round
from bflcd.wire.envelope import Envelope
from tests.crash.failpoints import DAEMONS, FIRST_START, PRUNED_ONLY, TABLES, Order
from tests.crash.journal import placed
from tests.crash.victims import Victim
from tests.crash.watch import RuntimeObserver
from tests.helpers.daemons import Community

HIT_SECONDS: Final = 30.0
"""How long a failpoint may take to be reached; then the daemon is killed wherever it is."""

REJOIN_SECONDS: Final = 20.0
"""The figure of the catalogue."""

GIVE_UP_SECONDS: Final = 300.0
"""A node that has not rejoined by then never will: the campaign ends."""

POLL_SECONDS: Final = 0.1
MOST_PASSINGS: Final = 4
"""A failpoint kills at its first to its fourth passing."""


@dataclass(frozen=True, slots=True)
class Run:
    """One kill and what became of it."""

    number: int
    node: str
    point: str
    passing: int
    hit: bool
    """False: the failpoint was not reached in time, and the node was killed in between."""
    wiped: bool
    """Whether it started without a chain."""
    rejoin_seconds: float


@dataclass(slots=True)
class Result:
    """What the campaign found."""

    seed: int
    nodes: int
    runs: list[Run] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Blocks, or said messages, that were acknowledged and are not in the store after the kill."""
    stuck: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def summary(self, watch: RuntimeObserver) -> dict[str, Any]:
        """For people and for JSON."""
        rejoined = [run.rejoin_seconds for run in self.runs]
        usual = [run.rejoin_seconds for run in self.runs if not run.wiped]
        points = {run.point for run in self.runs if run.hit}
        return {
            "seed": self.seed,
            "nodes": self.nodes,
            "runs": len(self.runs) + len(self.stuck),
            "at_failpoints": sum(run.hit for run in self.runs),
            "failpoints": len(points),
            "failpoints_never_hit": sorted(set(DAEMONS) - points),
            "rejoined": len(self.runs),
            "rejoined_in_20_s": sum(seconds <= REJOIN_SECONDS for seconds in rejoined),
            "rejoin_median_s": round(median(usual), 2) if usual else None,
            "rejoin_max_s": round(max(usual), 2) if usual else None,
            "first_start_max_s": max((round(run.rejoin_seconds, 2) for run in self.runs if run.wiped), default=None),
            "double_signatures": len(watch.double),
            "forks": len(watch.forks),
            "lost": len(self.lost),
            "messages_compared": watch.messages,
            "rounds": max(watch.chain, default=0),
            "seconds": round(self.seconds, 1),
        }


class Campaign:
    """Kills and judges on several nodes at a time, each thread with victims of its own."""

    def __init__(self, net: Community, victims: list[Victim], runs: int, seed: int, seconds: float) -> None:
        """`seconds`: after that no new run begins."""
        self.result = Result(seed, len(victims))
        self.watch = RuntimeObserver({node.name: (node.journal, node.node_id) for node in victims})
        self._net = net
        self._victims = victims
        self._left = iter(range(runs))
        self._seed = seed
        self._end = time.monotonic() + seconds
        self._turn = threading.Lock()
        self._wiping = threading.Lock()
        self._failed = threading.Event()

    def execute(self, slots: int) -> None:
        """All runs, `slots` at a time. The threads that started the daemons live on until this returns: daemons die with them."""
        begun = time.monotonic()
        with ThreadPoolExecutor(slots) as pool:
            futures = [pool.submit(self._slot, self._victims[slot::slots]) for slot in range(slots)]
            for future in futures:
                future.result()
            self.result.seconds = time.monotonic() - begun
            self._settle()

    def _slot(self, victims: list[Victim]) -> None:
        while not self._failed.is_set() and time.monotonic() < self._end:
            with self._turn:
                number = next(self._left, None)
            if number is None:
                return
            try:
                self._one(number, victims)
            except BaseException:
                self._failed.set()
                raise

    def _one(self, number: int, victims: list[Victim]) -> None:
        draw = random.Random(self._seed * 1_000_003 + number)
        cycle = random.Random(self._seed * 1_000_003 + number // len(DAEMONS))
        point = cycle.sample(DAEMONS, len(DAEMONS))[number % len(DAEMONS)]
        able = [node for node in victims if node.prunes] if point in PRUNED_ONLY else victims
        victim = draw.choice(able)
        passing = 1 if point in (*FIRST_START, *TABLES, *PRUNED_ONLY) else draw.randint(1, MOST_PASSINGS)
        wiped = point in FIRST_START
        if not wiped:
            self._kill_and_judge(number, victim, Order(point, passing), wiped=False)
            return
        # A node that lost everything signs nothing for two rounds: it counts as one of the f that may fail for so long.
        with self._wiping:
            self._kill_and_judge(number, victim, Order(point, passing), wiped=True)
            quiet_until = self.watch.round("") + 3
            self._until(lambda: self._closed(quiet_until), GIVE_UP_SECONDS)

    def _closed(self, round_: int) -> bool:
        self.watch.look()
        return self.watch.round("") >= round_ or self._failed.is_set()

    def _kill_and_judge(self, number: int, victim: Victim, order: Order, *, wiped: bool) -> None:
        hit = self._kill(victim, order, wiped=wiped)
        self.watch.look()
        with self._turn:
            self.result.lost += asyncio.run(lost(victim, self.watch))
        seconds = self._return(victim)
        if seconds is None:
            self.result.stuck.append(f"run {number}: {victim.name} after {order.point} ({order.passing})\n{victim.tail(30)}")
            self._failed.set()
            return
        run = Run(number, victim.name, order.point, order.passing, hit, wiped, round(seconds, 3))
        with self._turn:
            self.result.runs.append(run)
            tell(
                f"{len(self.result.runs):4} {victim.name} {order.point} ({order.passing}{'' if hit else ', not reached'}): back in {seconds:.1f} s, "
                f"round {max(self.watch.chain, default=0)}, double {len(self.watch.double)}, lost {len(self.result.lost)}"
            )

    def _kill(self, victim: Victim, order: Order, *, wiped: bool) -> bool:
        """End the victim at the failpoint; False if it was not reached in time."""
        self._net.expected.discard(victim.name)
        if wiped or order.point in TABLES:
            victim.kill()
            if wiped:
                self.watch.look()
                self.watch.forget(victim.name)
                victim.wipe()
            order.place(victim.order)
            victim.start()
        else:
            order.place(victim.order)
        self._until(lambda: not victim.running, HIT_SECONDS)
        hit = not victim.running
        if not hit:
            victim.order.unlink(missing_ok=True)
            victim.kill()
        assert victim.wait() == -9, victim.tail()
        return hit

    def _return(self, victim: Victim) -> float | None:
        """Start it again; seconds until it has committed a later round and was heard in one."""
        target = self.watch.round(victim.name)
        begun = time.monotonic()
        victim.start()
        seen = self.watch.nodes[victim.name]

        def back() -> float | None:
            self.watch.look()
            assert victim.running, f"{victim.name} ended by itself\n{victim.tail(40)}"
            commits = [at for round_, at in list(seen.commit_times.items()) if round_ > target and at > begun]
            heard = [
                at for round_, at in list(self.watch.heard.get(victim.node_id, {}).items()) if round_ > target and at > begun
            ]
            return max(min(commits), min(heard)) - begun if commits and heard else None

        return self._until(back, GIVE_UP_SECONDS)

    def _until(self, predicate: Callable[[], Any], seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := predicate()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return found

    def _settle(self) -> None:
        """Two more rounds together, then the last comparison."""
        if not self._failed.is_set():
            self._net.wait_rounds(2, GIVE_UP_SECONDS)
        self.watch.look()


async def lost(victim: Victim, watch: RuntimeObserver) -> list[str]:
    """What the dead node had acknowledged or said and its store does not hold."""
    seen = watch.nodes[victim.name]
    if not (victim.datadir / "chain.sqlite3").exists():
        return [f"{victim.name}: no store any more"] if seen.committed else []
    async with open_reader(victim.datadir) as store:
        try:
            head = await store.head()
        except LookupError:
            return [f"{victim.name}: no chain any more"] if seen.committed else []
        found: dict[int, str] = {}
        while len(found) < head.header.round:
            for certified in await store.headers(Round(len(found) + 1), 256):
                found[certified.header.round] = certified.certificate.digest.hex()
        missing = [
            f"{victim.name}: round {round_}, acknowledged as {digest}, is {found.get(round_)}"
            for round_, digest in seen.committed.items()
            if found.get(round_) != digest
        ]
        held = _places(await store.records(head.header.round))
        unsaid = [
            f"{victim.name}: said {place} without a record"
            for place, digest in seen.said.items()
            if place.round == head.header.round and place.kind != "Beacon" and held.get(place) != digest
        ]
    marks = victim.datadir / "marks"
    if seen.said and marks.exists():
        assert marks.stat().st_size == FILE_BYTES
        read(marks)  # raises if no copy is intact
    return missing + unsaid


def _places(records: RoundRecords) -> dict[Any, str]:
    envelopes: Iterable[Envelope] = [r.envelope for r in (*records.votes, *records.own)]
    return dict(placed(envelope) for envelope in envelopes)


def tell(text: str) -> None:
    """Progress, for whoever waits."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def as_json(campaign: Campaign, verified: dict[str, Any]) -> dict[str, Any]:
    """Everything worth keeping."""
    result = campaign.result
    return {
        **result.summary(campaign.watch),
        "verified": verified,
        "double": campaign.watch.double,
        "fork": campaign.watch.forks,
        "lost_what": result.lost,
        "stuck": result.stuck,
        "all_runs": [asdict(run) for run in sorted(result.runs, key=lambda run: run.number)],
    }
