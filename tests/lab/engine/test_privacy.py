"""Budgets of simulated devices: the daemons' accountant, kept to by each, and no more than was dealt out."""

import pytest

from bflcd.errors import UsageError
from bflcd.lab.config import check_config
from bflcd.lab.engine.privacy import Budgets
from bflcd.lab.simulation import Machine, Simulation
from bflcd.learn.private.accountant import epsilon_of, thousandths
from bflcd.learn.private.mechanism import Spent
from tests.helpers.lab import tiny

MACHINE = Machine("cpu", threads=1)
PRIVATE = tiny(rounds=10, dp_epsilon=8.0, dp_clip=0.5)


def test_no_device_tells_more_than_its_budget_and_none_trains_on():
    budgets = Budgets(PRIVATE)
    told = []
    while budgets.able([3]):
        training = budgets.spend(3, 100, seed=len(told))
        told.append(Spent(training.mechanism.noise, training.mechanism.lots, training.mechanism.steps))
    assert len(told) == budgets.rounds <= PRIVATE.rounds
    assert 7_900 < thousandths(epsilon_of(told, PRIVATE.dp_exponent)) <= 8_000
    assert budgets.able([2, 3, 4]) == [2, 4]


def test_a_lot_of_its_own_and_the_clip_are_what_the_setting_says():
    made = Budgets(tiny(dp_epsilon=8.0, dp_clip=0.25, dp_lot=50)).spend(0, 100, seed=1).mechanism
    assert (made.clip, made.lots, made.steps) == (0.25, 2, 2 * tiny().local_epochs)


def test_without_a_budget_everybody_trains_as_it_is():
    budgets = Budgets(tiny())
    assert budgets.spend(0, 100, seed=1) is None
    assert budgets.able(range(3)) == [0, 1, 2]


def test_draws_of_one_seed_repeat_and_others_do_not():
    budgets = Budgets(PRIVATE)
    one, again, other = (budgets.spend(device, 100, seed) for device, seed in ((0, 5), (1, 5), (2, 6)))
    drawn = [training.descent().chance.gaussian(5).tolist() for training in (one, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_privacy_changes_what_is_learned_and_rounds_go_on_once_budgets_are_spent():
    config = tiny(rounds=6, every=6, dp_epsilon=8.0)
    simulation = Simulation(config, MACHINE)
    records = [simulation.advance() for _ in range(config.rounds)]
    assert all(count <= simulation._framework.budgets.rounds for count in simulation._framework.budgets.trained.values())
    assert sum(record["trainers"] for record in records) == simulation._framework.budgets.trained.total()
    assert not simulation.model.equal(Simulation(tiny(rounds=6, every=6), MACHINE).model)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UsageError, match="stand-alone training has no privacy"):
        check_config(tiny(framework="stand-alone", dp_epsilon=1.0))
    with pytest.raises(UsageError, match="no noise makes"):
        Budgets(tiny(rounds=100_000, dp_epsilon=0.001, dp_exponent=15)).spend(0, 10**6, 1)
