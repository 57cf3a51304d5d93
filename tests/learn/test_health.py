"""What is said of a node's own work that fails, and when it is tried again."""

import pytest

from bflcd.learn.health import LONGEST_PAUSE, MAX_REASON_CHARS, Work, WorkHealth, pause_after


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
