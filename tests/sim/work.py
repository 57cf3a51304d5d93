"""What runs beside a simulated node's core: questions to peers, training, scoring, aggregation, fetching. As the runtime's tasks do."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bflcd.core.effects import (
    Aggregate,
    FetchBlob,
    FetchEnvelopes,
    FetchEvidence,
    FetchSegment,
    Score,
    Train,
)
from bflcd.core.events import (
    Aggregated,
    BlobFetched,
    BlobLost,
    BlobMissing,
    EnvelopesFetched,
    Event,
    EvidenceFetched,
    Scored,
    SegmentFetched,
    Trained,
    WorkFailed,
)
from bflcd.crypto.hashing import chunk_hash, root_of
from bflcd.errors import MachineError, PeerError, Rejection, RequestError
from bflcd.net.blobs import FetchLimits
from bflcd.net.holders import Holders
from bflcd.net.race import Race
from bflcd.node.runtime.loop import LostPayloadError, rate_of
from bflcd.params import BlobRef
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import Digest, Millis, NodeId
from bflcd.wire.envelope import payload_digest
from bflcd.wire.evidence import evidence_id
from bflcd.wire.requests import GetChunk, GetEnvelopes, GetEvidence, GetSegment, Manifest, SegmentReply
from bflcd.wire.tensors import update_label
from tests.sim import compute
from tests.sim.disk import run_now

if TYPE_CHECKING:
    pass

LEAST_SLEEP = 10
"""Milliseconds between two ticks, as `runtime.LEAST_SLEEP`."""

FIRST_LOOK = 1_500
"""As `app.FIRST_LOOK`."""

REQUEST_MS = 10_000
"""As `runtime.REQUEST_SECONDS`."""

REFETCH_MS = 1_000
"""As `runtime.REFETCH_SECONDS`."""

MAX_PAYLOADS = 4
"""Payloads that stay in memory: few, so that damage on the disk is met."""

MAX_WAITING = 4_096
"""Messages that wait for the core before the oldest goes."""

SETTLED = object()


class Crash(Exception):  # noqa: N818 - no error: the process is gone
    """Unwinds what a node was doing when its process died."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A job's question to a peer."""

    peer: NodeId
    request: Any
    deadline: int = REQUEST_MS


@dataclass(frozen=True, slots=True)
class AskAny:
    """A job's question that any of several peers can answer, as `Race.run` asks it; `good` gets each answer, also an error, and
    raises for one that is none."""

    who: Callable[[], list[NodeId]]
    request: Any
    deadline: int
    race: Race
    good: Callable[[NodeId, Any], Any]


@dataclass(frozen=True, slots=True)
class Settle:
    """A job hands in an event and goes on once its effects are carried out."""

    event: Event


@dataclass(slots=True)
class Job:
    """Something that runs beside the core: a generator that yields milliseconds, an `Ask` or a `Settle`."""

    round: int
    work: Generator[Any, Any, None]
    alive: bool = True


class Asking:
    """`Race.run` in virtual time: its own order and memory, its patience and lanes."""

    def __init__(self, node: Any, wish: AskAny, answer: Callable[[object], None]) -> None:
        self.node, self.wish, self.answer = node, wish, answer
        self.asked: list[NodeId] = []
        self.owing: list[NodeId] = []
        self.life: int = node.life
        self.over = False

    def next(self) -> None:
        """Ask the next peer, if there is one and a lane is free; with nobody asked and nobody left it is over."""
        if self.over or self.life != self.node.life:
            return
        fresh = [peer for peer in self.wish.race.order(self.wish.who()) if peer not in self.asked]
        if fresh and len(self.owing) < self.wish.race.lanes:
            peer = fresh[0]
            self.asked.append(peer)
            self.owing.append(peer)
            ask = Ask(peer, self.wish.request, self.wish.deadline)
            self.node.world.ask(self.node, ask, lambda reply: self._heard(peer, reply))
        elif not self.owing:
            self._end(RequestError("nobody gave it"))
            return
        self.node.world.after(int(1000 * self.wish.race.patience), self._late, len(self.asked))

    def _late(self, asked: int) -> None:
        if asked == len(self.asked):
            self.next()

    def _heard(self, peer: NodeId, reply: Any) -> None:
        if self.over or self.life != self.node.life:
            return
        self.owing.remove(peer)
        race = self.wish.race
        try:
            found = self.wish.good(peer, reply)
        except (PeerError, RequestError):
            race.failed(peer)
            self.next()
            return
        race.answered(peer)
        for late in self.owing:
            race.failed(late)
        self._end(found)

    def _end(self, answer: object) -> None:
        self.over = True
        self.answer(answer)


