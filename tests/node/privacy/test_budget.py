"""A node's budget: noisy or not at all, noted before it leaves, over restarts, and what happens once it is spent."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from bflcd.config import Config, PrivacySection
from bflcd.config.sections import ComputeSection, NodeSection
from bflcd.errors import MachineError, OperatorError
from bflcd.learn.messages import Ready
from bflcd.learn.private.accountant import epsilon_of, thousandths
from bflcd.learn.protocol import EvaluateJob, EvaluateResult, ScoreJob, ScoreResult, TrainJob, TrainResult, WorkerError
from bflcd.node.privacy.budget import Budget, BudgetSpentError, PrivateCompute
from bflcd.node.privacy.file import AccountFile
from bflcd.node.privacy.opening import open_budget
from bflcd.node.privacy.view import privacy_view
from bflcd.params import TaskSpec
from bflcd.types import Round
from bflcd.wire.privacy import PrivacyClaim
from bflcd.wire.training import Training
from tests.helpers.learning import SPEC, task_spec
from tests.helpers.ledger import make_genesis

TASK = task_spec("digits", SPEC, batch_size=25)
ROWS = 100
MANY = 10_000
SECTION = PrivacySection(epsilon=3.0, noise=2.0)
JOB = TrainJob(Round(0), b"model", 1, "mine")
UPDATE = TrainResult(b"update", ROWS, 0.5, 0.1)


class Worker:
    """Remembers what it is asked; `fails`: what it raises instead of training."""

    def __init__(self, fails=None, starts=None):
        self.asked, self.fails, self.starts, self.ready = [], fails, starts, None

    async def start(self):
        if self.starts is not None:
            raise self.starts
        self.ready = Ready("cpu", ROWS, 0, 0)

    async def train(self, job):
        self.asked.append(job)
        if self.fails is not None:
            raise self.fails
        return UPDATE

    async def score(self, job):
        self.asked.append(job)
        return ScoreResult(1, 2, (), (), 0.1, 1, 1)

    async def evaluate(self, job):
        self.asked.append(job)
        return EvaluateResult(None, None, 0)

    async def close(self):
        self.asked.append("close")


class Node:
    """What of a node its budget needs; made again on the same directory it is the node after a restart."""

    def __init__(self, tmp_path, section=SECTION, *, has_signed=False, worker=None, task: TaskSpec = TASK):
        self.file = AccountFile(tmp_path / "privacy.json", has_signed=has_signed)
        self.budget, self.worker, self.told = Budget(section.plan(task), self.file), worker or Worker(), []
        self.compute = PrivateCompute(self.worker, self.budget, lambda: self.worker.ready, self.told.append)

    async def train(self, times=1):
        return [await self.compute.train(JOB) for _ in range(times)][-1]


async def test_a_job_gets_its_noise_and_its_update_a_claim(tmp_path):
    node = Node(tmp_path)
    result = await node.train()
    mechanism = node.worker.asked[0].privacy
    assert (mechanism.noise, mechanism.clip, mechanism.lots, mechanism.steps) == (2000, 1.0, 4, 4)
    assert node.worker.asked == [replace(JOB, privacy=mechanism)]
    assert result == replace(UPDATE, claim=PrivacyClaim(node.budget.spent(), 5))
    assert node.budget.spent() == thousandths(epsilon_of(node.file.account.spent, 5)) > 0


async def test_the_account_is_on_the_disk_before_the_update_is_anybodys(tmp_path, monkeypatch):
    """A process that is killed as soon as it is noted has offered nothing, and the next one counts it all the same."""
    node = Node(tmp_path)

    class Killed(BaseException):
        """The end of the process."""

    def write(account, real=node.file.write):
        real(account)
        raise Killed

    monkeypatch.setattr(node.file, "write", write)
    with pytest.raises(Killed):
        node.budget.spend(node.budget.look(ROWS))
    assert Node(tmp_path, has_signed=True).budget.account.updates == 1
    order = []
    monkeypatch.setattr(node.file, "write", lambda _: order.append("noted"))
    await node.train()
    assert order == ["noted"]


async def test_what_was_never_an_update_costs_nothing(tmp_path):
    node = Node(tmp_path, worker=Worker(fails=WorkerError("memory ran out", Training.MEMORY)))
    with pytest.raises(WorkerError, match="memory"):
        await node.train()
    assert node.budget.spent() == 0


async def test_an_update_that_can_not_be_noted_does_not_leave(tmp_path, monkeypatch):
    node = Node(tmp_path)

    def fails(*_):
        raise MachineError("the disk is full", code="disk_full")

    monkeypatch.setattr(node.file, "write", fails)
    with pytest.raises(MachineError, match="full"):
        await node.train()


async def test_a_restart_forgets_nothing(tmp_path):
    before = Node(tmp_path)
    await before.train(3)
    after = Node(tmp_path, has_signed=True)
    assert (after.budget.account, after.budget.spent()) == (before.budget.account, before.budget.spent())
    result = await after.train()
    assert result.claim.epsilon > before.budget.spent()


async def test_claims_only_grow_and_never_pass_the_budget(tmp_path):
    node = Node(tmp_path)
    await node.train()
    said = [(await node.train()).claim.epsilon for _ in range(node.budget.rounds_left())]
    with pytest.raises(BudgetSpentError):
        await node.train()
    assert said == sorted(said)
    assert 0 < said[-1] <= 3000
    assert len(said) > 2


async def test_once_it_is_spent_nothing_is_trained_and_it_is_said_once(tmp_path):
    section = PrivacySection(epsilon=1.0, noise=2.0)
    node = Node(tmp_path, section)
    for _ in range(3):
        with pytest.raises(BudgetSpentError, match="does not train") as stopped:
            await node.train(MANY)
        assert stopped.value.fault is Training.BUDGET
    trained = len(node.worker.asked)
    assert (len(node.told), node.budget.stopped, node.budget.warnings()) == (1, True, node.told)
    job = ScoreJob(Round(0), b"model", (), 1, 8, 4)
    await node.compute.score(job)
    await node.compute.evaluate(EvaluateJob(b"model"))
    await node.compute.close()
    assert node.worker.asked[trained:] == [job, EvaluateJob(b"model"), "close"], "it judges and measures as before"
    again = Node(tmp_path, section, has_signed=True)
    with pytest.raises(BudgetSpentError):
        await again.train()
    assert again.worker.asked == []


async def test_a_larger_budget_lets_it_go_on(tmp_path):
    with pytest.raises(BudgetSpentError):
        await Node(tmp_path, PrivacySection(epsilon=1.0, noise=2.0)).train(MANY)
    more = Node(tmp_path, SECTION, has_signed=True)
    await more.train()
    assert not more.budget.stopped


async def test_without_a_noise_of_its_own_the_budget_lasts_for_the_rounds_that_were_planned(tmp_path):
    node = Node(tmp_path, PrivacySection(epsilon=4.0, rounds=7))
    with pytest.raises(BudgetSpentError):
        await node.train(100)
    assert node.budget.account.updates == 7
    assert node.budget.rounds_left() == 0


async def test_rounds_left_are_those_that_can_be_trained(tmp_path):
    node = Node(tmp_path)
    assert node.budget.rounds_left() is None
    await node.train()
    left = node.budget.rounds_left()
    with pytest.raises(BudgetSpentError):
        await node.train(MANY)
    assert node.budget.account.updates == 1 + left


async def test_a_budget_that_no_noise_keeps_is_told_and_not_trained_on(tmp_path):
    node = Node(tmp_path, PrivacySection(epsilon=0.001, rounds=2**20, delta_exponent=15))
    with pytest.raises(BudgetSpentError, match=r"no noise is so large .* raise privacy\.epsilon"):
        await node.train()
    assert (node.worker.asked, node.told) == ([], node.budget.warnings())


async def test_a_worker_that_does_not_start_is_a_failure_of_the_round(tmp_path):
    fault = OperatorError("this task can't be trained on with privacy: bn", hint="use GroupNorm", code="bad_privacy")
    node = Node(tmp_path, worker=Worker(starts=fault))
    with pytest.raises(WorkerError, match="use GroupNorm"):
        await node.train()


async def test_more_rows_a_lot_make_fewer_steps(tmp_path):
    node = Node(tmp_path, PrivacySection(epsilon=3.0, noise=2.0, lot=1000))
    await node.train()
    assert (node.budget.mechanism.lots, node.budget.mechanism.steps) == (1, 1)


async def test_its_operator_sees_the_budget(tmp_path):
    assert privacy_view(None).training is None
    node = Node(tmp_path)
    before = privacy_view(node.budget).training
    assert (before.spent, before.noise, before.updates_left, before.stopped) == (0.0, None, None, False)
    await node.train()
    seen = privacy_view(node.budget).training
    assert (seen.epsilon, seen.spent, seen.updates) == (3.0, node.budget.spent() / 1000, 1)
    assert (seen.noise, seen.clip, seen.sampling, seen.steps) == (2.0, 1.0, 0.25, 4)
    assert seen.updates_left == node.budget.rounds_left()


def test_a_node_that_kept_a_budget_does_not_train_without_one_unasked(tmp_path):
    """Given an account, when its operator sets no epsilon any more, then the node does not start until the file is gone; and one that
    trains nothing has nothing to say."""
    without = Config(node=NodeSection(datadir=tmp_path))
    marks = SimpleNamespace(highest=lambda: None)
    task = make_genesis(10, 4, 6)[0].task
    assert open_budget(without, task, marks) is None
    (tmp_path / "privacy.json").write_text("{}")
    with pytest.raises(OperatorError, match=r"privacy.epsilon is 0") as caught:
        open_budget(without, task, marks)
    assert caught.value.code == "privacy_off"
    assert open_budget(Config(node=NodeSection(datadir=tmp_path), compute=ComputeSection(train=False)), task, marks) is None
