"""A whole community in one process: training, scoring, exact aggregation on scikit-learn's digits."""

import pytest
import torch

from bflcd.learn.aggregate import WeightedUpdate, aggregate
from bflcd.learn.data import DataConfig
from bflcd.learn.flat import FlatModel
from bflcd.learn.partition import split_validation
from bflcd.learn.protocol import ScoreJob, TrainJob, UpdateToScore
from bflcd.learn.scoring import Scorer, evaluate
from bflcd.learn.task import Rows, find_task
from bflcd.learn.training import DeviceRows, initial_model, never, train
from bflcd.types import Digest, Round
from tests.helpers.learning import task_spec

NODES, TRAINERS, ROUNDS = 10, 6, 20
CPU = torch.device("cpu")


@pytest.mark.parametrize("partition", ["equal", "dirichlet"])
def test_twenty_rounds_of_six_trainers_learn_the_digits(partition):
    """Given ten nodes, When six of them train in each of 20 rounds and the others score, Then 93 % of the test rows are right."""
    task = find_task("digits", {})
    tensors, model = initial_model(task, 0)
    spec, flat = task_spec("digits", tensors), FlatModel(task.build_model(), tensors, CPU)
    training, validation = [], []
    for index in range(NODES):
        data = task.load(DataConfig(partition=partition, index=index, count=NODES, seed=4))
        own, held = split_validation(len(data.own), 200_000, index)
        training.append(DeviceRows.of(Rows(data.own.inputs[own], data.own.targets[own]), CPU))
        validation.append(DeviceRows.of(Rows(data.own.inputs[held], data.own.targets[held]), CPU))
    gains = []
    for round_ in range(ROUNDS):
        nodes = [(round_ * TRAINERS + place) % NODES for place in range(NODES)]
        results = [
            train(flat, task, spec, training[node], TrainJob(Round(round_), model, round_ * NODES + node, "u"))
            for node in nodes[:TRAINERS]
        ]
        candidates = tuple(UpdateToScore(Digest(bytes([i]) * 32), result.update, "u") for i, result in enumerate(results))
        scored = Scorer(flat, task, validation[nodes[-1]]).score(ScoreJob(Round(round_), model, candidates, 1, 256, 4), never)
        gains.append(sum(score.gain for score in scored.scores))
        model = aggregate(
            "fedavg", model, [WeightedUpdate(result.samples, "u", result.update) for result in results], tensors, None
        )
    assert gains[0] > 0
    assert evaluate(flat, task, DeviceRows.of(data.test, CPU), model, never).accuracy >= 930_000
