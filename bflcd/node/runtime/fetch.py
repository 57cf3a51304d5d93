"""Fetching: payloads, signed messages, operations, segments; from whom the core names, answered with an event."""

import logging
from dataclasses import dataclass
from typing import Final

from bflcd.core.effects import Blame, FetchBlob, FetchEnvelopes, FetchOperations, FetchSegment, FindModel
from bflcd.core.events import BlobFetched, BlobMissing, EnvelopesFetched, Event, ModelFound, OperationsFetched, SegmentFetched
from bflcd.errors import InvariantError, PeerError, Rejection, RequestError
from bflcd.net.blobs.race import Race
from bflcd.net.exchange import Exchange
from bflcd.node.runtime.jobs import Jobs
from bflcd.node.runtime.payloads import Payloads
from bflcd.node.runtime.ports import Fetcher, Inbox, Network, Numbers, Observer, RoundStore
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.scheduler import Scheduler, Task
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import Digest, NodeId, Round, short
from bflcd.wire.envelope import Envelope, payload_digest
from bflcd.wire.messages import MAX_RATE
from bflcd.wire.operation import Operation, operation_id
from bflcd.wire.requests import GetEnvelopes, GetOperations, GetSegment

logger = logging.getLogger(__name__)

REQUEST_SECONDS: Final = 10.0
"""Deadline of one request for envelopes or a segment."""

PATIENCE_SECONDS: Final = 2.0
"""After so long without a segment the next peer is asked for it too."""


@dataclass(slots=True)
class _Fetch:
    """A payload on its way."""

    effect: FetchBlob
    task: Task[None] | None = None


