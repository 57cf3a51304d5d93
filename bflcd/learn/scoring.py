"""Judging updates on local rows: paired, damped loss gains in exact integers (design 5)."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from time import perf_counter
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from bflcd.errors import PeerError
from bflcd.learn.checks.alike import Comparison
from bflcd.learn.checks.answers import right_rows, row_losses, transformed
from bflcd.learn.checks.moves import LastStep, Move, move_of, on_card
from bflcd.learn.flat import FlatModel, as_tensor
from bflcd.learn.labels.balance import class_costs, row_weights
from bflcd.learn.protocol import (
    WIDEST_ROW_LIMIT,
    EvaluateResult,
    ScoreJob,
    ScoreResult,
    UpdateScore,
    UpdateToScore,
)
from bflcd.learn.task import Task
from bflcd.learn.training import Cancelled, DeviceRows, JobCancelledError
from bflcd.params import MILLION
from bflcd.types import Digest, MicroNats, PartsPerMillion, Round
from bflcd.wire.tensors import Floats, split_payload

ROW_LOSS_LIMIT: Final = 1000.0
"""Largest loss of one row, in nats, and what a row counts whose loss is not finite: no result exceeds +-10^9 micro-nats."""

ROWS_AT_ONCE: Final = 256
"""Rows of one forward pass: bounds activations."""

STACK: Final = 64
"""Candidates of one stacked pass on a GPU; halved while memory runs out."""

_REASON_CHARS: Final = 200
"""Of an explanation by torch or the task, in the log."""

_NOT_OF_THE_CANDIDATE: Final = (JobCancelledError, torch.OutOfMemoryError, MemoryError)
"""What ends a job whatever is judged."""


@dataclass(frozen=True, slots=True)
class RowLosses:
    """Losses in nats (float64) and rightness (bool) by row, on the CPU."""

    losses: Tensor
    correct: Tensor

    @property
    def accuracy(self) -> PartsPerMillion:
        """floor(10^6 * share of right rows)."""
        return PartsPerMillion(int(self.correct.sum()) * MILLION // len(self.correct))

    @property
    def loss(self) -> MicroNats:
        """Mean loss."""
        return _micro_nats(self.losses)


class Scorer:
    """Scores candidates of one task; keeps the base's measurement for further jobs with the same model, seed and rows."""

    def __init__(self, model: FlatModel, task: Task, rows: DeviceRows, *, stacked: bool | None = None) -> None:
        """`rows`: those that this node may judge on; `stacked`: whether many models are measured at once, by default on a GPU."""
        self._model, self._task, self._rows = model, task, rows
        self._stacked = model.device.type == "cuda" if stacked is None else stacked
        self._base: tuple[tuple[bytes, int, int], RowLosses] | None = None
        self._refused = 0
        self._compared: tuple[tuple[Round, int, PartsPerMillion], Comparison] | None = None
        self._step: tuple[Round, LastStep | None] | None = None
        """Of the round in whose first job it came."""
        self._gained: tuple[tuple[bytes, int, int], Tensor] | None = None
        """By the last step once more, beside what the base is known by."""

    def score(self, job: ScoreJob, cancelled: Cancelled) -> ScoreResult:
        """Judge every candidate; a broken payload is listed as invalid and harms no other.

        A candidate at which the task's code raises, and not at the base, counts as if no row had a finite loss. A model that
        can't be measured many at once (recurrent layers, decisions by a value) is measured one by one from then on. Raises
        PeerError(BAD_TENSOR) for a broken model, JobCancelledError, TaskError, or what the task's code raises at the base.
        """
        if not self._stacked:
            return self._score(job, cancelled)
        try:
            return self._score(job, cancelled)
        except (PeerError, *_NOT_OF_THE_CANDIDATE):
            raise
        except Exception as error:  # noqa: BLE001 - what torch raises there has no type of its own
            reason = f"{type(error).__name__}: {error}"
        self._stacked, self._base = False, None
        refused = self._refused
        result = self._score(job, cancelled)
        if self._refused > refused:  # it was a candidate: no reason to judge the next ones slowly
            self._stacked, self._base = True, None
            return result
        sys.stderr.write(
            f"this model can't be judged many at once, so updates are judged one by one ({reason[:_REASON_CHARS]})\n"
        )
        return result

    def _score(self, job: ScoreJob, cancelled: Cancelled) -> ScoreResult:
        begun = perf_counter()
        rows = self._draw(job)
        self._model.load(job.model)
        start = self._model.weights.clone()
        base = self._measure_base(job, rows, cancelled)
        invalid: list[tuple[Digest, str]] = []
        valid: list[tuple[UpdateToScore, Floats]] = []
        for candidate in job.candidates:
            try:
                valid.append((candidate, split_payload(candidate.update, self._model.spec, label=candidate.label)[1]))
            except PeerError as error:
                invalid.append((candidate.key, str(error)))
        updates = [update for _, update in valid]
        last = self._last_step(job)
        step = last if job.fresh else None
        moves = [move_of(update, step, job.damping, job.limit) for update in updates]
        repeated = None
        if step is not None and any(move.along for move in moves):
            repeated = self._repeated(step, start, base, rows, cancelled)
        measured = list(self._measure_all(start, updates, moves, rows, cancelled, step=step))
        targets = rows.targets.cpu()
        weights = row_weights(targets) if job.balanced and self._task.classifies else None
        costs = class_costs(base.losses, torch.stack([found.losses for found in measured]), targets).tolist() if measured else []
        scores = tuple(
            UpdateScore(
                candidate.key,
                _gain(job, base.losses, found.losses, None if repeated is None else move.times * repeated, weights),
                found.accuracy,
                on_card(move.norm),
                cost=cost,
            )
            for (candidate, _), move, found, cost in zip(valid, moves, measured, costs, strict=True)
        )
        scores = self._compare(job, last, valid, scores)
        loss = base.loss if job.loss_limit is None else held_loss(base.losses, job.loss_limit)
        took = perf_counter() - begun
        return ScoreResult(loss, base.accuracy, scores, tuple(invalid), took, len(rows), len(self._rows))

    def _last_step(self, job: ScoreJob) -> LastStep | None:
        """What the round before did to the model, from the first job of a round for all of them. Raises PeerError(BAD_TENSOR)."""
        if job.before:
            model, before = (split_payload(payload, self._model.spec, label=None)[1] for payload in (job.model, job.before))
            self._step = (job.round, LastStep.of(model - before, job.damping, job.limit))
        return self._step[1] if self._step is not None and self._step[0] == job.round else None

    def _repeated(self, step: LastStep, start: Tensor, base: RowLosses, rows: DeviceRows, cancelled: Cancelled) -> Tensor:
        """What each row gains by the last step once more, [rows]; measured once for all jobs of one base."""
        assert self._base is not None, "the base is measured first"
        if self._gained is None or self._gained[0] != self._base[0]:
            (found,) = self._measure_all(start, [step.floats], [Move(step.share)], rows, cancelled)
            self._gained = (self._base[0], base.losses - found.losses)
        return self._gained[1]

    def _compare(
        self,
        job: ScoreJob,
        last: LastStep | None,
        valid: list[tuple[UpdateToScore, Floats]],
        scores: tuple[UpdateScore, ...],
    ) -> tuple[UpdateScore, ...]:
        """The scores with what each update is too alike to, in this job and the round's before it."""
        if not job.alike:
            return scores
        key = (job.round, job.seed, job.alike)
        if self._compared is None or self._compared[0] != key:
            self._compared = (key, Comparison(len(self._model.weights), job.seed, job.alike))
        comparison = self._compared[1]
        if job.before and last is not None:
            comparison.last_step(comparison.gather(last.floats))
        found = comparison.look([candidate.key for candidate, _ in valid], [comparison.gather(update) for _, update in valid])
        return tuple(replace(score, alike=like.others, repeats=like.repeats) for score, like in zip(scores, found, strict=True))

    def _draw(self, job: ScoreJob) -> DeviceRows:
        """The job's rows in ascending order: all, or `job.rows` drawn by its seed."""
        if job.rows >= len(self._rows):
            return self._rows
        drawn = np.random.Generator(np.random.PCG64(job.seed)).choice(len(self._rows), size=job.rows, replace=False)
        index = torch.from_numpy(np.sort(drawn)).to(self._model.device)
        return DeviceRows(self._rows.inputs[index], self._rows.targets[index])

    def _measure_base(self, job: ScoreJob, rows: DeviceRows, cancelled: Cancelled) -> RowLosses:
        """Measure the loaded base, once for all jobs of one model, seed and number of rows."""
        key = (blake2b(job.model, digest_size=32).digest(), job.seed, job.rows)
        if self._base is None or self._base[0] != key:
            if self._stacked:  # by the same kernels as the candidates, so that a zero update gains nothing
                self._base = (key, _measure_stack(self._model, self._task, self._model.weights[None], rows, cancelled)[0])
            else:
                self._base = (key, measure(self._model, self._task, rows, cancelled))
        return self._base[1]

    def _measure_all(
        self,
        start: Tensor,
        updates: list[Floats],
        moves: list[Move],
        rows: DeviceRows,
        cancelled: Cancelled,
        *,
        step: LastStep | None = None,
    ) -> Iterator[RowLosses]:
        """The model moved along each update in turn, without what it repeats of the last step."""
        last = None if step is None else as_tensor(step.floats).to(start.device)
        if self._stacked:
            yield from self._measure_stacked(start, updates, moves, rows, cancelled, last=last)
            return
        for update, move in zip(updates, moves, strict=True):
            torch.add(start, as_tensor(update).to(start.device), alpha=move.share, out=self._model.weights)
            if last is not None and move.along:
                self._model.weights.sub_(last, alpha=move.share * move.along)
            try:
                found = measure(self._model, self._task, rows, cancelled)
            except _NOT_OF_THE_CANDIDATE:
                raise
            except Exception as error:  # noqa: BLE001 - a task may raise anything, and whoever trained this chose where it does
                found = self._nothing_right(error, start, rows, cancelled)
            yield found

    def _nothing_right(self, error: Exception, start: Tensor, rows: DeviceRows, cancelled: Cancelled) -> RowLosses:
        """The losses of a candidate at which the task's code raised, if it does not at the base as well; then raises that."""
        self._model.weights.copy_(start)
        measure(self._model, self._task, rows, cancelled)
        self._refused += 1
        sys.stderr.write(f"an update at which the task raises counts as wrong on every row ({str(error)[:_REASON_CHARS]})\n")
        losses = torch.full((len(rows),), ROW_LOSS_LIMIT, dtype=torch.float64)
        return RowLosses(losses, torch.zeros(len(rows), dtype=torch.bool))

    def _measure_stacked(
        self,
        start: Tensor,
        updates: list[Floats],
        moves: list[Move],
        rows: DeviceRows,
        cancelled: Cancelled,
        *,
        last: Tensor | None,
    ) -> Iterator[RowLosses]:
        """Stacked passes over as many candidates as memory allows."""
        size, done = STACK, 0
        while done < len(updates):
            part = updates[done : done + size]
            try:
                stack = torch.stack([as_tensor(update) for update in part]).to(start.device)
                here = moves[done : done + size]
                if last is not None:
                    along = torch.tensor([move.along for move in here], dtype=stack.dtype, device=start.device)
                    stack.addcmul_(along[:, None], last[None], value=-1)
                scale = torch.tensor([move.share for move in here], dtype=stack.dtype, device=start.device)
                found = _measure_stack(self._model, self._task, stack.mul_(scale[:, None]).add_(start), rows, cancelled)
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                size = len(part) // 2
                torch.cuda.empty_cache()
                continue
            yield from found
            done += len(part)


