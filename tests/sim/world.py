"""The simulated world: many real cores on one seeded event heap in virtual time, under one drawn fault profile."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any, Final

from bflcd.core.effects import Commit, Effect
from bflcd.core.records import Head
from bflcd.crypto.identity import Signer
from bflcd.ledger.quorum import faults
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.types import Millis, NodeId, PartsPerMillion
from bflcd.wire.blocks import chain_id_of, header_hash
from bflcd.wire.envelope import Envelope
from bflcd.wire.recovery import Recovery
from tests.helpers.inside import round_of
from tests.helpers.ledger import make_genesis
from tests.sim.links import HEARTBEAT, Links
from tests.sim.network import Network
from tests.sim.node import SimNode
from tests.sim.safety import Safety
from tests.sim.setup import Setup
from tests.sim.signing import Keyring
from tests.sim.trace import Trace, mark_of_effect, mark_of_event, mark_of_message, words_of, words_of_message

if TYPE_CHECKING:
    from tests.sim.recording import Recording

MAX_VIEW_FACTOR: Final = 16
"""T(v) is at most 16 T0."""

AHEAD: Final = 2
"""Rounds that everybody must close after the heal."""

SETTLING: Final = 500
"""Milliseconds after the heal in which what was down comes back."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a seed gave. `seconds`: how long after the heal everybody had closed `AHEAD` rounds, in virtual time; None if never."""

    seed: int
    profile: str
    nodes: int
    violations: tuple[str, ...]
    trace_hash: str
    events: int
    virtual_ms: int
    rounds: int
    out_of_contract: bool
    healed_ms: int | None
    limit_ms: int
    blames: dict[str, int]
    """Refusals that honest nodes charged to honest nodes: harmless ones, by name."""
    liars: int = 0
    punished: int = 0
    """Of the liars, those against whom evidence stands in a block."""
    recoveries: tuple[int, ...] = ()
    """For each recovery, the share in percent of its limit after which its round was closed everywhere."""
    changes: int = 0
    """Blocks by which somebody came or went."""
    carried: dict[str, int] | None = None
    """Operations in blocks, by kind."""
    superseded: int = 0
    """Committed blocks that a recovery undid, since nobody who could be reached had prepared them (design 6.8)."""
    lines: tuple[str, ...] = ()


