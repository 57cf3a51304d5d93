"""What the daemon computes from payloads: in its worker, and exactly in a thread."""

import asyncio
from collections.abc import Sequence

from bflcd.learn.aggregate import WeightedUpdate, aggregate
from bflcd.learn.protocol import Compute, ScoreJob, ScoreResult, TrainJob, TrainResult
from bflcd.params import TensorSpec
from bflcd.wire.tensors import split_payload


class WorkerNumbers:
    """Implements `ports.Numbers`."""

    def __init__(self, worker: Compute, tensors: tuple[TensorSpec, ...]) -> None:
        """`tensors`: the genesis specification."""
        self._worker = worker
        self._tensors = tensors

    async def train(self, job: TrainJob) -> TrainResult:
        """See `Numbers`."""
        return await self._worker.train(job)

    async def score(self, job: ScoreJob) -> ScoreResult:
        """See `Numbers`."""
        return await self._worker.score(job)

    async def aggregate(self, rule: str, model: bytes, updates: Sequence[WeightedUpdate], limit: int | None) -> bytes:
        """See `Numbers`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, aggregate, rule, model, updates, self._tensors, limit)

    def check(self, payload: bytes, label: str | None) -> None:
        """See `Numbers`."""
        split_payload(payload, self._tensors, label=label)
