"""What one slow node, one far one, and others' work on the machine cost a community: rounds beside the same one as it is.

`python -m tests.bench degraded` takes one community of ten through four stages: (a) as it is; (b) one node that gets a tenth of the
time, by stopping it and its worker most of each tenth of a second; (c) the same node behind a relay, 150 ms away each way, where
one chunk in twenty is lost and sent again; (d) half of two cores taken for half a minute, and the time after it. All nodes share
this machine's cores with whatever else it does, so (a), (b) and (c) take turns, some rounds each, and are held against each other.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bflcd.inspect.reader import open_reader
from bflcd.types import Round
from tests.bench.work_w import ask, status
from tests.helpers.daemons import Daemon, community
from tests.manifests.relay import NO_LAG, Lag, Relay

NODES, JUDGES, SLOW = 10, 4, 9
WARM, SETTLE, ROUNDS, CYCLES = 12, 4, 20, 3
START_SECONDS, STAGE_SECONDS = 300.0, 400.0

SHARE, PERIOD = 0.1, 0.1
"""Of the time, what the slow node gets, in periods of so many seconds."""

FAR = Lag(delay=0.15, loss=0.05, resent=0.5)
"""150 ms each way. A lost chunk comes again after the retransmission timeout, max(200 ms, RTO): with 300 ms there and back and the
200 ms that Linux adds at least (RFC 6298 with a lower bound), that is 500 ms."""

LOAD_SECONDS, LOAD_SHARE, LOAD_CORES, LOAD_PROCESSES = 30.0, 0.5, 2, 8
"""Many processes, each in a session of its own: a busy kernel deals the cores out by session."""
BACK, IN_A_ROW = 1.1, 3
"""The community is back with the first of so many rounds in a row whose median is at most so many times that before the load."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Rounds of one stage: seconds of each, how many needed a later view; of the slow node: rounds in which it could train, in which
    its update was packed, in which it had a seat."""

    name: str
    seconds: tuple[float, ...] = ()
    later_views: int = 0
    could: int = 0
    packed: int = 0
    seated: int = 0

    def after(self, rows: Sequence[dict[str, Any]], slow: str, packed: int) -> "Stage":
        """With some more rounds of the same stage. `rows`: of the history; `slow`: the slow node's id."""
        seated = sum(slow in row["committee"] for row in rows)
        return Stage(
            self.name,
            (*self.seconds, *(row["seconds"] for row in rows)),
            self.later_views + sum(row["view"] > 0 for row in rows),
            self.could + len(rows) - seated,
            self.packed + packed,
            self.seated + seated,
        )

    @property
    def middle(self) -> float:
        return median(self.seconds)

    @property
    def slowest(self) -> float:
        """The 95th percentile."""
        return _high(self.seconds)


def run() -> list[dict[str, Any]]:
    """The rows, in the order of the stages."""
    with tempfile.TemporaryDirectory(prefix="bflc-bench-") as folder, started(Path(folder) / "net") as (nodes, relay):
        links = [link for other in range(NODES) if other != SLOW for link in ((SLOW, other), (other, SLOW))]
        _wait(nodes, WARM)
        t0 = _view_timeout(nodes)
        usual, slow, far = (Stage(name) for name in ("as it is", "one node at a tenth of its speed", "one node 300 ms away"))
        for _ in range(CYCLES):
            usual = usual.after(*stage(nodes))
            with throttled(nodes[SLOW]) as ran:
                slow = slow.after(*stage(nodes))
            relay.slow(links, FAR)
            far = far.after(*stage(nodes))
            relay.slow(links, NO_LAG)
            past = past_the_relay(nodes, relay)
            _say(
                f"T0 {t0:.2f} s; the slow node ran for {ran[0] / ran[1]:.3f} of the time; {past} of its connections pass the relay by"
            )
            _say("; ".join(f"{one.name}: {one.middle:.2f} s" for one in (usual, slow, far)) + f"; load {os.getloadavg()[0]:.1f}")
        rows = [_row(found, usual, t0) for found in (usual, slow, far)]
        return [*rows, *_of_the_slow(usual), *_of_the_slow(slow), *_of_the_slow(far), *overload(nodes)]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# -- the community -----------------------------------------------------------------------------------------------------------------


