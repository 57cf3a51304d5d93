"""Running a manifest: daemons on loopback, perturbed on time, watched, stopped, judged."""

import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.helpers.daemons import Community, Daemon, community
from tests.manifests.changing import Changer, make_newcomers
from tests.manifests.choosing import Standing, choose
from tests.manifests.disturbing import Disturbance, Disturber
from tests.manifests.judging import Verdict, judge
from tests.manifests.manifest import TASKS, Manifest, Perturbation, bearable
from tests.manifests.relay import Relay
from tests.manifests.watching import Progress, Watcher, clock

START_SECONDS: Final = 240.0
"""Until every daemon has closed round 1, on a machine that has much else to do."""

LOOK_SECONDS: Final = 0.4
TICK_SECONDS: Final = 0.05

AFTER_ROUNDS: Final = 2
"""Rounds that must close after the last disturbance, before a community that runs for a time is stopped."""

FLIGHT_ROUNDS: Final = 1
"""Rounds that may close in a halt: the one whose votes were on their way."""

GIVE_UP: Final = 2.0
"""So many times the longest stall that is allowed, and the run is ended: it has failed, and shows nothing more."""


class FailedRunError(Exception):
    """The community did something that makes going on pointless."""


@dataclass(slots=True)
class _Planned:
    """A perturbation and how often it was done; `due` in seconds, or `round`."""

    step: Perturbation
    done: int = 0
    due: float = 0.0
    round: int = 0

    def is_due(self, now: float, round_: int) -> bool:
        return self.done < self.step.times and now >= self.due and round_ >= self.round

    def advance(self, now: float, round_: int) -> None:
        """It was done now: when is the next?"""
        self.done += 1
        if self.step.every_rounds:
            self.round = round_ + self.step.every_rounds
        else:
            self.due = max(now, self.due) + self.step.every if self.step.when is None else self.due + self.step.every


@dataclass(slots=True)
class _Halt:
    """A halt that is on: no round may close after `round` but those in flight."""

    disturbance: Disturbance
    round: int


