"""Carries out the core's effects in order, and brings their answers back: the only place where the core meets asyncio.

One task owns the core. Everything else talks to it through one bounded queue. Effects that must come before what follows them
(`Persist`, `Commit`, `Send`) are awaited; slow ones run as tasks of the one TaskGroup and answer with an event. An error that
nobody answers for ends the TaskGroup, and with it the daemon: nothing fails silently.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Final, Protocol

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
    Aggregated,
    BlobFetched,
    BlobLost,
    BlobMissing,
    EnvelopesFetched,
    Event,
    EvidenceFetched,
    Instant,
    Scored,
    SegmentFetched,
    Trained,
    WorkFailed,
)
from bflcd.core.records import Record
from bflcd.core.signing_guard import SigningGuard
from bflcd.errors import MachineError, PeerError, Rejection, RequestError
from bflcd.learn.aggregate import WeightedUpdate, aggregate
from bflcd.learn.protocol import Compute, ScoreJob, TrainJob, UpdateToScore, WorkerError
from bflcd.net.exchange import Exchange
from bflcd.net.race import Race
from bflcd.params import BlobRef
from bflcd.store.marks import MarkFile
from bflcd.store.protocol import BlockStore, DamagedBlobError
from bflcd.types import Digest, Millis, NodeId, Round, short
from bflcd.wire.envelope import Envelope, payload_digest
from bflcd.wire.evidence import Evidence, evidence_id
from bflcd.wire.messages import MAX_RATE, Gossip
from bflcd.wire.requests import GetEnvelopes, GetEvidence, GetSegment
from bflcd.wire.tensors import split_payload, update_label

logger = logging.getLogger(__name__)

MAX_QUEUE: Final = 4096
"""Events that wait for the core; gossip waits in its own bounded inbox before that."""

LEAST_SLEEP: Final = 0.01
"""Seconds that the core's task sleeps at least when nothing happens: a deadline that is due again and again must not spin."""

MAX_PUSHES: Final = 64
"""Messages that are being pushed at a time; what is above is gossiped."""

MAX_PAYLOADS: Final = 16 * 1024 * 1024
"""Bytes of payloads kept in memory."""

REFETCH_SECONDS: Final = 1.0
"""Pause after a damaged payload: a disk that damages it again must not keep the node busy."""

REQUEST_SECONDS: Final = 10.0
"""Deadline of one request for envelopes or a segment."""

PATIENCE_SECONDS: Final = 2.0
"""After so long without a segment the next peer is asked for it too."""


class Fetcher(Protocol):
    """The part of the blob fetcher that the runtime uses."""

    async def fetch(self, blob: BlobRef, holders: tuple[NodeId, ...]) -> None:
        """Get a blob into the store. Raises RequestError if nobody gives it."""
        ...


class Speaker(Protocol):
    """The part of gossip that the runtime uses."""

    async def publish(self, message: Gossip) -> None:
        """Gossip a message."""
        ...

    async def push(self, peer: NodeId, message: Gossip) -> None:
        """Bring a message straight to one peer. Raises RequestError."""
        ...


class Observer(Protocol):
    """Who is told of what happens: logs, event bus, metrics, peer scores. None of it may block."""

    def notice(self, notice: Notice) -> None:
        """Something worth knowing happened."""
        ...

    def blame(self, blame: Blame) -> None:
        """A node did what is refused."""
        ...

    def committed(self, commit: Commit) -> None:
        """A segment is durable."""
        ...

    def behind(self, round_: Round, peer: NodeId) -> None:
        """A peer is ahead of what we can follow."""
        ...

    def connected(self) -> tuple[NodeId, ...]:
        """Members that are connected now."""
        ...


class LostPayloadError(DamagedBlobError):
    """A payload that a job counts on was found damaged elsewhere, and dropped before the job read it."""

    def __init__(self, root: Digest) -> None:
        MachineError.__init__(
            self,
            f"the payload {short(root)} was dropped while it was needed",
            hint="it is fetched again from a peer; if this repeats, check the disk",
            code="damaged_blob",
        )
        self.root = root
        self.index = 0