@contextmanager
def started(directory: Path) -> Iterator[tuple[list[Daemon], Relay]]:
    """Ten daemons that know each other by their places in the relay alone: whoever heard of a shorter way would take it."""
    options = ("--committee-size", str(JUDGES), "--rounds", "0")
    with community(directory, NODES, *options, task="digits") as net:
        nodes = net.nodes
        ports = {index: int(node.address.split("/")[4]) for index, node in enumerate(nodes)}
        with Relay(ports, lambda: {SLOW: nodes[SLOW].pid} if nodes[SLOW].running else {}, otherwise=0) as relay:
            places = [f"/ip4/127.0.0.1/tcp/{relay.ports[index]}" for index in range(NODES)]
            peers = [f"{place}/p2p/{node.address.rpartition('/')[2]}" for place, node in zip(places, nodes, strict=True)]
            for index, node in enumerate(nodes):
                others = [word for other, peer in enumerate(peers) if other != index for word in ("--bootstrap", peer)]
                node.start(*others, "--announce", places[index])
            yield nodes, relay


def past_the_relay(nodes: Sequence[Daemon], relay: Relay) -> int:
    """Connections of the slow node to other nodes that the relay does not carry; there must be none."""
    ours = {c.laddr.port for c in psutil.Process().net_connections("tcp4") if c.laddr}
    known = ours | set(relay.ports.values())
    open_ones = [c for c in psutil.Process(nodes[SLOW].pid).net_connections("tcp4") if c.raddr]
    return sum(c.raddr.port not in known for c in open_ones)


def _wait(nodes: Sequence[Daemon], rounds: int) -> int:
    """Until so many more rounds are closed, by the word of a node that is not slow; returns the round."""
    watched = nodes[0]
    deadline, target = time.monotonic() + START_SECONDS + STAGE_SECONDS, None
    while time.monotonic() < deadline:
        found = status(watched.datadir)
        if found is not None:
            target = found["round"] + rounds if target is None else target
            if found["round"] >= target:
                return int(found["round"])
        time.sleep(0.5)
    raise TimeoutError(f"{rounds} rounds took longer than {START_SECONDS + STAGE_SECONDS:.0f} s\n{watched.tail()}")


def _view_timeout(nodes: Sequence[Daemon]) -> float:
    async def read() -> float:
        async with open_reader(nodes[0].datadir) as store:
            genesis = await store.genesis()
            assert genesis is not None
            return genesis.params.view_timeout / 1000

    return asyncio.run(read())


# -- stages ------------------------------------------------------------------------------------------------------------------------


def stage(nodes: Sequence[Daemon]) -> tuple[list[dict[str, Any]], str, int]:
    """Let some rounds go by for whoever has just been disturbed, then look at those that follow: their history, the slow node's id,
    and in how many its update was packed."""
    begin = _wait(nodes, SETTLE)
    rows = _history(nodes, begin + 1, _wait(nodes, ROUNDS))
    slow = nodes[SLOW].node_id
    return rows, slow, asyncio.run(_packed(nodes[0].datadir, bytes.fromhex(slow), [row["round"] for row in rows]))


def _history(nodes: Sequence[Daemon], first: int, last: int) -> list[dict[str, Any]]:
    """The committed rounds, a thousand at most."""
    rows: list[dict[str, Any]] = ask(nodes[0].datadir, f"/v1/history?first={first}&count=1000")
    return [row for row in rows if row["round"] <= last]


async def _packed(datadir: Path, node: bytes, rounds: Sequence[int]) -> int:
    """In how many of these rounds an update of `node` was packed."""
    found = 0
    async with open_reader(datadir) as store:
        for round_ in rounds:
            certified = await store.segment(Round(round_))
            assert certified is not None
            updates = certified.segment.updates
            found += any(update.offer is not None and update.offer.author == node for update in updates)
    return found


@contextmanager
def throttled(node: Daemon) -> Iterator[list[float]]:
    """Stop a daemon and its worker most of the time; yields the seconds in which they ran, and all seconds."""
    told, seconds = threading.Event(), [0.0, 0.0]

    def beat() -> None:
        if os.geteuid() == 0:  # else a busy machine lets the thread come late to stop them
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
        begun = time.monotonic()
        while not told.is_set():
            at = time.monotonic()
            _signal(node, signal.SIGCONT)
            time.sleep(SHARE * PERIOD)
            _signal(node, signal.SIGSTOP)
            ran = time.monotonic() - at
            seconds[0] += ran
            told.wait(ran * (1 - SHARE) / SHARE)  # a busy machine wakes us late: what it ran too long it stands longer
        _signal(node, signal.SIGCONT)
        seconds[1] = time.monotonic() - begun

    thread = threading.Thread(target=beat, name="throttle")
    thread.start()
    try:
        yield seconds
    finally:
        told.set()
        thread.join()


def _signal(node: Daemon, number: int) -> None:
    """To the daemon and its worker, which share a process group."""
    os.killpg(node.pid, number)


# -- others' work on the machine -----------------------------------------------------------------------------------------------------


