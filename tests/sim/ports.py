"""The world that a simulated node's interpreter works in: a disk that fails, a network in virtual time, numbers made of hashes."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bflcd.core.effects import Blame, Commit, Notice
from bflcd.core.records import Record, RoundRecords
from bflcd.core.signing_guard import Mark
from bflcd.core.trust.judging_account import Told
from bflcd.crypto.hashing import chunk_hash, root_of
from bflcd.errors import InvariantError, PeerError, Rejection, RequestError
from bflcd.learn.aggregate import WeightedUpdate
from bflcd.learn.protocol import ScoreJob, ScoreResult, TrainJob, TrainResult, WorkerError
from bflcd.ledger.state import State
from bflcd.net.blobs.fetcher import FetchLimits
from bflcd.net.blobs.holders import Holders
from bflcd.net.blobs.race import Race
from bflcd.node.runtime.ports import Pushed
from bflcd.params import BlobRef
from bflcd.types import Digest, Millis, NodeId, Round
from bflcd.wire.blocks import CertifiedSegment
from bflcd.wire.messages import Gossip
from bflcd.wire.requests import GetChunk, Manifest
from tests.sim import compute
from tests.sim.fibers import Pause, VirtualScheduler

if TYPE_CHECKING:
    from tests.sim.node import SimNode

CHUNK_SECONDS = 20.0
"""As `FetchLimits.chunk_deadline`."""


class Crash(Exception):  # noqa: N818 - no error: the process is gone
    """Unwinds what a node was doing when its process died."""


class VirtualStore:
    """The disk's store. Durable writes take time, and the process can die before, between and after them."""

    def __init__(self, node: "SimNode") -> None:
        self.node, self.disk = node, node.disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self.disk.store, name)

    async def records(self, round_: Round) -> RoundRecords:
        found = self.disk.records(round_)
        return found if self.node.liar is None else self.node.liar.journal(found)

    async def persist(self, records: Sequence[Record], relies_on: Iterable[Digest]) -> None:
        node, roots = self.node, tuple(relies_on)
        self.disk.require(roots)
        node.boundary()
        if self.disk.full and not node.fail_mark:
            node.disk_full()
        node.pending_persist = (tuple(records), roots)
        await node.write_time()
        node.pending_persist = None
        try:
            self.disk.persist(tuple(records), roots)
        except InvariantError as error:
            node.bug(error)
        if node.honest:
            node.world.safety.stored(node, tuple(records))
        node.boundary()

    async def commit(self, certified: CertifiedSegment, state: State) -> None:
        node = self.node
        node.boundary()
        if self.disk.full:
            node.disk_full()
        for _ in range(3):
            await node.write_time()
        node.before = self.disk.head
        try:
            self.disk.commit(certified, state)
        except (InvariantError, ValueError) as error:
            node.bug(error, always=True)

    async def put_blob(self, data: bytes) -> BlobRef:
        return self.disk.put_blob(data)


class VirtualMarks:
    """The disk's mark file."""

    def __init__(self, node: "SimNode") -> None:
        self.node, self.disk = node, node.disk

    def highest(self) -> Mark | None:
        return self.disk.mark

    async def write(self, mark: Mark) -> None:
        node = self.node
        if self.disk.full:
            node.disk_full()
        if node.started:
            node.pending_mark = mark
            await node.write_time()
            node.pending_mark = None
        try:
            self.disk.write_mark(mark)
        except InvariantError as error:
            node.bug(error)


class VirtualNetwork:
    """Messages and questions over the world's links."""

    def __init__(self, node: "SimNode") -> None:
        self.node = node

    def connected(self) -> tuple[NodeId, ...]:
        return self.node.world.connected(self.node)

    async def publish(self, message: Gossip) -> None:
        self.node.world.publish(self.node, message)

    def connection(self, peer: NodeId) -> int | None:
        return self.node.world.connection(self.node, peer)

    async def push(self, message: Gossip, peer: NodeId) -> Pushed:
        outcome, answered_after = self.node.world.push(self.node, message, peer)
        await Pause(lambda fiber: self.node.world.after(answered_after, fiber.step))
        return outcome

    async def ask(self, peer: NodeId, request: object, *, deadline: float) -> Any:
        return await Pause(lambda fiber: self.node.world.ask(self.node, peer, request, round(1000 * deadline), fiber.step))


