"""A node's budget: how noisy its next update is, whether it may still make one, and what all of them tell together."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Final

from bflcd.errors import OperatorError
from bflcd.learn.messages import Ready
from bflcd.learn.private.accountant import epsilon_of, thousandths
from bflcd.learn.private.mechanism import THOUSAND, Mechanism
from bflcd.learn.private.planning import Plan
from bflcd.learn.protocol import Compute, EvaluateJob, EvaluateResult, ScoreJob, ScoreResult, TrainJob, TrainResult, WorkerError
from bflcd.node.privacy.file import Account, AccountFile
from bflcd.wire.privacy import MOST_EPSILON, PrivacyClaim
from bflcd.wire.training import Training

MOST_ROUNDS_LEFT: Final = 2**20
"""Trainings that are counted ahead: beyond it nobody plans."""


class BudgetSpentError(WorkerError):
    """The budget allows no next update: none is made, in this round or a later one."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Training.BUDGET)


class Budget:
    """The account, held against what the operator allows."""

    def __init__(self, plan: Plan, file: AccountFile) -> None:
        self._plan, self._file = plan, file
        self._planned: tuple[int, Mechanism] | None = None
        self._noting = Lock()
        self._why = ""

    @property
    def account(self) -> Account:
        """What was spent."""
        return self._file.account

    @property
    def allowed(self) -> int:
        """The budget's epsilon, thousandths."""
        return self._plan.epsilon

    @property
    def exponent(self) -> int:
        """Its delta is 10^-exponent."""
        return self._plan.exponent

    @property
    def mechanism(self) -> Mechanism | None:
        """How the next update is made; None before the worker has counted its rows."""
        return None if self._planned is None else self._planned[1]

    @property
    def stopped(self) -> bool:
        """Whether nothing is trained any more."""
        return bool(self._why)

    def spent(self) -> int:
        """Epsilon of all updates so far, thousandths, rounded up."""
        return self._told(self.account)

    def look(self, rows: int) -> Mechanism:
        """How the next update is made, on so many rows. Raises BudgetSpentError if it must not be. Takes a moment at first."""
        if self._planned is None or self._planned[0] != rows:
            self._planned = (rows, self._made(rows))
        mechanism = self._planned[1]
        self._why = ""
        if self._told(self.account.after(mechanism)) > self.allowed:
            text = (
                f"{self.spent() / THOUSAND:.3f} of its privacy budget of epsilon {self.allowed / THOUSAND:g} are spent, and one "
                "more update would exceed it (privacy.epsilon)"
            )
            raise self._stop(text)
        return mechanism

    def spend(self, mechanism: Mechanism) -> PrivacyClaim:
        """Note an update durably, before it leaves. Raises OperatorError, MachineError: then it must not leave."""
        with self._noting:  # a cancelled training does not stop its own writing: none takes another's back
            self._file.write(self.account.after(mechanism))
            return PrivacyClaim(min(self.spent(), MOST_EPSILON), self.exponent)

    def rounds_left(self) -> int | None:
        """Trainings that the budget still allows, made as the next one; None before that is known."""
        mechanism = self.mechanism
        if mechanism is None:
            return None
        low, high = 0, 1
        while high < MOST_ROUNDS_LEFT and self._lasts(mechanism, high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._lasts(mechanism, middle) else (low, middle)
        return low

    def warnings(self) -> list[str]:
        """What status says as long as nothing is trained."""
        return [self._why] if self._why else []

    def _stop(self, why: str) -> BudgetSpentError:
        self._why = f"this node does not train: {why}; it judges and follows"
        return BudgetSpentError(self._why)

    def _lasts(self, mechanism: Mechanism, times: int) -> bool:
        many = replace(mechanism, steps=mechanism.steps * times)
        return self._told(self.account.after(many)) <= self.allowed

    def _told(self, account: Account) -> int:
        epsilon = epsilon_of(account.spent, self.exponent)
        return thousandths(min(epsilon, 2.0 * MOST_EPSILON))

    def _made(self, rows: int) -> Mechanism:
        mechanism = self._plan.mechanism(rows)
        if mechanism is None:
            raise self._stop(
                f"no noise is so large that {self._plan.rounds} rounds of {self._plan.steps(rows)} steps stay within a privacy "
                f"budget of epsilon {self.allowed / THOUSAND:g}: raise privacy.epsilon, or lower privacy.rounds"
            )
        return mechanism


class PrivateCompute:
    """Implements `learn.protocol.Compute`: no update of an honest worker leaves it but noisy and accounted for."""

    def __init__(
        self, worker: Compute, budget: Budget, ready: Callable[[], Ready | None], on_stop: Callable[[str], None]
    ) -> None:
        """`worker`: set up for privacy; `ready`: what it has found, once it has started; `on_stop`: the budget is spent."""
        self._worker, self._budget, self._ready, self._on_stop = worker, budget, ready, on_stop

    async def start(self) -> None:
        """As the worker."""
        await self._worker.start()

    async def train(self, job: TrainJob) -> TrainResult:
        """As the worker, with noise; accounted for, durably, before anybody sees the update.

        A training that fails or is cancelled has told nobody anything and costs nothing; what was noted and could not be offered
        any more is spent. Raises BudgetSpentError, WorkerError.
        """
        mechanism = await self._mechanism()
        result = await self._worker.train(replace(job, privacy=mechanism))
        claim = await asyncio.to_thread(self._budget.spend, mechanism)
        return replace(result, claim=claim)

    async def _mechanism(self) -> Mechanism:
        stopped = self._budget.stopped
        try:
            if self._ready() is None:
                await self._worker.start()
            ready = self._ready()
            assert ready is not None, "a worker that has started has counted its rows"
            return await asyncio.to_thread(self._budget.look, ready.training_rows)
        except OperatorError as error:
            raise WorkerError(f"{error}; {error.hint}", Training.DATA) from error
        except BudgetSpentError as error:
            if not stopped:
                self._on_stop(str(error))
            raise

    async def score(self, job: ScoreJob) -> ScoreResult:
        """As the worker."""
        return await self._worker.score(job)

    async def evaluate(self, job: EvaluateJob) -> EvaluateResult:
        """As the worker."""
        return await self._worker.evaluate(job)

    async def close(self) -> None:
        """As the worker."""
        await self._worker.close()