class FetchJobs:
    """Each method starts, or is, the work of one job."""

    def __init__(
        self,
        *,
        chain: Digest,
        me: NodeId,
        scheduler: Scheduler,
        jobs: Jobs,
        inbox: Inbox,
        store: RoundStore,
        payloads: Payloads,
        unpublished: Unpublished,
        numbers: Numbers,
        network: Network,
        asker: Exchange,
        fetcher: Fetcher,
        observer: Observer,
    ) -> None:
        self._chain = chain
        self._me = me
        self._scheduler = scheduler
        self._jobs = jobs
        self._inbox = inbox
        self._store = store
        self._payloads = payloads
        self._unpublished = unpublished
        self._numbers = numbers
        self._network = network
        self._asker = asker
        self._fetcher = fetcher
        self._observer = observer
        self._segment_race = Race(PATIENCE_SECONDS, scheduler=scheduler)
        self._running: dict[tuple[Digest, str | None], _Fetch] = {}
        self._sound: tuple[Round, set[Digest]] = (Round(0), set())
        """What met the specification in that round, under some label: others may offer the same under theirs."""

    def start_blob(self, effect: FetchBlob) -> None:
        """Fetch a payload, unless that is under way; answers `BlobFetched` or `BlobMissing`."""
        root = effect.blob.root
        if effect.label is not None:
            self._unpublished.offered(root, effect.round)
        running = self._running.get((root, effect.label))
        if running is None or running.task is None or running.task.cancelling():
            fetch = self._running[root, effect.label] = _Fetch(effect)
            fetch.task = self._jobs.start(effect.round, self._blob, fetch)

    async def _blob(self, fetch: _Fetch) -> None:
        effect, root = fetch.effect, fetch.effect.blob.root
        try:
            answer = await self._fetched(effect)
        except (RequestError, PeerError) as error:
            answer = BlobMissing(root, effect.label, refused=False, text=str(error))
        except DamagedBlobError as error:
            await self._payloads.forget(root)
            answer = BlobMissing(root, effect.label, refused=False, text=str(error))
        finally:
            if self._running.get((root, effect.label)) is fetch:
                del self._running[root, effect.label]
        await self._inbox.put(answer)

    async def _fetched(self, effect: FetchBlob) -> Event:
        root = effect.blob.root
        held = await self._store.has_blob(root)
        holders = tuple(node for node in effect.holders if node != self._me)
        if effect.anyone:
            holders = tuple(dict.fromkeys((*holders, *self._network.connected())))
        started = self._scheduler.now_ns()
        await self._fetcher.fetch(effect.blob, holders, apart=effect.label)
        measured = effect.label is not None and not held
        rate = rate_of(effect.blob.size, self._scheduler.now_ns() - started) if measured else 0
        return await self._checked(effect, held=held, rate=rate)

    async def _checked(self, effect: FetchBlob, *, held: bool, rate: int) -> Event:
        """Hold a payload against the genesis specification; what breaks it is dropped, unless it is here for another reason."""
        data = await self._payloads.read(effect.blob)
        try:
            self._numbers.check(data, effect.label)
        except PeerError as error:
            if not held and not self._serves_another(effect):
                await self._payloads.forget(effect.blob.root)
            return BlobMissing(effect.blob.root, effect.label, refused=True, text=str(error))
        if self._sound[0] != effect.round:
            self._sound = (effect.round, set())
        self._sound[1].add(effect.blob.root)
        return BlobFetched(effect.blob.root, rate)

    def _serves_another(self, effect: FetchBlob) -> bool:
        """Whether the same payload is good under another label, or may be: who copies an offer does not take it away."""
        root = effect.blob.root
        sound = self._sound[0] == effect.round and root in self._sound[1]
        return sound or any(other == root and label != effect.label for other, label in self._running)

    async def envelopes(self, effect: FetchEnvelopes) -> None:
        """Answers `EnvelopesFetched`."""
        found: tuple[Envelope, ...] = ()
        request = GetEnvelopes(self._chain, effect.round, effect.digests)
        try:
            reply = await self._asker.ask(effect.source, request, deadline=REQUEST_SECONDS)
        except (RequestError, PeerError) as error:
            logger.debug("%s gives no envelopes: %s", short(effect.source), error)
        else:
            wanted = set(effect.digests)
            found = tuple(envelope for envelope in reply.envelopes if payload_digest(envelope) in wanted)
        await self._inbox.put(EnvelopesFetched(effect.round, found, effect.source))

    async def operations(self, effect: FetchOperations) -> None:
        """Answers `OperationsFetched`."""
        found: tuple[Operation, ...] = ()
        try:
            reply = await self._asker.ask(effect.source, GetOperations(self._chain, effect.ids), deadline=REQUEST_SECONDS)
        except (RequestError, PeerError) as error:
            logger.debug("%s gives no operations: %s", short(effect.source), error)
        else:
            found = tuple(operation for operation in reply.operations if operation_id(operation) in effect.ids)
        await self._inbox.put(OperationsFetched(effect.round, found, effect.source))

    async def old_model(self, effect: FindModel) -> None:
        """Answers `ModelFound`."""
        found = await self._store.headers(effect.of, 1)
        model = found[0].header.blob if found else None
        if model is None:
            raise InvariantError(f"the store has no model header of round {effect.of}, which is before round {effect.round}")
        await self._inbox.put(ModelFound(effect.round, effect.of, model))

    async def segment(self, effect: FetchSegment) -> None:
        """From whoever of the named and the connected gives it first; answers `SegmentFetched`, or nothing."""

        async def ask(holder: NodeId) -> SegmentFetched | None:
            try:
                reply = await self._asker.ask(holder, GetSegment(self._chain, effect.round), deadline=REQUEST_SECONDS)
            except (RequestError, PeerError) as error:
                logger.debug("%s gives no segment of round %d: %s", short(holder), effect.round, error)
                return None
            if reply.certified.segment.model_header.round != effect.round:
                self._observer.blame(Blame(holder, Rejection.BAD_SEGMENT, "it gave the segment of another round"))
                return None
            return SegmentFetched(reply.certified, holder)

        def holders() -> list[NodeId]:
            return list(dict.fromkeys((*effect.holders, *self._network.connected())))

        found = await self._segment_race.run(holders, ask)
        if found is not None:
            await self._inbox.put(found)


def rate_of(size: int, nanoseconds: int) -> int:
    """KiB/s of a pull of `size` bytes, as cards carry it: at least 1, since 0 says that nothing was measured."""
    return max(1, min(MAX_RATE, size * 1_000_000_000 // (1024 * max(1, nanoseconds))))
