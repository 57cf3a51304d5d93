"""Training, scoring, aggregation: what the core asks for, read from the store, computed, and answered with an event."""

import logging
from collections.abc import Callable
from typing import Final

from bflcd.core.effects import Aggregate, Score, Train
from bflcd.core.events import Aggregated, BlobLost, Scored, Trained, WorkFailed
from bflcd.errors import PeerError, RequestError
from bflcd.learn.aggregate import WeightedUpdate
from bflcd.learn.protocol import ScoreJob, TrainJob, UpdateToScore, WorkerError
from bflcd.ledger.disclosure import balances, measures_fresh, row_range
from bflcd.ledger.trust.noise import LOSS_LIMIT
from bflcd.node.privacy.budget import BudgetSpentError
from bflcd.node.runtime.payloads import Payloads
from bflcd.node.runtime.ports import Fetcher, Inbox, Network, Numbers, RoundStore
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.params import BlobRef, Params
from bflcd.scheduler import Scheduler
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import Digest, NodeId, Round, short
from bflcd.wire.tensors import update_label

logger = logging.getLogger(__name__)

REFETCH_SECONDS: Final = 1.0
"""Pause after a damaged payload: a disk that damages it again must not keep the node busy."""


class ComputeJobs:
    """Each method is the work of one job."""

    def __init__(
        self,
        *,
        chain: Digest,
        me: NodeId,
        params: Callable[[], Params],
        scheduler: Scheduler,
        inbox: Inbox,
        store: RoundStore,
        payloads: Payloads,
        unpublished: Unpublished,
        numbers: Numbers,
        network: Network,
        fetcher: Fetcher,
    ) -> None:
        self._label: Callable[[Round], str] = lambda round_: update_label(chain, round_, me)
        self._params = params
        self._scheduler = scheduler
        self._inbox = inbox
        self._store = store
        self._payloads = payloads
        self._unpublished = unpublished
        self._numbers = numbers
        self._network = network
        self._fetcher = fetcher
        self._compared = Round(-1)
        """The last round whose updates were held against the step before it."""
        self._models: dict[Round, BlobRef] = {}
        """Of the last two rounds in which there was work."""

    async def train(self, job: Train) -> None:
        """Answers `Trained` or `WorkFailed`."""
        started = self._scheduler.now_ns()
        self._works_on(job.round, job.model)
        try:
            model = await self._payloads.read(job.model)
            label = self._label(job.round)
            result = await self._numbers.train(TrainJob(job.round, model, job.seed, label, canary=job.canary, known=job.known))
        except BudgetSpentError as error:
            await self._inbox.put(WorkFailed(job.round, training=True, text=str(error), final=True))
            return
        except WorkerError as error:
            self._compared = Round(-1)  # a new worker knows of no step
            await self._inbox.put(WorkFailed(job.round, training=True, text=f"training failed: {error}"))
            return
        except DamagedBlobError as error:
            await self._lost(error)
            await self._inbox.put(WorkFailed(job.round, training=True, text=str(error)))
            return
        blob = await self._store.put_blob(result.update)
        self._unpublished.made(blob.root, job.round)
        took = (self._scheduler.now_ns() - started) / 1e9
        logger.debug("trained in %.2f s, of them %.2f in the worker", took, result.seconds)
        await self._inbox.put(Trained(job.round, blob, result.samples, result.loss, result.claim))

    async def score(self, job: Score) -> None:
        """Answers `Scored` or `WorkFailed`."""
        self._works_on(job.round, job.model)
        try:
            updates = [UpdateToScore(key, await self._payloads.read(blob), label) for key, blob, label in job.offers]
            model = await self._payloads.read(job.model)
            before = await self._model_before(job)
            result = await self._numbers.score(self._score_job(job, model, tuple(updates), before))
        except WorkerError as error:
            self._compared = Round(-1)
            await self._inbox.put(WorkFailed(job.round, training=False, text=f"scoring failed: {error}"))
            return
        except DamagedBlobError as error:
            await self._lost(error)
            await self._inbox.put(WorkFailed(job.round, training=False, text=str(error)))
            return
        self._compared = job.round
        logger.debug("scored %d updates in %.2f s", len(updates), result.seconds)
        await self._inbox.put(Scored(job.round, result))

    async def _model_before(self, job: Score) -> bytes:
        """The model of the round before, for the first scoring of a round; empty afterwards, or if it is not here any more."""
        round_, params = job.round, self._params()
        wanted = params.copy_likeness or measures_fresh(params, job.known)
        if not wanted or round_ in (0, self._compared):
            return b""
        model = self._models.get(Round(round_ - 1))
        if model is None and round_ > 1:  # no certificate tells of the first model
            found = await self._store.headers(Round(round_ - 1), 1)
            model = found[0].header.blob if found else None
        return b"" if model is None else await self._store.blob(model.root) or b""

    def _works_on(self, round_: Round, model: BlobRef) -> None:
        self._models = {known: blob for known, blob in self._models.items() if known >= round_ - 1} | {round_: model}

    def _score_job(self, job: Score, model: bytes, updates: tuple[UpdateToScore, ...], before: bytes = b"") -> ScoreJob:
        params = self._params()
        lost, gained = row_range(params, job.known)
        return ScoreJob(
            job.round,
            model,
            updates,
            job.seed,
            params.score_rows,
            params.score_damping,
            limit=job.limit,
            row_limit=lost,
            alike=params.copy_likeness,
            before=before,
            gain_limit=gained,
            loss_limit=LOSS_LIMIT if params.score_noise else None,
            fresh=measures_fresh(params, job.known),
            balanced=balances(params),
        )

    async def aggregate(self, job: Aggregate) -> None:
        """Answers `Aggregated`; what is damaged meanwhile is fetched again, for as long as the round runs."""
        while True:
            try:
                updates = [WeightedUpdate(weight, label, await self._payloads.read(blob)) for weight, blob, label in job.updates]
                model = await self._payloads.read(job.model)
                break
            except DamagedBlobError as error:
                logger.warning("%s", error)
                await self._payloads.forget(error.root)
                await self._fetch_again(job, error.root)
                await self._scheduler.sleep(REFETCH_SECONDS)
        try:
            data = await self._numbers.aggregate(job.rule, model, updates, job.limit)
        except PeerError as error:
            logger.warning("round %d packs an update that can't be aggregated: %s", job.round, error)
            await self._inbox.put(Aggregated(job.key, None, str(error)))
        else:
            await self._inbox.put(Aggregated(job.key, await self._store.put_blob(data)))

    async def _fetch_again(self, job: Aggregate, root: Digest) -> None:
        blob = next(blob for blob in (job.model, *(update[1] for update in job.updates)) if blob.root == root)
        while True:
            try:
                await self._fetcher.fetch(blob, self._network.connected())
            except (RequestError, PeerError) as error:
                logger.warning("the damaged payload %s is not to be had: %s", short(root), error)
                await self._scheduler.sleep(REFETCH_SECONDS)
            else:
                return

    async def _lost(self, error: DamagedBlobError) -> None:
        """A payload that a job needs is damaged here: the core has it fetched again."""
        logger.warning("%s", error)
        await self._payloads.forget(error.root)
        await self._inbox.put(BlobLost(error.root))
