"""What is said of a node's own work that fails, and when it is tried again."""

import errno

import pytest

from bflcd.errors import OperatorError, UsageError
from bflcd.faults import refused
from bflcd.learn.checks.answers import bad_task
from bflcd.learn.data import bad_data, missing_data
from bflcd.learn.flat import bad_model
from bflcd.learn.health import LONGEST_PAUSE, MAX_REASON_CHARS, Work, WorkHealth, fault_of, pause_after
from bflcd.learn.protocol import WorkerError
from bflcd.learn.task import bad_option
from bflcd.wire.training import Training


@pytest.mark.parametrize(
    ("failures", "pause"), [(0, 0), (1, 0), (2, 2), (3, 4), (6, 32), (7, LONGEST_PAUSE), (10**6, LONGEST_PAUSE)]
)
def test_pauses_grow_to_a_limit(failures, pause):
    assert pause_after(failures) == pause


def test_a_failure_is_said_until_the_work_succeeds():
    """Given training that fails, when judging succeeds, then only the training's success takes the warning back."""
    health = WorkHealth(lambda: 0.0)
    assert (health.warnings(), health.failures, health.fails(Work.TRAIN)) == ([], 0, False)
    health.failed(Work.TRAIN, "a first reason")
    health.failed(Work.TRAIN, "row 17 is not finite")
    health.succeeded(Work.SCORE)
    assert health.warnings() == [
        "this node does not train: training failed 2 times in a row; it is tried again; last: row 17 is not finite"
    ]
    assert (health.failures, health.fails(Work.TRAIN), health.fails(Work.SCORE)) == (2, True, False)
    health.succeeded(Work.TRAIN)
    assert (health.warnings(), health.failures, health.fails(Work.TRAIN)) == ([], 0, False)


def test_a_worker_that_does_not_start_fails_at_everything():
    health = WorkHealth(lambda: 0.0)
    health.failed(Work.START, "no torch")
    assert all(health.fails(work) for work in Work)
    assert health.warnings() == [
        "this node neither trains nor judges: starting the compute worker failed once; it is tried again; last: no torch"
    ]
    health.succeeded(Work.START)
    assert not any(health.fails(work) for work in Work)


def test_each_kind_of_work_has_its_own_pause():
    now = [10.0]
    health = WorkHealth(lambda: now[0])
    health.failed(Work.TRAIN, "once")
    assert health.refusal(Work.TRAIN) == ""
    health.failed(Work.TRAIN, "twice")
    assert health.refusal(Work.TRAIN) == "training failed 2 times in a row and is tried again in 2 s; last: twice"
    assert health.refusal(Work.SCORE) == ""
    now[0] = 12.0
    assert health.refusal(Work.TRAIN) == ""


def test_a_long_reason_is_cut():
    health = WorkHealth(lambda: 0.0)
    health.failed(Work.SCORE, "x" * 10_000)
    assert health.warnings()[0].count("x") == MAX_REASON_CHARS


def test_peers_are_told_where_the_fault_of_training_lies_and_of_no_other_work():
    """Given work that fails and succeeds, then there is a word for peers of training alone, and it is told when it changes."""
    told = []
    health = WorkHealth(lambda: 0.0)
    health.watch(lambda: told.append(health.training))
    health.failed(Work.SCORE, "no")
    health.failed(Work.MEASURE, "no")
    health.failed(Work.TRAIN, "row 17", Training.DATA)
    health.failed(Work.TRAIN, "row 18", Training.DATA)
    health.failed(Work.START, "no torch")
    health.succeeded(Work.START)
    health.succeeded(Work.TRAIN)
    assert told == [Training.DATA, Training.WORKER, Training.DATA, Training.TRAINS]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (bad_data("row 17 is nan", "mend it"), Training.DATA),
        (missing_data("no such file", "name another"), Training.DATA),
        (refused("data.npz", PermissionError(errno.EACCES, "no")), Training.DATA),
        (bad_task("load", 1, "rows"), Training.TASK),
        (bad_model("it has no parameters", ""), Training.TASK),
        (bad_option("option classes = 'x'", ""), Training.TASK),
        (OperatorError("no usable GPU", code="bad_device"), Training.DEVICE),
        (refused("data.npz", OSError(errno.EIO, "no")), Training.STORAGE),
        (refused("a worker", OSError(errno.EAGAIN, "no")), Training.MEMORY),
        (refused("a worker", OSError(errno.ENOMEM, "no")), Training.MEMORY),
        (UsageError("something else"), Training.WORKER),
        (WorkerError("it died"), Training.WORKER),
        (WorkerError("memory ran out", Training.MEMORY), Training.MEMORY),
        (ZeroDivisionError("the task's own"), Training.TASK),
    ],
)
def test_an_error_tells_where_its_fault_lies(error, fault):
    assert fault_of(error) is fault