def measure(model: FlatModel, task: Task, rows: DeviceRows, cancelled: Cancelled) -> RowLosses:
    """The model's losses and rightness on `rows`, without gradients. Raises JobCancelledError."""
    model.module.eval()
    losses, correct = [], []
    with torch.inference_mode():
        for inputs, targets in _chunks(rows, cancelled):
            outputs = model.module(transformed(task, inputs))
            losses.append(bounded_losses(row_losses(task, outputs, targets)))
            correct.append(right_rows(task, outputs, targets))
    return RowLosses(torch.cat(losses).cpu(), torch.cat(correct).cpu())


def _measure_stack(model: FlatModel, task: Task, stack: Tensor, rows: DeviceRows, cancelled: Cancelled) -> list[RowLosses]:
    """As `measure` for each row of `stack` [models, weights], all at once."""
    model.module.eval()
    parameters = dict(model.views(stack))

    def forward(weights: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        outputs = functional_call(model.module, weights, (inputs,))
        return row_losses(task, outputs, targets), right_rows(task, outputs, targets)

    losses, correct = [], []
    with torch.no_grad():
        for inputs, targets in _chunks(rows, cancelled):
            loss, right = vmap(forward, in_dims=(0, None, None))(parameters, transformed(task, inputs), targets)
            losses.append(bounded_losses(loss))
            correct.append(right)
    pairs = zip(torch.cat(losses, dim=1).cpu(), torch.cat(correct, dim=1).cpu(), strict=True)
    return [RowLosses(loss, right) for loss, right in pairs]


def evaluate(model: FlatModel, task: Task, rows: DeviceRows | None, payload: bytes, cancelled: Cancelled) -> EvaluateResult:
    """Accuracy and loss of a model payload on the task's test rows. Raises PeerError(BAD_TENSOR), JobCancelledError."""
    if rows is None or len(rows) == 0:
        return EvaluateResult(None, None, 0)
    model.load(payload)
    found = measure(model, task, rows, cancelled)
    return EvaluateResult(found.accuracy, found.loss, len(rows))


def _gain(job: ScoreJob, base: Tensor, losses: Tensor, repeated: Tensor | None, weights: Tensor | None) -> MicroNats:
    """The mean gain of what is measured of an update; with what its repetition adds, if it is less with that."""
    gain = mean_gain(base, losses, job.row_limit, job.gain_limit, weights)
    if repeated is None:
        return gain
    return min(gain, mean_gain(base + repeated, losses, job.row_limit, job.gain_limit, weights))


def mean_gain(
    base: Tensor,
    losses: Tensor,
    row_limit: MicroNats,
    gain_limit: MicroNats = WIDEST_ROW_LIMIT,
    weights: Tensor | None = None,
) -> MicroNats:
    """The mean of the rows' gains, each held to -`row_limit` to the less of both: no row says much about itself.

    `weights` [rows], `row_weights`: the less of that mean and the one by them, so that nobody is paid for what it takes from a
    common class and gives to rare ones, or the other way.
    """
    gains = (base - losses).clamp(-row_limit / MILLION, min(row_limit, gain_limit) / MILLION)
    by_row = _micro_nats(gains)
    return by_row if weights is None else min(by_row, _micro_nats(gains * weights))


def held_loss(losses: Tensor, loss_limit: MicroNats) -> MicroNats:
    """The mean of the rows' losses, each held to 0 to `loss_limit`: no row says much about itself."""
    return _micro_nats(losses.clamp(0.0, loss_limit / MILLION))


def _chunks(rows: DeviceRows, cancelled: Cancelled) -> Iterator[tuple[Tensor, Tensor]]:
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        if cancelled():
            raise JobCancelledError
        yield rows.inputs[begin : begin + ROWS_AT_ONCE], rows.targets[begin : begin + ROWS_AT_ONCE]


def bounded_losses(losses: Tensor) -> Tensor:
    """Row losses in float64, within +-`ROW_LOSS_LIMIT`; what is not finite counts as the limit."""
    limit = ROW_LOSS_LIMIT
    return torch.nan_to_num(losses.double(), nan=limit, posinf=limit, neginf=-limit).clamp_(-limit, limit)


def _micro_nats(nats: Tensor) -> MicroNats:
    """The mean of a float64 vector in whole micro-nats, within +-10^9."""
    limit = int(ROW_LOSS_LIMIT * MILLION)
    return MicroNats(max(-limit, min(limit, round(float(nats.mean()) * MILLION))))
