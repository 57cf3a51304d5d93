"""A community of the digits whose devices published one update each, for the tests of attacks on updates."""

import numpy as np
import torch

from bflcd.lab.engine.base import Pace
from bflcd.lab.updates.scene import Published, Scene, joined_engine
from bflcd.learn.data import DataConfig
from bflcd.learn.private.mechanism import Mechanism
from bflcd.learn.task import find_task
from bflcd.learn.training import DeviceRows, initial_model
from bflcd.wire.tensors import split_payload

CPU = torch.device("cpu")
ONE_STEP = Pace(0.1, 0.0, 4096, 1)


def published_scene(
    pace: Pace,
    *,
    devices: int = 2,
    rows: int = 24,
    mechanism: Mechanism | None = None,
    rounds: tuple[int, ...] = (0,),
    seed: int = 1,
) -> Scene:
    """Each device has so many rows and trains from the first model in every one of `rounds`."""
    task = find_task("digits", {"test_percent": "50"})
    community = task.load_all(DataConfig(partition="equal", count=30, seed=seed, limit=rows))
    assert community.test is not None
    engine = joined_engine(task, (DeviceRows.of(community.rows, CPU), DeviceRows.of(community.test, CPU)), 1)
    tensors, payload = initial_model(task, seed)
    model = torch.from_numpy(split_payload(payload, tensors, label=None)[1].copy())
    updates = []
    for round_ in rounds:
        for device in range(devices):
            blank = Published(device, round_, model, torch.zeros_like(model), pace, mechanism)
            (update,) = engine.train(model, [blank.trainee(community.parts[device], 100 * round_ + device)], pace)
            updates.append(Published(device, round_, model, update, pace, mechanism))
    public = np.arange(len(community.rows), len(community.rows) + len(community.test))
    last = model + torch.stack([one.update for one in updates]).mean(0)
    return Scene(task, engine, community.parts, public, tuple(updates), model, last, (pace,) * len(rounds), seed)