class VirtualFetcher:
    """As `BlobFetcher`, for payloads of one chunk."""

    def __init__(self, node: "SimNode") -> None:
        self.node, self.disk = node, node.disk

    async def fetch(self, ref: BlobRef, holders: Any, *, apart: str | None = None) -> None:
        """Raises RequestError."""
        node, world = self.node, self.node.world
        scheduler = VirtualScheduler(node)
        asked, race = Holders(lambda: Millis(world.now)), Race(FetchLimits().patience, scheduler=scheduler)

        def named() -> list[NodeId]:
            return [other for other in (holders() if callable(holders) else holders) if other != node.id]

        async def ask(holder: NodeId) -> bytes | None:
            try:
                reply = await node.network.ask(
                    holder, GetChunk(world.chain, ref.root, 0, node.core.closed_by), deadline=CHUNK_SECONDS
                )
            except (RequestError, PeerError) as error:
                asked.failed(holder, error)
                return None
            if len(reply.data) != ref.size or root_of(reply.data) != ref.root:
                asked.failed(holder, PeerError(Rejection.BAD_BLOB, "other bytes"))
                return None
            return bytes(reply.data)

        while not self.disk.has_blob(ref.root):
            if not asked.usable(named()):
                paused = [asked._record(other).not_before for other in named() if not asked._given_up(other)]
                if not paused:
                    raise RequestError(f"blob {ref.root.hex()[:8]}: nobody gave it")
                await scheduler.sleep(max(1, min(paused) - world.now) / 1000)
                continue
            data = await race.run(lambda: asked.usable(named()), ask)
            if data is not None:
                await self.disk.store.start_blob(Manifest(ref, (chunk_hash(data),)))
                await self.disk.store.put_chunk(ref.root, 0, data)


class VirtualNumbers:
    """As the compute worker, the aggregation and the specification: all of it by `tests.sim.compute`."""

    def __init__(self, node: "SimNode") -> None:
        self.node = node
        self.attempts = 0

    async def _work(self, milliseconds: int) -> None:
        await VirtualScheduler(self.node).sleep(milliseconds / 1000)
        if self.node.world.work_fails():
            raise WorkerError("the worker died")

    async def train(self, job: TrainJob) -> TrainResult:
        node, world = self.node, self.node.world
        try:
            await self._work(world.train_ms(node))
        except WorkerError:
            node.trained(well=False)
            raise
        node.trained(well=True)
        node.attempts += 1
        update = compute.update_bytes(world.genesis, job.label, root_of(job.model), node.attempts)
        if node.liar is not None or job.canary:
            world.bad_updates.add(root_of(update))
        return TrainResult(update, 50 + compute.draw("samples", node.id) % 200, 0.5, 0.0)

    async def score(self, job: ScoreJob) -> ScoreResult:
        node, world = self.node, self.node.world
        await self._work(world.score_ms(node) * len(job.candidates))
        fits, broken = [], []
        for candidate in job.candidates:
            (fits if compute.meets_specification(world.genesis, candidate.update, candidate.label) else broken).append(candidate)
        offers = [(fit.key, root_of(fit.update), root_of(fit.update) not in world.bad_updates) for fit in fits]
        invalid = tuple((each.key, "it breaks the specification") for each in broken)
        result = compute.scores(node.id, root_of(job.model), offers, invalid)
        return result if node.liar is None else node.liar.scored(result)

    async def aggregate(self, rule: str, model: bytes, updates: Sequence[WeightedUpdate], limit: int | None) -> bytes:
        world = self.node.world
        await VirtualScheduler(self.node).sleep(world.rng.randint(1, 20) / 1000)
        parts = [(update.weight, root_of(update.payload)) for update in updates]
        return compute.aggregate_bytes(world.genesis, rule, root_of(model), parts, limit)

    def check(self, payload: bytes, label: str | None) -> None:
        if not compute.meets_specification(self.node.world.genesis, payload, label):
            raise PeerError(Rejection.BAD_TENSOR, "it breaks the specification")


class NothingCounted:
    """What cards tell of rows that nobody has."""

    async def count(self, told: Told) -> None:
        """Nothing to keep."""


class SimObserver:
    """Tells the world what happens on a node."""

    def __init__(self, node: "SimNode", behind: Callable[[NodeId, Round], None]) -> None:
        self.node, self._behind = node, behind

    def notice(self, _: Notice) -> None:
        return

    def blame(self, blame: Blame) -> None:
        self.node.world.safety.blamed(self.node, blame)

    def committed(self, commit: Commit) -> None:
        node, world = self.node, self.node.world
        world.record_commit(node, commit)
        world.safety.committed(node, node.before, commit)
        world.after(world.rng.randint(0, 300), node.tidy, node.life, commit.state.round)
        if len(node.keys) > 1:
            world.after(world.rng.randint(0, 300), node.follow_key, node.life)

    def behind(self, round_: Round, peer: NodeId) -> None:
        self._behind(peer, round_)