class Work:
    """The jobs of a node; a part of `SimNode`."""

    def spawn(self, round_: int, work: Generator[Any, Any, None]) -> Job:
        job = Job(round_, work)
        self.jobs = [other for other in self.jobs if other.alive]
        self.jobs.append(job)
        self.world.after(0, self._go_on, self.life, job, None)
        return job

    def _go_on(self, life: int, job: Job, value: object) -> None:
        if life == self.life:
            self._drive(job, value)

    def _drive(self, job: Job, value: object) -> None:
        """Give a job what it waited for; its next wish is granted later."""
        life = self.life
        if not job.alive or not self.running:
            return
        if self.paused:
            self.world.after(100, self._go_on, life, job, value)
            return
        try:
            wish = job.work.throw(value) if isinstance(value, Exception) else job.work.send(None if value is SETTLED else value)
        except StopIteration:
            job.alive = False
            return
        except MachineError as error:
            job.alive = False
            if self.world.raise_errors:
                raise
            try:
                self._bug(error)
            except Crash:
                self.crash(power=False)
                self.world.down(self)
            return
        if isinstance(wish, int):
            self.world.after(wish, self._go_on, life, job, None)
        elif isinstance(wish, Ask):
            self.world.ask(self, wish, lambda reply: self._go_on(life, job, reply))
        elif isinstance(wish, AskAny):
            Asking(self, wish, lambda reply: self._go_on(life, job, reply)).next()
        else:
            assert isinstance(wish, Settle)
            self.post(wish.event, job)

    def connected(self) -> tuple[NodeId, ...]:
        return self.world.connected(self)

    def answer(self, peer: NodeId, request: object) -> object:
        """What our services reply. Raises PeerError."""
        return run_now(self._handlers[type(request)](peer, request))

    def _payload(self, root: Digest) -> bytes:
        if root in self.payloads:
            return b""
        data = self.disk.blob(root)
        if data is None:
            raise LostPayloadError(root)
        self.payloads[root] = None
        if len(self.payloads) > MAX_PAYLOADS:
            del self.payloads[next(iter(self.payloads))]
        return data

    def _forget(self, root: Digest) -> None:
        self.payloads.pop(root, None)
        self.disk.drop_blob(root)

    def _lost(self, error: DamagedBlobError) -> None:
        self._forget(error.root)
        self.post(BlobLost(error.root))

    def _train(self, job: Train) -> Generator[Any, Any, None]:
        world, core = self.world, self.core
        assert core is not None
        label = update_label(core.context.state.chain, job.round, self.id)
        try:
            self._payload(job.model.root)
            yield world.train_ms(self)
        except DamagedBlobError as error:
            self._lost(error)
            self.post(WorkFailed(job.round, training=True, text=str(error)))
            return
        if world.work_fails():
            self.post(WorkFailed(job.round, training=True, text="the worker died"))
            return
        self.attempts += 1
        data = compute.update_bytes(world.genesis, label, job.model.root, self.attempts)
        blob = self.disk.put_blob(data)
        if self.liar is not None:
            world.bad_updates.add(blob.root)
        self.restricted[blob.root] = job.round
        self.post(Trained(job.round, blob, 50 + compute.draw("samples", self.id) % 200, 0.5))

    def _score(self, job: Score) -> Generator[Any, Any, None]:
        world = self.world
        try:
            for _, blob, _ in job.offers:
                self._payload(blob.root)
            self._payload(job.model.root)
        except DamagedBlobError as error:
            self._lost(error)
            self.post(WorkFailed(job.round, training=False, text=str(error)))
            return
        yield world.score_ms(self) * len(job.offers)
        if world.work_fails():
            self.post(WorkFailed(job.round, training=False, text="the worker died"))
            return
        offers = [(key, blob, blob.root not in world.bad_updates) for key, blob, _ in job.offers]
        result = compute.scores(self.id, job.model.root, offers)
        self.post(Scored(job.round, result if self.liar is None else self.liar.scored(result)))

    def _aggregate(self, job: Aggregate) -> Generator[Any, Any, None]:
        world = self.world
        while True:
            try:
                for _, blob, _ in job.updates:
                    self._payload(blob.root)
                self._payload(job.model.root)
                break
            except DamagedBlobError as error:
                self._forget(error.root)
                blob = next(b for b in (job.model, *(update[1] for update in job.updates)) if b.root == error.root)
                while True:
                    try:
                        yield from self.fetch(blob, self.connected)
                        break
                    except (RequestError, PeerError):
                        yield REFETCH_MS
                yield REFETCH_MS
        yield world.rng.randint(1, 20)
        data = compute.aggregate_bytes(
            world.genesis, job.rule, job.model.root, [(w, b.root) for w, b, _ in job.updates], job.limit
        )
        self.post(Aggregated(job.key, self.disk.put_blob(data)))

    # -- fetching -----------------------------------------------------------------------------------------------------

    def fetch(self, ref: BlobRef, holders: Any) -> Generator[Any, Any, None]:
        """As `BlobFetcher.fetch` does for a blob of one chunk. Raises RequestError."""
        world = self.world
        asked, race = Holders(lambda: Millis(world.now)), Race(FetchLimits().patience)

        def able() -> list[NodeId]:
            return list(asked.usable([node for node in holders() if node != self.id]))

        def good(node: NodeId, reply: Any) -> bytes:
            if isinstance(reply, Exception):
                asked.failed(node, reply)
                raise reply
            if len(reply.data) != ref.size or root_of(reply.data) != ref.root:
                error = PeerError(Rejection.BAD_BLOB, "other bytes")
                asked.failed(node, error)
                raise error
            return reply.data

        while not self.disk.has_blob(ref.root):
            if not able():
                paused = [asked._record(node).not_before for node in holders() if node != self.id and not asked._given_up(node)]
                if not paused:
                    raise RequestError(f"blob {ref.root.hex()[:8]}: nobody gave it")
                yield max(1, min(paused) - world.now)
                continue
            try:
                data: bytes = yield AskAny(able, GetChunk(world.chain, ref.root, 0), 20_000, race, good)
            except RequestError:
                continue
            run_now(self.disk.store.start_blob(Manifest(ref, (chunk_hash(data),))))
            run_now(self.disk.store.put_chunk(ref.root, 0, data))
            self.disk._unsynced.append(ref.root)

    def _fetch_blob(self, effect: FetchBlob) -> None:
        if effect.label is not None:
            self.restricted.setdefault(effect.blob.root, effect.round)
        key = (effect.blob.root, effect.label)
        running = self.fetching.get(key)
        if running is None or not running.alive:
            self.fetching[key] = self.spawn(effect.round, self._fetch_one(effect, key))

    def _fetch_one(self, effect: FetchBlob, key: tuple[Digest, str | None]) -> Generator[Any, Any, None]:
        root = effect.blob.root
        held = self.disk.has_blob(root)
        holders = effect.holders
        if effect.anyone:
            holders = tuple(dict.fromkeys((*holders, *self.connected())))
        answer: Event
        started = self.world.now
        try:
            yield from self.fetch(effect.blob, lambda: holders)
            measured = effect.label is not None and not held
            rate = rate_of(effect.blob.size, (self.world.now - started) * 1_000_000) if measured else 0
            self._payload(root)
            data = self.disk.blob(root) or b""
            if compute.meets_specification(self.world.genesis, data, effect.label):
                answer = BlobFetched(root, rate)
            else:
                if not held:
                    self._forget(root)
                answer = BlobMissing(root, refused=True, text="it breaks the specification")
        except (RequestError, PeerError) as error:
            answer = BlobMissing(root, refused=False, text=str(error))
        except DamagedBlobError as error:
            self._forget(root)
            answer = BlobMissing(root, refused=False, text=str(error))
        self.fetching.pop(key, None)
        self.post(answer)

    def _fetch_envelopes(self, effect: FetchEnvelopes) -> Generator[Any, Any, None]:
        found: tuple[Any, ...] = ()
        try:
            reply = yield Ask(effect.source, GetEnvelopes(self.world.chain, effect.round, effect.digests))
            found = tuple(envelope for envelope in reply.envelopes if payload_digest(envelope) in set(effect.digests))
        except (RequestError, PeerError):
            pass
        self.post(EnvelopesFetched(effect.round, found, effect.source))

    def _fetch_evidence(self, effect: FetchEvidence) -> Generator[Any, Any, None]:
        found: tuple[Any, ...] = ()
        try:
            reply = yield Ask(effect.source, GetEvidence(self.world.chain, effect.ids))
            found = tuple(piece for piece in reply.evidence if evidence_id(piece) in effect.ids)
        except (RequestError, PeerError):
            pass
        self.post(EvidenceFetched(effect.round, found, effect.source))

    def _fetch_segment(self, effect: FetchSegment) -> Generator[Any, Any, None]:
        """As `Runtime._fetch_segment`."""

        def good(holder: NodeId, reply: SegmentReply | Exception) -> SegmentFetched:
            if isinstance(reply, Exception):
                raise reply
            if reply.certified.segment.model_header.round != effect.round:
                raise RequestError("another round")
            return SegmentFetched(reply.certified, holder)

        def holders() -> list[NodeId]:
            return list(dict.fromkeys((*effect.holders, *self.connected())))

        request = GetSegment(self.world.chain, effect.round)
        try:
            found = yield AskAny(holders, request, REQUEST_MS, self.segment_race, good)
        except RequestError:
            return
        self.post(found)
