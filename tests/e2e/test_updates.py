"""Updates that daemons published, read from their disks: they are those of the rows that are said to be theirs."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch

from bflcd.lab.updates.chains import read_testnet
from bflcd.types import NodeId
from tests.helpers.daemons import community

NODES = 6
ROUNDS = 3


@pytest.mark.timeout(300)
def test_updates_on_a_chain_are_of_the_rows_and_the_training_that_the_attacks_take_them_for(tmp_path: Path):
    """Given six daemons that have ended, When their updates are read for the attacks, Then training the rows that each is said to hold, from
    the model and by the hyperparameters that it is said to have had, comes to almost the same update, and other rows don't.
    """
    with community(tmp_path / "net", NODES, "--rounds", str(ROUNDS), "--partition", "dirichlet", task="digits") as net:
        net.start()
        net.wait_for(lambda: all(node.status()["done"] for node in net), 200, "the last round on all")
        assert net.stop(*net) == [0] * NODES
        nodes = {NodeId(bytes.fromhex(node.node_id)): node.datadir for node in net}
        scenes = asyncio.run(read_testnet(nodes, ROUNDS, threads=1, seed=0))
    assert list(scenes) == ["plain"]
    scene = scenes["plain"]
    assert len(scene.paces) == ROUNDS
    assert scene.updates
    assert 0 not in scene.devices, "the first node is the attacker"
    held = np.concatenate([scene.parts[device] for device in scene.devices])
    assert not np.isin(scene.public, held).any()
    for one in scene.updates:
        others = scene.parts[(one.device + 1) % NODES]
        trainees = [one.trainee(rows, seed) for seed, rows in enumerate((scene.parts[one.device], others))]
        alike, unlike = torch.cosine_similarity(scene.engine.train(one.model, trainees, one.pace), one.update[None]).tolist()
        assert alike > 0.85, "but for the order of the rows, which nobody else knows"
        assert unlike < alike - 0.05
    assert not torch.equal(scene.first, scene.last)