@dataclass
class Run:
    """One run of a manifest. `say` is told what happens, for people."""

    manifest: Manifest
    net: Community
    relay: Relay | None
    rng: Random
    progress: Progress = field(default_factory=Progress)
    active: list[Disturbance] = field(default_factory=list)
    halts: list[_Halt] = field(default_factory=list)
    perturbations: int = 0
    last: int = 0
    """The foremost round when the time was over and everyone was back."""

    def __post_init__(self) -> None:
        self.watcher = Watcher(self.net, self.manifest.community.observers)
        self.disturber = Disturber(self.net, self.start, self.relay)
        self.changer = Changer(
            self.net,
            self.manifest.change,
            make_newcomers(self.net, self.manifest.community.newcomers),
            self.rng,
            lambda text: self._tell(f"round {self.progress.round}: {text}"),
            least=self.manifest.community.nodes - 1,
        )
        self.members = self.manifest.community.nodes
        self.plan = [_Planned(step, due=step.when or 0.0, round=step.first or 0) for step in self.manifest.perturb]
        self.begun = clock()

    def start(self, index: int, wiped: bool = False) -> None:
        """Start a node with the flags that are its own."""
        node, wanted = self.net[index], self.manifest.community
        pruned = wanted.store == "pruned" or (wanted.store == "mixed" and index % 2 == 1)
        flags = ["--prune-keep", str(wanted.keep)] if pruned else []
        flags += ["--observe"] if index in wanted.observers else []
        flags += ["--chain-id", self.net.chain_id] if wiped else []
        if self.relay is not None:
            flags += ["--announce", self._address(index)]
            for other in range(len(self.net.nodes)):
                flags += ["--bootstrap", f"{self._address(other)}/p2p/{_peer_id(self.net[other])}"] if other != index else []
        self.net.start([node], *flags, *wanted.flags)

    def _address(self, index: int) -> str:
        assert self.relay is not None
        return f"/ip4/127.0.0.1/tcp/{self.relay.ports[index]}"

    # -- from start to end ---------------------------------------------------------------------------------------------

    def to_the_end(self) -> None:
        """Start all, go through the perturbations, stop all. Raises FailedRunError, AssertionError."""
        for index in range(self.members):
            self.start(index)
        self.net.wait_round(1, START_SECONDS)
        self.begun = clock()
        self.progress.look(self.begun, self.watcher.statuses())
        self.progress.moved, self.progress.longest_stall = self.begun, 0.0
        looked = 0.0
        while True:
            time.sleep(TICK_SECONDS)
            self._end_due()
            if clock() - looked >= LOOK_SECONDS:
                looked = clock()
                statuses = self._look()
                self._begin_due()
                self.changer.look(self.progress.round)
                if self._finished(statuses):
                    break
        self.progress.finish(clock())
        self._stop()

    def _look(self) -> dict[int, dict[str, object]]:
        before = self.progress.round
        statuses = self.watcher.statuses()
        self.progress.look(clock(), statuses)
        self.net.check()
        for halt in self.halts:
            if self.progress.round > halt.round + FLIGHT_ROUNDS:
                raise FailedRunError(f"round {self.progress.round} closed while the community should have halted at {halt.round}")
        if self.progress.round != before:
            self._tell(f"round {self.progress.round}", end="\r")
        self._mind_standstill()
        return statuses

    def _mind_standstill(self) -> None:
        expect = self.manifest.expect
        now = clock()
        if not self.progress.halted and now - self.progress.moved > GIVE_UP * expect.max_stall_seconds:
            raise FailedRunError(f"no round after {self.progress.round} for {now - self.progress.moved:.0f} s")
        healed = self.progress.healed
        if self.progress.halted and healed is not None and now - healed > GIVE_UP * expect.resume_in_seconds:
            raise FailedRunError(f"no round after {self.progress.round}, {now - healed:.0f} s after the halt ended")
        for awaited in self.progress.awaited:
            if not self.progress.halted and now - awaited.since > GIVE_UP * expect.back_in_seconds:
                raise FailedRunError(f"node{awaited.node} is not back {now - awaited.since:.0f} s after {awaited.action}")

    def _finished(self, statuses: dict[int, dict[str, object]]) -> bool:
        if not self.changer.finished:
            return False
        if self.active or any(planned.done < planned.step.times for planned in self.plan) or self.progress.awaited:
            return False
        wanted = self.manifest.community
        if wanted.rounds:
            return len(statuses) >= wanted.nodes and all(statuses[index]["done"] for index in self._following(statuses))
        if clock() - self.begun < wanted.duration or self.progress.halted:
            self.last = self.progress.round
        following = self._following(statuses)
        return len(following) >= min(wanted.nodes, len(self.changer.members)) and all(
            statuses[index]["round"] >= self.last + AFTER_ROUNDS for index in following
        )

    def _following(self, statuses: dict[int, dict[str, object]]) -> list[int]:
        """Members that answer: who is out hears of no round any more."""
        there = {self.changer.known[identity].name for identity in self.changer.members}
        return [index for index in statuses if self.net[index].name in there]

    def _stop(self) -> None:
        if self.manifest.expect.no_warnings:
            told = {self.net[i].name: s["warnings"] for i, s in self.watcher.statuses().items() if s["warnings"]}
            if told:
                raise FailedRunError(f"warnings at the end: {told}")
        codes = self.net.stop(*(node for node in self.net if node.running))
        if any(codes):
            raise FailedRunError(f"SIGTERM ended the daemons with {codes}")

    # -- perturbations -------------------------------------------------------------------------------------------------

    def _begin_due(self) -> None:
        for planned in self.plan:
            now = clock() - self.begun
            if planned.is_due(now, self.progress.round) and not (planned.step.after_back and self._someone_is_away()):
                self._begin(planned, now)

    def _someone_is_away(self) -> bool:
        return bool(self.active or self.progress.awaited)

    def _begin(self, planned: _Planned, now: float) -> None:
        step = planned.step
        if step.halts:
            self._look()
        standing = self.watcher.standing({index for done in self.active for index in done.targets})
        targets = choose(step.who, standing, self.rng, number=planned.done, amount=step.count)
        if not targets:
            return  # somebody whom it names is still disturbed: it waits
        every = Standing(standing.nodes, frozenset(range(standing.nodes)), standing.round, standing.committee, standing.leader)
        peers = choose(step.peers, every, self.rng) if step.action == "disconnect" else ()
        done = self.disturber.begin(step, targets, peers, clock())
        if step.halts and not self._has_halted(done):
            self.disturber.end(done)
            self._tell(f"{step.action} {_names(targets)}: the committee had changed; tried again")
            return
        planned.advance(now, self.progress.round)
        self.perturbations += 1
        self.active.append(done)
        for index in targets:
            self.progress.disturbed(index)
        if step.halts:
            self.halts.append(_Halt(done, self.progress.round))
            self.progress.halt()
        self._tell(
            f"round {self.progress.round}: {step.action} {_names(targets)}" + (f" for {step.lasts:g} s" if step.lasts else "")
        )

    def _has_halted(self, done: Disturbance) -> bool:
        """Whether more than f of the committee are gone, now that they are; who is killed or cut off can't be tried twice."""
        if done.step.action != "pause":
            return True
        time.sleep(LOOK_SECONDS)
        self._look()
        hit = set(self.watcher.standing(set()).committee) & set(done.targets)
        return len(hit) > bearable(self.manifest.community)

    def _end_due(self) -> None:
        for done in [done for done in self.active if clock() >= done.ends]:
            self.active.remove(done)
            if any(halt.disturbance is done for halt in self.halts):
                self._look()
            self.disturber.end(done)
            ended = clock()
            for index in done.targets:
                self.progress.released(index, done.step.action, ended)
            if any(halt.disturbance is done for halt in self.halts):
                self.halts = [halt for halt in self.halts if halt.disturbance is not done]
                self.progress.heal(ended)
            if done.step.lasts:
                self._tell(f"round {self.progress.round}: {done.step.action} of {_names(done.targets)} is over")

    def _tell(self, text: str, end: str = "\n") -> None:
        sys.stderr.write(f"\r\x1b[K{clock() - self.begun:6.1f} s  {self.manifest.name}: {text}{end}")
        sys.stderr.flush()


