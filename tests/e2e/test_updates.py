"""Updates that daemons published, read from their disks: they are those of the rows that are said to be theirs."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch

from bflcd.lab.engine.base import Positions
from bflcd.lab.updates.chains import read_testnet
from bflcd.lab.updates.scene import Published, Scene
from bflcd.types import NodeId
from tests.helpers.daemons import community

NODES = 6
ROUNDS = 3
ORDERS = 8


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
        alike, unlike = (
            float(torch.cosine_similarity(_usual(scene, one, rows)[None], one.update[None]))
            for rows in (scene.parts[one.device], others)
        )
        assert alike > 0.85, "but for the order of the rows, which nobody else knows"
        assert unlike < alike - 0.05
    assert not torch.equal(scene.first, scene.last)


def _usual(scene: Scene, one: Published, rows: Positions) -> torch.Tensor:
    """What training the rows comes to in the mean of so many orders: of one order alone the cosine to another's goes down to 0.8."""
    return scene.engine.train(one.model, [one.trainee(rows, seed) for seed in range(ORDERS)], one.pace).mean(0)