@dataclass(slots=True)
class _Job:
    round: Round
    task: asyncio.Task[None]


@dataclass(slots=True)
class _Asked:
    event: Event
    done: asyncio.Future[None] | None = field(default=None)


def instant() -> Instant:
    """Now, on both clocks."""
    return Instant(Millis(time.monotonic_ns() // 1_000_000), Millis(time.time_ns() // 1_000_000))


class Runtime:
    """The core's hands. `submit` events from anywhere in the loop's thread; `run` until cancelled."""

    def __init__(
        self,
        core: Core,
        *,
        guard: SigningGuard,
        store: BlockStore,
        marks: MarkFile,
        speaker: Speaker,
        asker: Exchange,
        fetcher: Fetcher,
        compute: Compute,
        observer: Observer,
    ) -> None:
        self.core = core
        self._guard = guard
        self._store = store
        self._marks = marks
        self._speaker = speaker
        self._asker = asker
        self._segment_race = Race(PATIENCE_SECONDS)
        self._fetcher = fetcher
        self._compute = compute
        self._observer = observer
        self._queue: asyncio.Queue[_Asked] = asyncio.Queue(MAX_QUEUE)
        self._group: asyncio.TaskGroup | None = None
        self._work: list[_Job] = []
        self._pushes = 0
        self._ticked = Millis(0)
        self._fetching: dict[tuple[Digest, str | None], asyncio.Task[None]] = {}
        self._payloads: OrderedDict[Digest, bytes] = OrderedDict()
        self.restricted: dict[Digest, Round] = {}
        """Roots of updates that no committed block names, with their round: served to that round's committee only."""

    def connected(self) -> tuple[NodeId, ...]:
        """Members that are connected now."""
        return self._observer.connected()

    def forget_restricted(self, round_: Round) -> None:
        """Updates of rounds before `round_` are gone from the store, or published."""
        self.restricted = {root: of for root, of in self.restricted.items() if of >= round_}

    # -- events -------------------------------------------------------------------------------------------------------

    async def submit(self, event: Event) -> None:
        """Queue an event; waits while the queue is full."""
        await self._queue.put(_Asked(event))

    async def settle(self, event: Event) -> None:
        """Queue an event and wait until its effects are carried out."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._queue.put(_Asked(event, done))
        await done

    async def run(self, first: Event) -> None:
        """Own the core until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self._carry_out(self.core.handle(first, instant()))
            while True:
                asked = await self._next()
                effects = self.core.tick(instant()) if asked is None else self.core.handle(asked.event, instant())
                await self._carry_out(effects)
                await self._tick_if_due()
                if asked is not None and asked.done is not None and not asked.done.done():
                    asked.done.set_result(None)

    async def _tick_if_due(self) -> None:
        """Timers run also while events never cease, though not more often than `LEAST_SLEEP`."""
        now = instant()
        deadline = self.core.deadline(now)
        if deadline is not None and deadline <= now.mono and now.mono - self._ticked >= LEAST_SLEEP * 1000:
            self._ticked = now.mono
            await self._carry_out(self.core.tick(now))

    async def _next(self) -> _Asked | None:
        """The next event, or None when the core's deadline has come."""
        now = instant()
        deadline = self.core.deadline(now)
        if deadline is not None and deadline <= now.mono and self._queue.empty():
            await asyncio.sleep(LEAST_SLEEP)
            return None
        if deadline is None:
            return await self._queue.get()
        try:
            async with asyncio.timeout(max(LEAST_SLEEP, (deadline - now.mono) / 1000)):
                return await self._queue.get()
        except TimeoutError:
            return None

    # -- effects ------------------------------------------------------------------------------------------------------

    async def _carry_out(self, effects: list[Effect]) -> None:
        for effect in _joined(effects):
            await self._one(effect)

    async def _one(self, effect: Effect) -> None:
        match effect:
            case Persist(records):
                await self._persist(records)
            case Send():
                await self._say(effect)
            case Commit():
                await self._commit(effect)
            case Train():
                self._start(effect.round, self._train(effect))
            case Score():
                self._start(effect.round, self._score(effect))
            case CancelWork(round_):
                self._cancel(round_)
            case FetchBlob():
                self._fetch_blob(effect)
            case FetchEnvelopes():
                self._start(effect.round, self._fetch_envelopes(effect))
            case FetchEvidence():
                self._start(effect.round, self._fetch_evidence(effect))
            case FetchSegment():
                self._start(effect.round, self._fetch_segment(effect))
            case Aggregate():
                self._start(effect.round, self._aggregate(effect))
            case CatchUp(round_, peer):
                self._observer.behind(round_, peer)
            case Blame():
                self._observer.blame(effect)
            case Notice():
                self._observer.notice(effect)
            case Halt(text, hint):
                raise MachineError(text, hint=hint, code="halted")

    async def _say(self, effect: Send) -> None:
        """Push to those it concerns while the core goes on; gossip what concerns all, or can't be pushed."""
        assert self._group is not None
        if effect.to and set(effect.to) <= set(self._observer.connected()) and self._pushes < MAX_PUSHES:
            self._pushes += 1
            self._group.create_task(self._push(effect))
        else:
            await self._speaker.publish(effect.message)

    async def _push(self, effect: Send) -> None:
        try:
            arrived = await asyncio.gather(*(self._push_one(peer, effect.message) for peer in effect.to))
            if not all(arrived):
                await self._speaker.publish(effect.message)
        finally:
            self._pushes -= 1

    async def _push_one(self, peer: NodeId, message: Gossip) -> bool:
        try:
            await self._speaker.push(peer, message)
        except RequestError as error:
            logger.debug("a push to %s failed, the message is gossiped: %s", short(peer), error)
            return False
        return True

    async def _persist(self, records: tuple[Record, ...]) -> None:
        await self._store.persist(records)
        mark = self._guard.mark_for(records)
        if mark is not None:
            await self._marks.write(mark)
            self._guard.marked(records)

    async def _commit(self, effect: Commit) -> None:
        await self._store.commit(effect.certified, effect.state)
        self._guard.closed(effect.state.round)
        for header in effect.certified.segment.headers:
            if header.blob is not None:
                self.restricted.pop(header.blob.root, None)
        self._observer.committed(effect)

    def _start(self, round_: Round, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        assert self._group is not None
        self._work = [job for job in self._work if not job.task.done()]
        task = self._group.create_task(work)
        self._work.append(_Job(round_, task))
        return task

    def _cancel(self, round_: Round) -> None:
        for job in self._work:
            if job.round < round_:
                job.task.cancel()

    # -- compute ------------------------------------------------------------------------------------------------------

    async def _payload(self, blob: BlobRef) -> bytes:
        """A payload from the store, verified once: a round reads its model and updates for checking, scoring and aggregation."""
        data = self._payloads.get(blob.root)
        if data is not None:
            self._payloads.move_to_end(blob.root)
            return data
        data = await self._store.blob(blob.root)
        if data is None:
            raise LostPayloadError(blob.root)
        self._payloads[blob.root] = data
        while sum(map(len, self._payloads.values())) > MAX_PAYLOADS:
            self._payloads.popitem(last=False)
        return data

    async def _train(self, job: Train) -> None:
        started = time.monotonic()
        me = self.core.context.me
        label = update_label(self.core.context.state.chain, job.round, me)
        try:
            result = await self._compute.train(TrainJob(job.round, await self._payload(job.model), job.seed, label))
        except WorkerError as error:
            await self.submit(WorkFailed(job.round, training=True, text=f"training failed: {error}"))
            return
        except DamagedBlobError as error:
            await self._lost(error)
            await self.submit(WorkFailed(job.round, training=True, text=str(error)))
            return
        blob = await self._store.put_blob(result.update)
        self.restricted[blob.root] = job.round
        logger.debug("trained in %.2f s, of them %.2f in the worker", time.monotonic() - started, result.seconds)
        await self.submit(Trained(job.round, blob, result.samples, result.loss))

    async def _score(self, job: Score) -> None:
        params = self.core.context.params
        try:
            candidates = [UpdateToScore(key, await self._payload(blob), label) for key, blob, label in job.offers]
            model = await self._payload(job.model)
            work = ScoreJob(job.round, model, tuple(candidates), job.seed, params.score_rows, params.score_damping)
            result = await self._compute.score(work)
        except WorkerError as error:
            await self.submit(WorkFailed(job.round, training=False, text=f"scoring failed: {error}"))
            return
        except DamagedBlobError as error:
            await self._lost(error)
            await self.submit(WorkFailed(job.round, training=False, text=str(error)))
            return
        logger.debug("scored %d updates in %.2f s", len(candidates), result.seconds)
        await self.submit(Scored(job.round, result))

    async def _aggregate(self, job: Aggregate) -> None:
        spec = self.core.context.genesis.task.tensors
        while True:
            try:
                updates = [WeightedUpdate(weight, label, await self._payload(blob)) for weight, blob, label in job.updates]
                model = await self._payload(job.model)
                break
            except DamagedBlobError as error:
                logger.warning("%s", error)
                await self._forget(error.root)
                await self._fetch_again(job, error.root)
                await asyncio.sleep(REFETCH_SECONDS)
        data = await asyncio.get_running_loop().run_in_executor(None, aggregate, job.rule, model, updates, spec, job.limit)
        await self.submit(Aggregated(job.key, await self._store.put_blob(data)))

    async def _fetch_again(self, job: Aggregate, root: Digest) -> None:
        """A payload of the aggregate was damaged here: get it from whoever has it, for as long as the round runs."""
        blob = next(blob for blob in (job.model, *(update[1] for update in job.updates)) if blob.root == root)
        while True:
            try:
                await self._fetcher.fetch(blob, self._observer.connected())
            except (RequestError, PeerError) as error:
                logger.warning("the damaged payload %s is not to be had: %s", short(root), error)
                await asyncio.sleep(REFETCH_SECONDS)
            else:
                return

    # -- the network --------------------------------------------------------------------------------------------------

    def _fetch_blob(self, effect: FetchBlob) -> None:
        root = effect.blob.root
        if effect.label is not None:
            self.restricted.setdefault(root, effect.round)
        key = (root, effect.label)
        running = self._fetching.get(key)
        if running is None or running.done() or running.cancelling():
            self._fetching[key] = self._start(effect.round, self._fetch_one(effect))

    async def _fetch_one(self, effect: FetchBlob) -> None:
        root = effect.blob.root
        try:
            held = await self._store.has_blob(root)
            holders = tuple(node for node in effect.holders if node != self.core.context.me)
            if effect.anyone:
                holders = tuple(dict.fromkeys((*holders, *self._observer.connected())))
            started = time.monotonic_ns()
            await self._fetcher.fetch(effect.blob, holders)
            measured = effect.label is not None and not held
            rate = rate_of(effect.blob.size, time.monotonic_ns() - started) if measured else 0
            answer: Event = await self._checked(effect, held=held, rate=rate)
        except (RequestError, PeerError) as error:
            answer = BlobMissing(root, refused=False, text=str(error))
        except DamagedBlobError as error:
            await self._forget(root)
            answer = BlobMissing(root, refused=False, text=str(error))
        finally:
            if self._fetching.get((root, effect.label)) is asyncio.current_task():
                del self._fetching[root, effect.label]
        await self.submit(answer)

    async def _checked(self, effect: FetchBlob, *, held: bool, rate: int) -> Event:
        """Hold a payload against the genesis specification; what breaks it is dropped, unless it was here for another reason."""
        spec = self.core.context.genesis.task.tensors
        data = await self._payload(effect.blob)
        try:
            split_payload(data, spec, label=effect.label)
        except PeerError as error:
            if not held:
                await self._forget(effect.blob.root)
            return BlobMissing(effect.blob.root, refused=True, text=str(error))
        return BlobFetched(effect.blob.root, rate)

    async def _forget(self, root: Digest) -> None:
        self._payloads.pop(root, None)
        await self._store.drop_blob(root)

    async def _lost(self, error: DamagedBlobError) -> None:
        """A payload that a job needs is damaged here: the core has it fetched again."""
        logger.warning("%s", error)
        await self._forget(error.root)
        await self.submit(BlobLost(error.root))

    async def _fetch_envelopes(self, effect: FetchEnvelopes) -> None:
        chain = self.core.context.state.chain
        found: tuple[Envelope, ...] = ()
        try:
            reply = await self._asker.ask(
                effect.source, GetEnvelopes(chain, effect.round, effect.digests), deadline=REQUEST_SECONDS
            )
        except (RequestError, PeerError) as error:
            logger.debug("%s gives no envelopes: %s", short(effect.source), error)
        else:
            wanted = set(effect.digests)
            found = tuple(envelope for envelope in reply.envelopes if payload_digest(envelope) in wanted)
        await self.submit(EnvelopesFetched(effect.round, found, effect.source))

    async def _fetch_evidence(self, effect: FetchEvidence) -> None:
        chain = self.core.context.state.chain
        found: tuple[Evidence, ...] = ()
        try:
            reply = await self._asker.ask(effect.source, GetEvidence(chain, effect.ids), deadline=REQUEST_SECONDS)
        except (RequestError, PeerError) as error:
            logger.debug("%s gives no evidence: %s", short(effect.source), error)
        else:
            found = tuple(piece for piece in reply.evidence if evidence_id(piece) in effect.ids)
        await self.submit(EvidenceFetched(effect.round, found, effect.source))

    async def _fetch_segment(self, effect: FetchSegment) -> None:
        """From whoever of the named and the connected gives it first; while one is late, the next is asked too."""
        chain = self.core.context.state.chain

        async def ask(holder: NodeId) -> SegmentFetched | None:
            try:
                reply = await self._asker.ask(holder, GetSegment(chain, effect.round), deadline=REQUEST_SECONDS)
            except (RequestError, PeerError) as error:
                logger.debug("%s gives no segment of round %d: %s", short(holder), effect.round, error)
                return None
            if reply.certified.segment.model_header.round != effect.round:
                self._observer.blame(Blame(holder, Rejection.BAD_SEGMENT, "it gave the segment of another round"))
                return None
            return SegmentFetched(reply.certified, holder)

        found = await self._segment_race.run(lambda: (*dict.fromkeys((*effect.holders, *self._observer.connected())),), ask)
        if found is not None:
            await self.submit(found)


def _joined(effects: list[Effect]) -> list[Effect]:
    """The effects with every `Persist` up to the next `Commit` made one, at the first one's place: one transaction, one sync.

    Being durable earlier than asked for breaks no promise; a record must only not move across the end of its round.
    """
    joined: list[Effect] = []
    place: int | None = None
    for effect in effects:
        first = joined[place] if place is not None else None
        if isinstance(effect, Persist) and isinstance(first, Persist) and place is not None:
            joined[place] = Persist(first.records + effect.records)
            continue
        if isinstance(effect, Persist):
            place = len(joined)
        elif isinstance(effect, Commit):
            place = None
        joined.append(effect)
    return joined


def rate_of(size: int, nanoseconds: int) -> int:
    """KiB/s of a pull of `size` bytes, as cards carry it: at least 1, since 0 says that nothing was measured."""
    return max(1, min(MAX_RATE, size * 1_000_000_000 // (1024 * max(1, nanoseconds))))
