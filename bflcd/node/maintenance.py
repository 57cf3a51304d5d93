"""What keeps a data directory in shape while the node runs: closed rounds, sizes, damaged payloads, the last measure."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from bflcd.config import StoreSection
from bflcd.core.core import Core
from bflcd.core.node_events import EventKind
from bflcd.errors import MachineError, PeerError, RequestError
from bflcd.learn.client import WorkerClient
from bflcd.learn.health import Work
from bflcd.learn.protocol import EvaluateJob, WorkerError
from bflcd.net.blobs.fetcher import BlobFetcher
from bflcd.node.reporter import Tell
from bflcd.node.runtime.ports import Network
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.node.views.chain import pruned_text
from bflcd.node.views.facts import Measures
from bflcd.params import MILLION, BlobRef
from bflcd.store.protocol import ChainStore, DamagedBlobError, PayloadReader, Upkeep
from bflcd.types import Digest, Round, short

logger = logging.getLogger(__name__)

REFRESH: Final = 5.0
"""Seconds between two looks at the store's size, when no round closes."""

LOOK_SHARE: Final = 50
"""A look at the sizes waits so many times as long as the last one took: 2 % of the time, however large the store."""

MEND_SECONDS: Final = 60.0
"""How long a damaged payload is asked for before the rest of the maintenance goes on."""

MAX_DAMAGED: Final = 64
"""Damaged payloads that wait to be mended; more mean that the disk is failing, and are found again when they are read again."""


class KeptStore(ChainStore, PayloadReader, Upkeep, Protocol):
    """What is looked after, and where a damaged payload's address is found."""


class Maintenance:
    """One task: whatever it does, it does one at a time, so that two prunes never run at once."""

    def __init__(
        self,
        settings: StoreSection,
        store: KeptStore,
        *,
        core: Core,
        unpublished: Unpublished,
        network: Network,
        fetcher: BlobFetcher,
        compute: WorkerClient,
        measures: Measures,
        tell: Tell,
        on_look: Callable[[], None],
    ) -> None:
        """`on_look` is called each time that the sizes are read."""
        self._settings = settings
        self._store = store
        self._core = core
        self._unpublished = unpublished
        self._network = network
        self._fetcher = fetcher
        self._compute = compute
        self._measures = measures
        self._tell = tell
        self._on_look = on_look
        self._wake = asyncio.Event()
        self._closed: Round | None = None
        self._damaged: dict[Digest, None] = {}
        self._measured = False
        self._clock = time.monotonic
        self._next_look = 0.0

    def round_closed(self, round_: Round) -> None:
        """A round was committed: `round_` is open now."""
        self._closed = round_
        self._wake.set()

    def worker_started(self) -> None:
        """There is a worker to measure with."""
        self._wake.set()

    def damaged(self, root: Digest, error: DamagedBlobError) -> None:
        """A payload does not hash to its name any more."""
        self._note_damage(root, error)
        self._wake.set()

    def _note_damage(self, root: Digest, error: DamagedBlobError) -> None:
        """Mend it with the next look, not at once: a disk that damages what was just mended must not keep the node busy."""
        self._tell(EventKind.BLOB_DAMAGED, self._core.context.round, str(error), root=root.hex())
        if len(self._damaged) < MAX_DAMAGED:
            self._damaged[root] = None

    async def run(self) -> None:
        """Do all of it, one thing after the other, until cancelled."""
        while True:
            self._wake.clear()
            await self._tidy()
            while self._damaged:
                await self._mend(next(iter(self._damaged)))
            await self._look()
            if not self._measured and self._core.context.finished:
                await self._measure()
            try:
                async with asyncio.timeout(REFRESH):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """Read the store's sizes anew, unless that takes a noticeable share of the time: on a large store it takes a while."""
        begun = self._clock()
        if begun >= self._next_look:
            await self._measures.refresh()
            self._next_look = begun + LOOK_SHARE * (self._clock() - begun)
        self._on_look()

    async def _tidy(self) -> None:
        """Offers that lost, and old payloads on a pruned node."""
        round_, self._closed = self._closed, None
        if round_ is None:
            return
        await self._store.discard_stale(round_)
        self._unpublished.forget(round_)
        if self._settings.mode == "pruned" and not self._core.syncing:
            report = await self._store.prune(self._settings.keep, dry_run=False)
            if report.blobs:
                self._tell(EventKind.PRUNED, round_, pruned_text(report), height=report.height)
                self._measures.models.look_anew()

    async def _mend(self, root: Digest) -> None:
        """Fetch a damaged payload again, from any member."""
        del self._damaged[root]
        self._measures.models.look_anew()
        blob = await self._address(root)
        await self._store.drop_blob(root)
        if blob is None:
            self._tell_of(EventKind.BLOB_NOT_MENDED, root, "is named by no block and can't be fetched")
            return
        await self._fetch(blob)

    async def _address(self, root: Digest) -> BlobRef | None:
        """A damaged payload's address by its manifest; if that is damaged too, by the newest block that names the payload."""
        try:
            manifest = await self._store.manifest(root)
        except MachineError as error:
            if error.code != "damaged_store":
                raise
            logger.warning("%s", error)
            manifest = None
        if manifest is not None:
            return manifest.blob
        context = self._core.context
        for round_ in range(context.round, 0, -1):
            certified = await self._store.segment(Round(round_))
            headers = () if certified is None else certified.segment.headers
            for header in headers:
                if header.blob is not None and header.blob.root == root:
                    return header.blob
        first = context.genesis.model
        return first if first.root == root else None

    async def _fetch(self, blob: BlobRef) -> None:
        try:
            await self._fetcher.fetch(blob, self._network.connected, deadline=MEND_SECONDS)
        except (RequestError, PeerError) as error:
            self._tell_of(EventKind.BLOB_NOT_MENDED, blob.root, f"was not mended: {error}")
        else:
            self._tell_of(EventKind.BLOB_MENDED, blob.root, "was fetched again")

    def _tell_of(self, kind: EventKind, root: Digest, what: str) -> None:
        self._tell(kind, self._core.context.round, f"the damaged payload {short(root)} {what}", root=root.hex())

    async def _measure(self) -> None:
        """The finished model on the task's test data, for `status`."""
        if self._compute.ready is None or self._compute.health.refusal(Work.MEASURE):
            return
        root = self._core.context.head_blob.root
        try:
            data = await self._store.blob(root)
            if data is None:
                return
            result = await self._compute.evaluate(EvaluateJob(data))
        except DamagedBlobError as error:
            self._note_damage(root, error)
            return
        except WorkerError as error:
            self._tell(EventKind.WORK_FAILED, self._core.context.round, f"the finished model was not measured: {error}")
            return
        self._measured = True
        if result.accuracy is not None:
            self._measures.test_accuracy = result.accuracy / MILLION
