"""A simulated daemon: the real core, services and store rules; what the runtime and the composition root do, in virtual time."""

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING

from bflcd.core.core import Core
from bflcd.core.effects import (
    Aggregate,
    Blame,
    CancelWork,
    CatchUp,
    Commit,
    Effect,
    FetchBlob,
    FetchEnvelopes,
    FetchEvidence,
    FetchSegment,
    Halt,
    Notice,
    Persist,
    Score,
    Send,
    Train,
)
from bflcd.core.events import (
    Confirmed,
    Event,
    Instant,
    MessageReceived,
    Started,
)
from bflcd.core.records import Record
from bflcd.core.signing_guard import Mark, SigningGuard
from bflcd.crypto.hashing import Domain, digest
from bflcd.crypto.identity import Signer
from bflcd.errors import InvariantError, MachineError
from bflcd.net.blob_server import BlobServer
from bflcd.net.race import Race
from bflcd.net.sync import ChainSync
from bflcd.node.runtime.loop import PATIENCE_SECONDS, _joined
from bflcd.node.services import ChainService
from bflcd.types import Digest, Millis, NodeId, Round
from bflcd.wire.messages import Gossip
from tests.sim.disk import Disk, run_now
from tests.sim.durable import Durable

if TYPE_CHECKING:
    from tests.sim.strategies import Liar
    from tests.sim.world import World

from tests.sim.catchup import Following
from tests.sim.work import FIRST_LOOK, LEAST_SLEEP, MAX_WAITING, SETTLED, Crash, Job, Work