def overload(nodes: Sequence[Daemon]) -> list[dict[str, Any]]:
    """Rounds before, during and after a load of half of two cores; how long until they are as fast as before."""
    before = Stage("before the load").after(*stage(nodes))
    with loaded() as used:
        begun = time.time()
        time.sleep(LOAD_SECONDS)
    ended = time.time()
    _say(f"the load took {used():.2f} of {LOAD_CORES} cores")
    last = _wait(nodes, ROUNDS + SETTLE)
    rows = [row for row in _history(nodes, max(1, last - 900), last) if row["time"] / 1000 >= begun]
    during = [row for row in rows if row["time"] / 1000 - row["seconds"] >= begun and row["time"] / 1000 < ended]
    after = [row for row in rows if row["time"] / 1000 - row["seconds"] >= ended]
    seconds = [row["seconds"] for row in after]
    limit = BACK * before.middle
    places = range(len(seconds) - IN_A_ROW + 1)
    first = next((place for place in places if median(seconds[place : place + IN_A_ROW]) <= limit), None)
    back = None if first is None else after[first]["time"] / 1000 - ended
    return [
        {
            "row": f"s a round while {LOAD_SHARE:.0%} of {LOAD_CORES} cores are taken, median (95th percentile)",
            "value": _two(median(row["seconds"] for row in during), _high([row["seconds"] for row in during])),
            "floor": round(before.middle, 2),
            "floor_is": "before",
            "ratio": round(median(row["seconds"] for row in during) / before.middle, 2),
        },
        {"row": "rounds in a later view, then", "value": f"{sum(row['view'] > 0 for row in during)} of {len(during)}"},
        {"row": "s a round after it, median (95th percentile)", "value": _two(median(seconds), _high(seconds))},
        {
            "row": f"s until rounds take at most {BACK} x what they took before",
            "value": "not in this run" if back is None else round(back, 1),
            "budget": "<= 10",
        },
    ]


@contextmanager
def loaded() -> Iterator[Any]:
    """Processes that want half of two cores, like anybody else; yields a function that says, at the end, how many cores they had."""
    context = multiprocessing.get_context("spawn")
    start, stop = context.Barrier(LOAD_PROCESSES + 1), context.Event()
    processes = [context.Process(target=_burn, args=(start, stop, core)) for core in range(LOAD_PROCESSES)]
    for process in processes:
        process.start()
    watched = [psutil.Process(process.pid) for process in processes]
    start.wait(START_SECONDS)
    begun, taken = time.monotonic(), [-_cpu_seconds(watched), 1.0]
    try:
        yield lambda: taken[0] / taken[1]
    finally:
        taken[:] = [taken[0] + _cpu_seconds(watched), time.monotonic() - begun]
        stop.set()
        for process in processes:
            process.join()


def _cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def _burn(start: Any, stop: Any, core: int) -> None:
    """Take so much of one core that the processor time of all of these keeps up with `LOAD_SHARE` of `LOAD_CORES`."""
    os.setsid()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})
    start.wait(START_SECONDS)
    begun, before = time.monotonic(), time.process_time()
    while not stop.is_set():
        ahead = (time.process_time() - before) - LOAD_SHARE * LOAD_CORES / LOAD_PROCESSES * (time.monotonic() - begun)
        if ahead > 0:
            time.sleep(ahead)
        else:
            sum(range(20_000))


# -- rows ----------------------------------------------------------------------------------------------------------------------------


def _row(found: Stage, usual: Stage, t0: float) -> dict[str, Any]:
    """Seconds a round, beside the community as it is. A round may take a quarter longer, and T0."""
    row = {
        "row": f"{found.name}: s a round of all, median (95th percentile); rounds in a later view",
        "value": f"{_two(found.middle, found.slowest)}; {found.later_views} of {len(found.seconds)}",
    }
    if found is usual:
        return row
    limits = [1.25 * seconds + t0 for seconds in (usual.middle, usual.slowest)]
    return {
        **row,
        "floor": _two(usual.middle, usual.slowest),
        "floor_is": usual.name,
        "ratio": round(found.middle / usual.middle, 2),
        "budget": f"<= 1.25 x + T0: {_two(*limits)}",
    }


def _of_the_slow(found: Stage) -> list[dict[str, Any]]:
    packed = f"{found.packed} of {found.could}; it had a seat in {found.seated}"
    return [{"row": f"{found.name}: its update packed, of the rounds in which it could train", "value": packed}]


def _two(middle: float, slowest: float) -> str:
    return f"{middle:.2f} ({slowest:.2f})"


def _high(seconds: Sequence[float]) -> float:
    return sorted(seconds)[ceil(0.95 * len(seconds)) - 1]
