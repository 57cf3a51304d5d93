"""Daemons that ask: what they offer is what the laboratory says that they asked, and the cards tell them of the judges' classes."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from bflcd.lab.disclosures import HERE
from bflcd.lab.experiments.questions import distance
from bflcd.lab.questions.listening import listen
from bflcd.types import NodeId
from tests.helpers.daemons import community

NODES = 9
ASKERS = 3
ROUNDS = 30


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_askers_learn_more_than_the_public_distribution(tmp_path: Path):
    """Given nine daemons, the last three of which ask in every round, When all are left alone for thirty rounds, Then from one asker's chain
    and the askers' rows most of what they offered is made again to the byte, and the class shares of the six others are guessed better
    than by the distribution of all labels.
    """
    options = ("--rounds", str(ROUNDS), "--partition", "dirichlet", "--attack", "asker", "--attackers", str(ASKERS))
    with community(tmp_path / "net", NODES, *options, task="digits") as net:
        net.start()
        net.wait_for(lambda: all(node.status()["done"] for node in net), 400, "the last round on all")
        assert net.stop(*net) == [0] * NODES
        found = asyncio.run(listen({NodeId(bytes.fromhex(node.node_id)): node.datadir for node in net}))
    assert found.rounds == ROUNDS
    assert found.questions > 4 * found.others
    assert found.learned
    guessed, public = (
        np.mean([distance(guess(one), one.true) for one in found.learned])
        for guess in (lambda one: one.guessed[HERE], lambda one: one.public)
    )
    assert guessed < public - 0.05