class SimNode(Work, Following, Durable):
    """One machine: its process while it runs, its disk always."""

    def __init__(self, world: "World", index: int, signer: Signer, seed: bytes) -> None:
        self.world = world
        self.index = index
        self.signer = signer
        self.id: NodeId = signer.node_id
        self.seed = seed
        self.name = f"n{index:02d}"
        self.disk = Disk(world.genesis, torn_logs=world.torn_logs)
        self.liar: Liar | None = None
        self.pruned_keep = 0
        self.life = 0
        self.running = False
        self.paused = False
        self.gone = False
        """For ever."""
        self.doomed = False
        """Whether its next death is for ever."""
        self.crash_in: int | None = None
        """Effect boundaries until the process dies."""
        self.fail_mark = False
        """The full disk shows at the mark file only."""
        self.disk_ms = 0
        """Milliseconds of a durable write."""
        self.wall_offset = 0
        self.amnesia = False
        """Whether this disk forgot something that it had acknowledged."""
        self.attempts = 0
        self._reset()

    def _reset(self) -> None:
        self.core: Core | None = None
        self.started = False
        self.inbox: deque[tuple[Event, Job | None]] = deque()
        self.waiting: deque[MessageReceived] = deque()
        self.busy: Generator[int, None, None] | None = None
        self.sleeping = False
        self.pumping = False
        self.wake: int | None = None
        self.ticked = -LEAST_SLEEP
        self.jobs: list[Job] = []
        self.fetching: dict[tuple[Digest, str | None], Job] = {}
        self.payloads: dict[Digest, None] = {}
        self.claims: dict[NodeId, Round] = {}
        self.looked = False
        self.restricted: dict[Digest, Round] = {}
        self.damaged: dict[Digest, None] = {}
        self.following = False
        self.pending_records: tuple[Record, ...] = ()
        self.pending_mark: Mark | None = None
        self.guard = SigningGuard()
        self.told = False

    # -- life and death -----------------------------------------------------------------------------------------------

    @property
    def honest(self) -> bool:
        return self.liar is None

    @property
    def round(self) -> int:
        return self.disk.head.state.round

    def instant(self) -> Instant:
        now = self.world.now
        return Instant(Millis(1_000 + now + 7_919 * self.life), Millis(self.world.wall + now + self.wall_offset))

    def mono(self, now: int) -> int:
        return 1_000 + now + 7_919 * self.life

    def start(self) -> None:
        """Boot, as `app._make_core` and `_live` do."""
        if self.running or self.gone:
            return
        self._reset()
        self.life += 1
        self.running = True
        self.paused = False
        world, disk = self.world, self.disk
        head = disk.head
        records = disk.records(head.state.round)
        if self.liar is not None:
            records = self.liar.journal(records)
        self.guard = SigningGuard.after_restart(disk.mark, head.state.round, records)
        if self.liar is not None:
            self.guard = SigningGuard(in_doubt=self.guard.in_doubt)
        elif not self._mark_newest(self.guard.overdue):
            return
        run_now(disk.store.discard_stale(head.state.round))
        private = digest(Domain.PRIVATE, self.seed, head.state.chain)
        self.core = Core(world.genesis, head, self.signer, world.verify, private, guard=self.guard, train=True)
        segment = disk.segment(head.state.round)
        self.core.certificates.last = None if segment is None else segment.certificate
        self.restricted = dict.fromkeys(run_now(disk.store.unpublished()), head.state.round)
        self._service = ChainService(disk.store, lambda: world.genesis)
        self._service.runtime = self  # type: ignore[assignment]
        blobs = BlobServer(
            disk.store, chain=lambda: head.state.chain, may_serve=self._service.may_serve, on_damage=self._damage_seen
        )
        self._handlers = {**self._service.handlers(), **blobs.handlers()}
        self.segment_race = Race(PATIENCE_SECONDS)
        self._catch_up = ChainSync(
            None,  # type: ignore[arg-type]
            chain=head.state.chain,
            verify_header=self._verify_header,
            apply=None,  # type: ignore[arg-type]
            fetch_blob=None,  # type: ignore[arg-type]
            on_misbehaviour=lambda *_: None,
        )
        started = Started(records)
        known = f"floor {self.guard.floor}, in doubt {self.guard.in_doubt}"
        world.note(self, "start", f"round {head.state.round}, {known}", b"%d" % head.state.round)
        world.greet(self)
        if len(world.nodes) == 1:
            self._begin(started, self.life)
        else:
            world.after(FIRST_LOOK, self._look_over, started, self.life)
            self._first = started

    _first: Started | None = None

    def _look_over(self, started: Started, life: int) -> None:
        if life == self.life and not self.looked and self.running:
            self._look_done(started)

    def _look_done(self, started: Started) -> None:
        self.looked = True
        self._first = None
        if self.core is None:
            return
        self._begin(started, self.life)

    def _begin(self, started: Started, life: int) -> None:
        if life != self.life or not self.running:
            return
        self.started = self.looked = True
        self.inbox.appendleft((started, None))
        self.inbox.extend((heard, None) for heard in self.waiting)
        self.waiting.clear()
        self.pump()
        self.confirm()
        self._claims_changed()

    def confirm(self) -> None:
        """As `Node._confirm`."""
        if self.told or not self.guard.in_doubt or not self.started or self.core is None:
            return
        stands = self.guard.settled_by(tuple(self.claims.values()), len(self.core.context.committee), len(self.world.nodes))
        if stands is None:
            return
        self.told = True
        self.inbox.append((Confirmed(stands), None))
        self.pump()

    def crash(self, *, power: bool) -> None:
        """The process dies where it stands; with `power`, blobs that nothing made durable are lost too."""
        if not self.running:
            return
        world = self.world
        world.note(self, "power loss" if power else "kill -9", "", b"crash")
        half_done = self.pending_records
        mark = self.pending_mark
        self.running = False
        self.life += 1
        for job in self.jobs:
            job.alive = False
        if power:
            self.disk.lose_power()
        if half_done and world.rng.random() < 0.5:
            world.note(self, "disk", "the transaction under way was durable", b"half")
            self._stored(half_done)
        elif mark is not None and world.rng.random() < 0.5:
            self.disk.write_mark(mark)
        self._reset()

    def _bug(self, error: BaseException) -> None:
        """An error that ends the daemon with exit code 5, or as a failed machine."""
        if self.honest:
            self.world.safety.violate(f"{self.name} dies of {type(error).__name__}: {error}")
        raise Crash from error

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self.world.note(self, "resumes", "", b"")
            self.pump()

    def pause(self) -> None:
        if self.running and not self.paused:
            self.paused = True
            self.world.note(self, "is paused", "", b"")

    def status(self) -> Round:
        """What we say of where we stand."""
        stands = Round(self.round)
        return stands if self.liar is None else self.liar.status(stands)

    # -- the core's loop ----------------------------------------------------------------------------------------------

    def post(self, event: Event, job: Job | None = None) -> None:
        if not self.running:
            return
        if not self.started:
            if isinstance(event, MessageReceived):
                self.waiting.append(event)
            return
        if isinstance(event, MessageReceived) and len(self.inbox) >= MAX_WAITING:
            return
        self.inbox.append((event, job))
        self.pump()

    def pump(self) -> None:
        """Go on until there is nothing to do, or the disk makes us wait."""
        if self.pumping:
            return
        self.pumping = True
        life = self.life
        try:
            self._pump()
        except Crash:
            if life == self.life:
                self.crash(power=self.world.rng.random() < 0.5)
                self.world.down(self)
        finally:
            self.pumping = False

    def _pump(self) -> None:
        while self.running and self.started and not self.paused and not self.sleeping:
            if self.busy is None:
                self.busy = self._next()
                if self.busy is None:
                    return
            wait = next(self.busy, None)
            if wait is None:
                self.busy = None
            else:
                self.sleeping = True
                self.world.after(wait, self._woken, self.life)

    def _woken(self, life: int) -> None:
        if life == self.life:
            self.sleeping = False
            self.pump()

    def _next(self) -> Generator[int, None, None] | None:
        """The next event's effects, or those of a tick that is due."""
        core, now = self.core, self.world.now
        assert core is not None
        if self.wake is not None and self.wake <= now:  # the deadline, as it was when we began to wait for it
            self.wake = None
            self.ticked = now
            return self._carry_out(self._core_says("tick", None))
        if self.inbox:
            return self._take(*self.inbox.popleft())
        deadline = core.deadline(self.instant())
        if deadline is None:
            self.wake = None
            return None
        at = max(deadline - self.mono(0), self.ticked + LEAST_SLEEP, now)
        if self.wake is None or self.wake != at:
            self.wake = at
            self.world.after(at - now, self._tick_due, self.life, at)
        return None

    def _tick_due(self, life: int, at: int) -> None:
        if life == self.life and self.wake == at:
            self.pump()

    def _take(self, event: Event, job: Job | None) -> Generator[int, None, None]:
        yield from self._carry_out(self._core_says("event", event))
        if job is not None:
            self._drive(job, SETTLED)

    def _core_says(self, kind: str, event: Event | None) -> list[Effect]:
        world, core = self.world, self.core
        assert core is not None
        world.events += 1
        if event is not None:
            world.trace_event(self, event)
        try:
            effects = core.tick(self.instant()) if event is None else core.handle(event, self.instant())
        except (InvariantError, MachineError, AssertionError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            if world.raise_errors:
                raise
            self._bug(error)
        if self.honest:
            world.safety.check_bounds(self)
        if event is None and effects:
            world.note(self, "tick", "", b"")
        return effects

    def boundary(self) -> None:
        """Between two effects, and between the writes of one: where a process can die."""
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                self.crash_in = None
                raise Crash

    def _carry_out(self, effects: list[Effect]) -> Generator[int, None, None]:
        for effect in _joined(effects):
            self.world.trace_effect(self, effect)
            if isinstance(effect, Persist):
                yield from self._persist(effect.records)
            elif isinstance(effect, Commit):
                yield from self._commit(effect)
            else:
                self._one(effect)
            if self.world.watch is not None:
                self.world.watch(self, effect)
            self.boundary()

    def _one(self, effect: Effect) -> None:
        match effect:
            case Send(message, to):
                self._say(message, to)
            case Train():
                self.spawn(effect.round, self._train(effect))
            case Score():
                self.spawn(effect.round, self._score(effect))
            case CancelWork(round_):
                for job in self.jobs:
                    job.alive = job.alive and job.round >= round_
            case FetchBlob():
                self._fetch_blob(effect)
            case FetchEnvelopes():
                self.spawn(effect.round, self._fetch_envelopes(effect))
            case FetchEvidence():
                self.spawn(effect.round, self._fetch_evidence(effect))
            case Halt(text):
                self._bug(MachineError(text, code="halted"))
            case FetchSegment():
                self.spawn(effect.round, self._fetch_segment(effect))
            case Aggregate():
                self.spawn(effect.round, self._aggregate(effect))
            case CatchUp(round_, peer):
                self.claim(peer, max(round_, self.claims.get(peer, Round(0))))
            case Blame():
                self.world.safety.blamed(self, effect)
            case Notice():
                pass
            case _:
                raise AssertionError(f"the simulated runtime knows no {type(effect).__name__}")

    # -- the network --------------------------------------------------------------------------------------------------

    def _say(self, message: Gossip, to: tuple[NodeId, ...]) -> None:
        if self.liar is not None:
            for said, targets in self.liar.say(message, to):
                self.world.say(self, said, targets)
            return
        self.world.safety.said(self, message)
        self.world.say(self, message, to)