def run_manifest(manifest: Manifest, directory: Path) -> Verdict:
    """Run a manifest in `directory`, which keeps data directories and outputs; never raises for what the daemons do."""
    wanted = manifest.community
    task = TASKS.get(wanted.task, wanted.task)
    options = ["--committee-size", str(wanted.committee), "--places", str(wanted.places), "--rounds", str(wanted.rounds)]
    options += ["--view-timeout", str(wanted.view_timeout), "--partition", "equal", "--seed", str(manifest.seed)]
    options += ["--small-community"] if wanted.small else []
    options += [word for option in wanted.options for word in ("--option", option)]
    options += [word for param in wanted.params for word in ("--param", param)]
    verdict = Verdict(manifest.name, manifest.seed)
    begun = clock()
    with ExitStack() as stack:
        try:
            net = stack.enter_context(community(directory / manifest.name, wanted.nodes, *options, task=task))
        except (subprocess.TimeoutExpired, AssertionError) as error:
            verdict.complaints.append(f"the community could not be made: {error}")
            return verdict
        relay = stack.enter_context(_relay(net)) if manifest.relayed else None
        run = Run(manifest, net, relay, Random(manifest.seed))
        try:
            run.to_the_end()
            judge(manifest.expect, net, run.progress, verdict)
            verdict.changes = dict(run.changer.carried)
        except (FailedRunError, AssertionError) as error:
            verdict.complaints.append(str(error))
            verdict.rounds = run.progress.round
            sys.stderr.write(f"\n{net.report()}\n")
        verdict.perturbations = run.perturbations
    verdict.seconds = clock() - begun
    return verdict


def _relay(net: Community) -> Relay:
    ports = {index: int(node.address.split("/")[4]) for index, node in enumerate(net)}
    return Relay(ports, lambda: {index: node.pid for index, node in enumerate(net) if node.running})


def _peer_id(node: Daemon) -> str:
    return node.address.rpartition("/")[2]


def _names(targets: tuple[int, ...]) -> str:
    return ", ".join(f"node{index}" for index in targets)
