"""Budgets as they are dealt out: of daemons by their configuration, of the laboratory's devices, and whoever attacks either."""

import pytest

from bflcd.config import PrivacySection
from bflcd.learn.private.accountant import epsilon_of, thousandths
from bflcd.learn.private.mechanism import Mechanism, Spent
from bflcd.learn.private.planning import Plan
from tests.helpers.learning import task_spec

TASK = task_spec("digits", ())

PLAN = Plan(epsilon=8_000, exponent=5, rounds=10, epochs=2, lot=32, clip=0.5)


def test_who_has_no_budget_has_no_plan():
    assert PrivacySection().plan(TASK) is None


def test_a_configuration_says_what_the_plan_is():
    section = PrivacySection(epsilon=3.0, delta_exponent=6, noise=2.5, rounds=7, clip=0.25)
    expected = Plan(3_000, 6, rounds=7, epochs=TASK.local_epochs, lot=TASK.batch_size, clip=0.25, noise=2_500)
    assert section.plan(TASK) == expected
    assert PrivacySection(epsilon=3.0, lot=4096).plan(TASK).lot == 4096


@pytest.mark.parametrize(("rows", "lots"), [(1, 1), (32, 1), (33, 2), (320, 10)])
def test_all_updates_together_spend_the_budget_and_no_more(rows, lots):
    """Given rows of so many lots / Then an update is that many steps an epoch, with the least noise that ten of them bear."""
    found = PLAN.mechanism(rows)
    assert (found.lots, found.steps, found.clip) == (lots, 2 * lots, 0.5)
    assert PLAN.steps(rows) == found.steps
    assert thousandths(epsilon_of([Spent(found.noise, lots, 10 * found.steps)], 5)) <= 8_000
    assert thousandths(epsilon_of([Spent(found.noise - 1, lots, 10 * found.steps)], 5)) > 8_000


def test_noise_that_is_given_is_taken():
    assert Plan(8_000, 5, rounds=10, epochs=1, lot=8, clip=1.0, noise=700).mechanism(64) == Mechanism(700, 1.0, 8, 8)


def test_where_no_noise_is_enough_there_is_no_mechanism():
    assert Plan(1, 15, rounds=2**20, epochs=2**10, lot=1, clip=1.0).mechanism(2**10) is None
