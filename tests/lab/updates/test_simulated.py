"""Updates of a simulated community: those that are kept are those that were offered."""

import msgspec
import pytest
import torch

from bflcd.errors import UsageError
from bflcd.lab.engine.loop import LoopEngine
from bflcd.lab.experiments.updates import BASE, PRIVATE, trainings
from bflcd.lab.simulation import Machine, Simulation
from bflcd.lab.updates.attacks import searched_rounds
from bflcd.lab.updates.simulated import watch, watched_rounds

SMALL = msgspec.structs.replace(BASE, devices=7, rounds=4, seed=3)


@pytest.mark.parametrize("changes", [{}, {**PRIVATE, "dp_epsilon": 3.0}])
def test_what_is_kept_is_what_the_community_trained(monkeypatch, changes):
    """Given a simulation that is watched, with privacy or without, then each update that is kept was trained by it, and the last model is
    that of a simulation that nobody watched.
    """
    config, genuine, trained = msgspec.structs.replace(SMALL, **changes), LoopEngine.train, []

    def train(self, model, trainees, pace):
        found = genuine(self, model, trainees, pace)
        trained.append((self, found, pace))
        return found

    monkeypatch.setattr(LoopEngine, "train", train)
    told = []
    scene = watch(config, Machine("cpu", threads=1), 2, lambda: told.append(1))
    assert len(told) == len(scene.paces) == 4
    assert scene.rounds == (0, 3)
    simulated = [found for engine, found, _ in trained if engine is not scene.engine]
    assert scene.paces == tuple(pace for engine, _, pace in trained if engine is not scene.engine)
    for round_ in scene.rounds:
        kept = torch.stack([one.update for one in scene.updates if one.round == round_])
        assert torch.equal(kept, simulated[round_])
    assert {one.mechanism is None for one in scene.updates} == {not changes}
    alone = Simulation(config, Machine("cpu", threads=1))
    while not alone.done:
        alone.advance()
    assert torch.equal(alone.model, scene.last)


def test_the_attackers_rows_are_nobodys():
    scene = watch(SMALL, Machine("cpu", threads=1), 1, lambda: None)
    held = {int(row) for part in scene.parts for row in part}
    assert not held & set(scene.public.tolist())
    assert len(scene.public) == 898
    assert scene.devices == tuple(one.device for one in scene.updates)


def test_rounds_are_spread_and_hold_the_first_and_the_last():
    assert watched_rounds(30, 6) == (0, 6, 12, 17, 23, 29)
    assert watched_rounds(3, 6) == (0, 1, 2)
    assert watched_rounds(5, 1) == (0,)
    assert searched_rounds((0, 4, 9)) == (0, 9)
    assert searched_rounds((0,)) == (0,)


def test_each_budget_is_a_training_of_its_own():
    found = trainings(BASE, (8.0, 1.5, 8.0))
    assert list(found) == ["plain", "epsilon 8", "epsilon 1.5"]
    assert found["plain"] == BASE
    assert found["epsilon 1.5"].dp_epsilon == 1.5
    with pytest.raises(UsageError, match="--epsilon 0 is no budget"):
        trainings(BASE, (1.0, 0.0))