class World(Links):
    """One run. Profiles and strategies use its public methods only."""

    def __init__(self, seed: int, setup: Setup, profile: str, *, readable: bool = False, raise_errors: bool = False) -> None:
        self.seed, self.setup, self.profile = seed, setup, profile
        self.rng = Random(f"{seed}/world")
        self.raise_errors = raise_errors
        self.torn_logs = False
        self.keyring = Keyring(setup.nodes, real=setup.real_keys)
        self.genesis, _ = make_genesis(
            nodes=setup.nodes - setup.strangers,
            committee=setup.committee,
            places=setup.places,
            small_community=setup.small,
            view_timeout=Millis(setup.view_timeout),
            collect_deadline=Millis(setup.collect_deadline),
            score_rule=setup.score_rule,
            sealed_cards=setup.sealed_cards,
            late_serving=setup.late_serving,
            election=setup.election,
            reputation_rounds=setup.reputation_rounds,
            active_fraction=PartsPerMillion(setup.active_fraction),
            canary_share=PartsPerMillion(setup.canary_share),
            card_share=PartsPerMillion(setup.card_share),
        )
        if setup.managers:
            ids = [member.node for member in self.genesis.members]
            self.genesis = replace(self.genesis, managers=tuple(sorted(ids[index] for index in setup.managers)))
        self.genesis = replace(self.genesis, terms=setup.terms)
        self.chain = chain_id_of(self.genesis)
        self.wall = self.genesis.time + 1_000
        header, state = genesis_header(self.genesis), genesis_state(self.genesis)
        self.genesis_head = Head(header, header_hash(header), state)
        self.now = 0
        self.events = self.commits = 0
        self.trace = Trace(readable=readable)
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self.net = Network(setup.nodes, Random(f"{seed}/net"))
        self.bad_updates: set[bytes] = set()
        self.failing_work = 0.0
        self.downtime = (10, 3_000)
        self.watch: Callable[[SimNode, Effect], None] | None = None
        """Called after every effect."""
        self.on_recovery: Callable[[Recovery], None] | None = None
        """Called once a quorum of managers has signed one."""
        self.recording: Recording | None = None
        self.safety = Safety(self)
        self.heal_at = 0
        self.heal_rounds = 6
        self.healed: int | None = None
        self.goal: int | None = None
        self.further = 0
        """Rounds beyond the goal that were waited for a punishment."""
        self.limit = 0
        self.done = False
        self.reached: int | None = None
        self.top = 0
        self.nodes: list[SimNode] = []
        self.by_id: dict[NodeId, SimNode] = {}

    def populate(self) -> None:
        """Make the nodes; `torn_logs` must be set by now."""
        for index, (node_id, signer) in enumerate(self.keyring.signers.items()):
            node = SimNode(self, index, signer, self.keyring.seeds[node_id])
            self.nodes.append(node)
            self.by_id[node.id] = node

    def another_key(self, node: SimNode) -> Signer:
        """A key that a node may rotate to, in its files from now on."""
        key = self.keyring.another()
        node.keys.append(key)
        self.by_id[key.node_id] = node
        return key

    # -- time ---------------------------------------------------------------------------------------------------------

    def after(self, delay: int, action: Callable[..., None], *arguments: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (self.now + delay, self._sequence, action, arguments))

    def run(self, *, heal_at: int, heal_rounds: int = 6) -> Result:
        """Faults until `heal_at` or until a round is reached, then wait for everybody. The first violation ends it."""
        self.heal_at, self.heal_rounds = heal_at, heal_rounds
        for node in self.nodes:
            self.after(self.rng.randint(0, 1_000), node.start)
            self.after(self.rng.randint(0, HEARTBEAT), self._heartbeat, node)
        self.after(heal_at, self.heal)
        while self._heap and not self.safety.violations and not self.done and not self.safety.out_of_contract:
            at, _, action, arguments = heapq.heappop(self._heap)
            if self.limit and at > self.limit:
                self._too_late()
                break
            self.now = at
            action(*arguments)
        for node in self.nodes:
            self.safety.check_early(node)
        if self.done:
            self.safety.check_chains()
        result = self._result()
        for fiber in [fiber for node in self.nodes for fiber in node.fibers]:  # what is under way, or has not begun
            fiber.kill()
        return result

    def _result(self) -> Result:
        return Result(
            seed=self.seed,
            profile=self.profile,
            nodes=self.setup.nodes,
            violations=tuple(self.safety.violations),
            trace_hash=self.trace.hexdigest(),
            events=self.events,
            virtual_ms=self.now,
            rounds=self.top,
            out_of_contract=self.safety.out_of_contract,
            healed_ms=None if self.reached is None or self.healed is None else self.reached - self.healed,
            limit_ms=self.limit - (self.healed or 0),
            blames=dict(self.safety.blames),
            liars=sum(not node.honest for node in self.nodes),
            punished=len(self.safety.punished),
            recoveries=tuple(self.safety.recoveries),
            changes=self.safety.changes,
            carried=dict(self.safety.carried),
            superseded=len(self.safety.superseded),
            lines=tuple(self.trace.lines),
        )

    def _too_few(self) -> bool:
        """Whether more than f of the running committee lie, are gone, or may sign nothing: then only managers can help (6.8).

        A liar that was punished makes a small community smaller, and a node that died before it had signed anything looks like
        one that has lost its disk.
        """
        ahead = max(self.nodes, key=lambda node: node.round)
        committee = ahead.disk.head.state.committee
        seats = [self.by_id[node] for node in committee]
        silent = [
            node for node in seats if not node.honest or node.gone or (node.core is not None and not round_of(node.core).may_sign)
        ]
        return len(silent) > faults(len(committee))

    def _model_lost(self) -> bool:
        """Whether no disk that is left has a whole copy of the newest model: damage and deaths together took the last one."""
        blob = max(self.living, key=lambda node: node.round).disk.head.header.blob
        return blob is not None and not any(node.disk.intact(blob.root) for node in self.living)

    def _too_late(self) -> None:
        if self._too_few() or self._model_lost():
            self.safety.out_of_contract = True
            return
        stood = ", ".join(f"{node.name}={node.round}" for node in self.living)
        self.safety.violate(
            f"no progress: {self.limit - (self.healed or 0)} ms after the heal not everybody is at round {self.goal} ({stood})"
        )

    # -- the heal -----------------------------------------------------------------------------------------------------

    @property
    def living(self) -> list[SimNode]:
        """Honest members that are not gone for ever: those that must make progress in the end."""
        out = self.safety.out
        return [node for node in self.nodes if node.honest and not node.gone and any(key.node_id not in out for key in node.keys)]

    def heal(self) -> None:
        """Every fault ends but those within f: liars, the dead, those whose disk forgot."""
        if self.healed is not None:
            return
        self.healed = self.now
        self.note(None, "heal", "", b"")
        self.net.heal()
        self.failing_work = 0.0
        for node in self.nodes:
            node.disk.full = False
            node.disk_ms = min(node.disk_ms, 2)
            node.crash_in = None
            node.resume()
            if not node.running:
                self.after(self.rng.randint(0, SETTLING // 2), node.start)
        self.after(SETTLING, self._set_goal)

    def _set_goal(self) -> None:
        for node in self.nodes:
            node.crash_in = None
            if not node.running:
                node.start()
        self.goal = max((node.round for node in self.nodes), default=0) + AHEAD
        self.safety.held_by_all = self.safety.waiting()
        self.limit = self.now + self.allowance()
        self.note(None, "goal", f"round {self.goal} by {self.limit}", b"")

    def allowance(self) -> int:
        """Virtual milliseconds from the heal to the goal, stated: catching up and 2 T(vmax), then for each round its collection,
        and S(f) + T0 for f bad leaders in a row; the rounds are those to the goal, the running one, and one that its amnesiacs
        sit out in silence."""
        setup = self.setup
        t0 = setup.view_timeout
        bad_leaders = (
            sum(t0 * min(2**view, MAX_VIEW_FACTOR) for view in range(faults(min(setup.committee, setup.nodes)) + 1)) + t0
        )
        each = setup.collect_deadline + setup.train_ms[1] + bad_leaders
        return 30_000 + 2 * MAX_VIEW_FACTOR * t0 + MAX_VIEW_FACTOR * t0 + (AHEAD + 2) * each

    def newest(self, round_: int) -> None:
        """A round was decided for the first time."""
        self.top = max(self.top, round_)
        if self.healed is None and round_ >= self.heal_rounds:
            self.after(0, self.heal)

    def advanced(self, _: SimNode) -> None:
        """A node committed: is everybody there?"""
        goal = self.goal
        if goal is None or not all(node.round >= goal for node in self.living):
            return
        unpunished = self.safety.unpunished(goal - AHEAD)
        waiting = self.safety.held_by_all & self.safety.waiting()
        if (unpunished or waiting) and self.further <= self.setup.f:
            self.further += 1  # so many liars can lead one after the other and leave the evidence out
            self.goal, self.limit = goal + 1, self.limit + self.allowance() // AHEAD
            return
        if unpunished:
            names = ", ".join(map(self.name, sorted(unpunished)))
            self.safety.violate(
                f"{names} lied, honest nodes can prove it, and no block does, {AHEAD + self.further} rounds later"
            )
        if waiting:
            text = f"{len(waiting)} operations that everybody holds and any block may carry are in none"
            self.safety.violate(f"{text}, {AHEAD + self.further} rounds later")
        self.done, self.reached = True, self.reached or self.now

    # -- what happens to nodes ----------------------------------------------------------------------------------------

    def down(self, node: SimNode) -> None:
        """A process died at an effect boundary: it is started again after a while."""
        if node.doomed:
            node.gone = True
            return
        self.after(self.rng.randint(*self.downtime), self._restart, node)

    def _restart(self, node: SimNode) -> None:
        node.disk.full = False
        node.start()

    def crash(self, node: SimNode, *, power: bool) -> None:
        """Kill a process now, and start it again later."""
        if node.running:
            node.crash(power=power)
            self.down(node)

    def train_ms(self, node: SimNode) -> int:
        return self.rng.randint(*self.setup.train_ms)

    def score_ms(self, node: SimNode) -> int:
        return self.rng.randint(*self.setup.score_ms)

    def work_fails(self) -> bool:
        return bool(self.failing_work) and self.rng.random() < self.failing_work

    def verify(self, envelope: Envelope) -> bool:
        return self.keyring.verify(envelope)

    # -- the trace ----------------------------------------------------------------------------------------------------

    def record_said(self, node: SimNode, message: Any, to: tuple[NodeId, ...]) -> None:
        """A message leaves a node."""
        if self.recording is not None:
            self.recording.said(self.now, node.name, message, to)

    def record_commit(self, node: SimNode, effect: Commit) -> None:
        """A node has committed."""
        if self.recording is not None:
            certificate = effect.certified.certificate
            self.recording.committed(self.now, node.name, effect.state.round, certificate.view, certificate.digest)

    def name(self, node: NodeId) -> str:
        found = self.by_id.get(node)
        return node.hex()[:6] if found is None else found.name

    def note(self, node: SimNode | None, what: str, text: str, mark: bytes) -> None:
        """Something that is neither event nor effect."""
        self.trace.add(self.now, "-" if node is None else node.name, what, mark)
        self.line(node, f"-- {what} {text}")

    def line(self, node: SimNode | None, text: str) -> None:
        if self.trace.readable:
            self.trace.line(self.now, "---" if node is None else node.name, text)

    def trace_event(self, node: SimNode, event: Any) -> None:
        self.trace.add(self.now, node.name, type(event).__name__, mark_of_event(event))
        if self.trace.readable:
            self.trace.line(self.now, node.name, f"<- {words_of(event, self.name)}")

    def trace_effect(self, node: SimNode, effect: Any) -> None:
        self.trace.add(self.now, node.name, type(effect).__name__, mark_of_effect(effect))
        if self.trace.readable:
            self.trace.line(self.now, node.name, f"   -> {words_of(effect, self.name)}")

    def trace_lie(self, node: SimNode, message: Any, to: tuple[NodeId, ...]) -> None:
        """A liar says what its core did not."""
        mark = message[:64] if isinstance(message, bytes) else mark_of_message(message)
        self.trace.add(self.now, node.name, "lie", mark)
        if self.trace.readable:
            words = f"{len(message)} bytes" if isinstance(message, bytes) else words_of_message(message, self.name)
            self.trace.line(self.now, node.name, f"   ~> LIES to {','.join(map(self.name, to))}: {words}")
