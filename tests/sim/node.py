"""A simulated daemon: the product's engine over virtual ports, and how its process lives and dies."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from bflcd.core.core import Core
from bflcd.core.effects import Effect, Halt, Send
from bflcd.core.events import Event, IdleChanged, Instant, MessageReceived
from bflcd.core.records import Head, Record, RoundRecords
from bflcd.core.signing_guard import SETTLED, Mark, SigningGuard
from bflcd.crypto.hashing import Domain, digest
from bflcd.crypto.identity import Signer
from bflcd.errors import InvariantError, MachineError, PeerError, RequestError
from bflcd.ledger.state import member_of
from bflcd.net.blobs.server import BlobServer
from bflcd.net.sync import SyncLimits
from bflcd.node.engine import Engine, open_engine
from bflcd.node.following import Follower, RoundClaims
from bflcd.node.recovery.reorg import SupersededError
from bflcd.node.runtime.loop import LEAST_PAUSE, Ports
from bflcd.node.services import ChainService
from bflcd.node.training_words import TrainingWords
from bflcd.store.protocol import DamagedBlobError, MissingPayloadError
from bflcd.types import Digest, Millis, NodeId, Round
from bflcd.wire.training import Training
from tests.sim.disk import Disk, run_now
from tests.sim.fibers import Fiber, Pause, VirtualInbox, VirtualScheduler
from tests.sim.ports import (
    Crash,
    NothingCounted,
    SimObserver,
    VirtualFetcher,
    VirtualMarks,
    VirtualNetwork,
    VirtualNumbers,
    VirtualStore,
)

if TYPE_CHECKING:
    from tests.sim.strategies import Liar
    from tests.sim.world import World

FIRST_LOOK = 1_500
"""As `app.FIRST_LOOK`."""

MAX_IDLE_TICKS = 10
"""Ticks in a row that bring nothing: a core that wants more of them spins."""

BUGS = (InvariantError, MachineError, AssertionError, ArithmeticError, LookupError, TypeError, ValueError)
"""What ends a daemon with exit code 5, or as a failed machine."""


class SimNode:
    """One machine: its process while it runs, its disk always."""

    def __init__(self, world: "World", index: int, signer: Signer, seed: bytes) -> None:
        self.world = world
        self.index = index
        self.keys = [signer]
        """Its own, one after the other; `signer` is the one under which it runs."""
        self.signer = signer
        self.seed = seed
        self.name = f"n{index:02d}"
        self.disk = Disk(world.genesis, torn_logs=world.torn_logs)
        self.liar: Liar | None = None
        self.observes = False
        """Whether it only follows the chain."""
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
        self.taken_back: Round | None = None
        """Round of what was signed last in a history that was taken back: nothing is signed again up to there."""
        self.attempts = 0
        self.before: Head = world.genesis_head
        """The head before the newest commit."""
        self._reset()

    def _reset(self) -> None:
        self.engine: Engine | None = None
        self.started = False
        self.following = False
        self.idle_ticks = self.ticked = 0
        self.fibers: list[Fiber] = []
        self.halted: list[tuple[Fiber, object]] = []
        """What a paused process was about to do, in order."""
        self.waiting: list[MessageReceived] = []
        self.inbox = VirtualInbox(self)
        self.network = VirtualNetwork(self)
        self.claims = RoundClaims(self._claimed)
        self.words = TrainingWords(self.id, Training.OBSERVES if self.observes else Training.TRAINS, self._idle_changed)
        self.damaged: dict[Digest, None] = {}
        self.pending_persist: tuple[tuple[Record, ...], tuple[Digest, ...]] | None = None
        """Records of the transaction under way, and the payloads that they rely on."""
        self.pending_mark: Mark | None = None

    # -- what the world asks of it ------------------------------------------------------------------------------------

    @property
    def id(self) -> NodeId:
        return self.signer.node_id

    @property
    def honest(self) -> bool:
        return self.liar is None

    @property
    def core(self) -> Core | None:
        return None if self.engine is None else self.engine.core

    @property
    def guard(self) -> SigningGuard:
        return SigningGuard() if self.engine is None else self.engine.guard

    @property
    def round(self) -> int:
        return self.disk.head.state.round

    @property
    def fetching(self) -> bool:
        assert self.engine is not None
        return any(fetch.task is not None and fetch.task.alive for fetch in self.runtime._fetch._running.values())

    def mono(self) -> int:
        return 1_000 + self.world.now + 7_919 * self.life

    def instant(self) -> Instant:
        return Instant(Millis(self.mono()), Millis(self.world.wall + self.world.now + self.wall_offset))

    def status(self) -> Round:
        """What we say of where we stand."""
        stands = Round(self.round)
        return stands if self.liar is None else self.liar.status(stands)

    def training(self) -> Training:
        """What we say of whether we train."""
        return self.words.own if self.liar is None else self.liar.training(self.words.own)

    def trained(self, *, well: bool) -> None:
        """As `WorkHealth` has it said."""
        word, before = Training.TRAINS if well else Training.WORKER, self.words.own
        self.words.say(word)
        if word is not before:
            self.world.say_training(self)

    def answer(self, peer: NodeId, request: object) -> object:
        """What our services reply. Raises PeerError."""
        return run_now(self._handlers[type(request)](peer, request))

    def forget_payloads(self) -> None:
        """What is read from now on comes from the disk."""
        if self.engine is not None:
            self.runtime._payloads._held.clear()

    # -- life and death -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        if self.running or self.gone:
            return
        self._settle_key()
        self._reset()
        self.life += 1
        self.running = True
        self.paused = False
        world, disk = self.world, self.disk
        if self.honest and disk.full and self._guard_of(disk.mark, disk.head.state.round, self._records()).overdue is not None:
            world.note(self, "disk full", "it does not start", b"full")
            self.running = False
            world.down(self)
            return
        chain = disk.head.state.chain
        self.engine = engine = run_now(
            open_engine(
                world.genesis,
                VirtualStore(self),  # type: ignore[arg-type]
                VirtualMarks(self),
                signer=self.signer,
                verify=world.verify,
                private_seed=digest(Domain.PRIVATE, self.seed, chain),
                train=not self.observes,
                guard_of=self._guard_of,
            )
        )
        self.runtime = engine.runtime(self._ports(engine.core))
        self.service = ChainService(engine.core, disk.store, engine.unpublished, self.inbox.settle, self.instant)
        engine.core.handle = partial(self._handled, engine.core.handle)  # type: ignore[method-assign]
        engine.core.tick = partial(self._ticked, engine.core.tick)  # type: ignore[method-assign]
        self.runtime._one = partial(self._watched, self.runtime._one)  # type: ignore[method-assign]
        blobs = BlobServer(
            disk.store, chain=lambda: chain, may_serve=self.service.may_serve, on_damage=self._damage_seen, reads=2**20
        )
        self._handlers = {**self.service.handlers(), **blobs.handlers()}
        known = f"floor {self.guard.floor}, in doubt {self.guard.in_doubt}"
        world.note(self, "start", f"round {self.round}, {known}", b"%d" % self.round)
        # who has signed nothing yet can't be told from who has forgotten it
        forgot = self.amnesia or disk.mark is None or disk.mark.phase == SETTLED
        if self.honest and not forgot and self.guard.floor not in (None, self.taken_back):
            world.safety.violate(f"{self.name} is silenced, though its disk forgot nothing")
        world.greet(self)
        if self.guard.may_begin(0, len(world.nodes)):
            self._begin(self.life)
        else:
            world.after(FIRST_LOOK, self._begin, self.life)

    def _settle_key(self) -> None:
        """As `KeyRing`: of its keys the one that is a member by its own ledger."""
        state, before = self.disk.head.state, self.signer
        if member_of(state, self.id) is None:
            self.signer = next((key for key in self.keys if member_of(state, key.node_id) is not None), before)
        if self.signer is not before:
            self.world.note(self, "goes on under another key", "", self.id)
            for other in self.world.nodes:
                other.claims.forget(before.node_id)
                other.words.forget(before.node_id)

    def follow_key(self, life: int) -> None:
        """As `Belonging`: a block has made another of its keys the member, so it starts anew under that."""
        state = self.disk.head.state
        others = [key.node_id for key in self.keys if key is not self.signer]
        if (
            life == self.life
            and self.running
            and member_of(state, self.id) is None
            and any(member_of(state, one) for one in others)
        ):
            self.crash(power=False)
            self.start()

    def _records(self) -> RoundRecords:
        return self.disk.records(self.disk.head.state.round)

    def _guard_of(self, mark: Mark | None, head: Round, records: RoundRecords) -> SigningGuard:
        guard = SigningGuard.after_restart(mark, head, records)
        return guard if self.honest else SigningGuard(in_doubt=guard.in_doubt)

    def _ports(self, core: Core) -> Ports:
        scheduler: Any = VirtualScheduler(self)
        network: Any = self.network
        fetcher: Any = VirtualFetcher(self)
        self.follower = Follower(
            core,
            self.claims,
            inbox=self.inbox,
            exchange=network,
            store=VirtualStore(self),  # type: ignore[arg-type]
            fetch=fetcher.fetch,
            verify=self.world.verify,
            scheduler=scheduler,
            on_misbehaviour=lambda *_: None,
            on_progress=lambda *_: None,
            limits=SyncLimits(window=1),
            signing=self.guard,
        )
        return Ports(
            clock=self.instant,
            scheduler=scheduler,
            inbox=self.inbox,
            store=VirtualStore(self),  # type: ignore[arg-type]
            marks=VirtualMarks(self),
            network=network,
            asker=network,
            fetcher=fetcher,
            numbers=VirtualNumbers(self),
            observer=SimObserver(self, self.claims.hint),
            spending=NothingCounted(),
        )

    def _begin(self, life: int) -> None:
        """The first look is over: the core starts."""
        if life != self.life or not self.running or self.started or self.engine is None:
            return
        self.started = True
        for message in self.waiting:
            self.inbox.add(message)
        self.waiting.clear()
        self.loop = Fiber(self, self.runtime.run(self.engine.started))
        self.loop.step()
        self._idle_changed()
        self._follow()

    def crash(self, *, power: bool) -> None:
        """The process dies where it stands; with `power`, blobs that nothing made durable are lost too."""
        if not self.running:
            return
        world = self.world
        world.note(self, "power loss" if power else "kill -9", "", b"crash")
        half_done, mark = self.pending_persist, self.pending_mark
        self.running = False
        self.life += 1
        for fiber in self.fibers:
            fiber.kill()
        if half_done is not None and world.rng.random() < 0.5:
            world.note(self, "disk", "the transaction under way was durable", b"half")
            self._stored(*half_done)
        elif mark is not None and world.rng.random() < 0.5:
            self.disk.write_mark(mark)
        if power:
            self.disk.lose_power()
        self._reset()

    def failed(self, fiber: Fiber, error: Exception) -> None:
        """Nobody waits for what a fiber raised: the process ends, or starts anew."""
        if isinstance(error, SupersededError):
            self.world.note(self, "superseded", str(error), b"")
            self.crash(power=False)
            self.taken_back = None if self.disk.mark is None else self.disk.mark.round
            self.world.after(0, self.start)
            return
        if not isinstance(error, Crash):
            if not isinstance(error, BUGS) or self.world.raise_errors:
                raise error
            self._violated(error)
        if self.running:
            self.crash(power=fiber is self.loop and self.world.rng.random() < 0.5)
            self.world.down(self)

    def bug(self, error: BaseException, *, always: bool = False) -> None:
        """An error that ends the daemon; a liar's goes on unless `always`."""
        if always or self.honest:
            self._violated(error)
            raise Crash from error

    def _violated(self, error: BaseException) -> None:
        if self.honest:
            self.world.safety.violate(f"{self.name} dies of {type(error).__name__}: {error}")

    def boundary(self) -> None:
        """Between two effects, and between the writes of one: where a process can die."""
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                self.crash_in = None
                raise Crash

    def disk_full(self) -> None:
        self.world.note(self, "disk full", "it stops", b"full")
        raise Crash

    async def write_time(self) -> None:
        if self.disk_ms:
            await Pause(lambda fiber: self.world.after(self.disk_ms, fiber.step))

    def _stored(self, records: tuple[Record, ...], relies_on: tuple[Digest, ...]) -> None:
        try:
            self.disk.persist(records, relies_on)
        except MissingPayloadError:
            self.world.note(self, "disk", "no, a payload of it had gone", b"gone")
        except InvariantError as error:
            if self.honest:
                self.world.safety.violate(f"{self.name} was about to contradict itself: {error}")

    def pause(self) -> None:
        if self.running and not self.paused:
            self.paused = True
            self.world.note(self, "is paused", "", b"")

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self.world.note(self, "resumes", "", b"")
            halted, self.halted = self.halted, []
            for fiber, value in halted:
                fiber.step(value)

    # -- events and effects -------------------------------------------------------------------------------------------

    def post(self, event: Event, settled: Callable[[], None] | None = None) -> None:
        if not self.running:
            return
        if not self.started:
            if isinstance(event, MessageReceived):
                self.waiting.append(event)
            return
        self.inbox.add(event, settled)

    def _handled(self, handle: Callable[[Event, Instant], list[Effect]], event: Event, now: Instant) -> list[Effect]:
        self._not_overdue(now)
        self.world.trace_event(self, event)
        return self._said(lambda: handle(event, now))

    def _not_overdue(self, now: Instant) -> None:
        """Before its deadline a tick brings nothing: no wait goes without one."""
        core = self.core
        assert core is not None
        deadline = core.deadline(now)
        if self.honest and (deadline is None or deadline > now.mono):
            effects = type(core).tick(core, now)
            if effects:
                self.world.safety.violate(f"{self.name} had a wait without a deadline: {effects[:2]!r}"[:300])

    def _ticked(self, tick: Callable[[Instant], list[Effect]], now: Instant) -> list[Effect]:
        effects = self._said(lambda: tick(now))
        if effects:
            self.world.note(self, "tick", "", b"")
        self.idle_ticks = 0 if effects or now.mono - self.ticked > 2 * LEAST_PAUSE else self.idle_ticks + 1
        self.ticked = now.mono
        if self.idle_ticks > MAX_IDLE_TICKS:
            self.world.safety.violate(f"{self.name} wants to be ticked every moment, and does nothing then")
        return effects

    def _said(self, ask: Callable[[], list[Effect]]) -> list[Effect]:
        self.world.events += 1
        try:
            effects = ask()
        except BUGS as error:
            if self.world.raise_errors:
                raise
            self.bug(error, always=True)
            raise
        if self.honest:
            self.world.safety.check_bounds(self)
        return effects

    async def _watched(self, carry_out: Callable[[Effect], Any], effect: Effect) -> None:
        self.world.trace_effect(self, effect)
        if isinstance(effect, Send):
            for said in self._words(effect):
                self.world.record_said(self, said.message, said.to)
                await carry_out(said)
        elif isinstance(effect, Halt):
            self.bug(MachineError(effect.text, code="halted"), always=True)
        else:
            await carry_out(effect)
        if self.world.watch is not None:
            self.world.watch(self, effect)
        self.boundary()

    def _words(self, effect: Send) -> list[Send]:
        if self.liar is not None:
            return [Send(message, to) for message, to in self.liar.say(effect.message, effect.to)]
        self.world.safety.said(self, effect.message)
        return [effect]

    # -- what others say of where they stand --------------------------------------------------------------------------

    def claim(self, peer: NodeId, round_: Round) -> None:
        """A member's word on where it stands."""
        self.claims.note(peer, round_)

    def _idle_changed(self) -> None:
        self.post(IdleChanged(self.words.idle(), self.words.training()))

    def _claimed(self) -> None:
        if self.engine is not None and not self.started and self.guard.may_begin(len(self.claims.all()), len(self.world.nodes)):
            self._begin(self.life)
        self._follow()

    def _follow(self) -> None:
        if self.started and not self.following and (self.follower.behind() or self.guard.in_doubt):
            self.following = True
            self._start_job(self._followed())

    async def _followed(self) -> None:
        heard = self.claims.all()
        await self.follower.follow()
        while self.guard.in_doubt and heard != self.claims.all():  # somebody has spoken meanwhile
            heard = self.claims.all()
            await self.follower.follow()
        self.following = False

    def _start_job(self, work: Any) -> None:
        self.fibers = [fiber for fiber in self.fibers if fiber.alive]
        self.world.after(0, Fiber(self, work).step)

    # -- maintenance --------------------------------------------------------------------------------------------------

    def tidy(self, life: int, round_: Round) -> None:
        """As `Maintenance`."""
        if life != self.life or self.engine is None:
            return
        run_now(self.disk.store.discard_stale(round_))
        self.engine.unpublished.forget(round_)
        if self.pruned_keep and not self.engine.core.syncing:
            run_now(self.disk.store.prune(self.pruned_keep, dry_run=False))
        while self.damaged:
            root = next(iter(self.damaged))
            del self.damaged[root]
            manifest = run_now(self.disk.store.manifest(root))
            self.disk.drop_blob(root)
            if manifest is not None:
                self._start_job(self._mend(manifest.blob))

    async def _mend(self, blob: Any) -> None:
        try:
            await VirtualFetcher(self).fetch(blob, self.network.connected)
        except (RequestError, PeerError):
            return

    def _damage_seen(self, root: Digest, _: DamagedBlobError) -> None:
        self.damaged[root] = None
