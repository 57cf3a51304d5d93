"""The laboratory decides what daemons decided: rounds of a real community, computed once more from its cards and payloads."""

import asyncio
import json
import subprocess
import sys

import pytest

from bflcd.lab.replay import Replay, replay
from tests.helpers.daemons import ROOT, Community, community, environment

NODES = 10
ROUNDS = 6

pytestmark = pytest.mark.timeout(400)


def finished(net: Community) -> None:
    """To the last round on every node, and an orderly end."""
    net.start()
    net.wait_for(lambda: all(node.status()["done"] for node in net), 300, "the last round on all")
    assert sum(row["packed"] for row in net[0].history().values()) >= ROUNDS, "there is something to agree about"
    assert net.stop(*net) == [0] * NODES
    assert net.faults() == []


def test_the_laboratory_agrees_with_ten_daemons(tmp_path):
    """Given ten daemons, six of them trainers, who run six rounds and stop, When the laboratory decides each round again from their
    cards and makes each model again from their payloads, Then who is packed, weights, scores, rewards, committees and the models'
    hashes are those on the chain; and `bflc-cli lab replay` says the same of the testnet. Their clip is so tight that steps are held to
    their limit.
    """
    with community(tmp_path / "net", NODES, "--rounds", str(ROUNDS), "--param", "norm_clip=200000", task="digits") as net:
        finished(net)
        assert asyncio.run(replay([node.datadir for node in net])) == Replay(ROUNDS, ROUNDS, ())
        done = subprocess.run(
            [sys.executable, "-m", "bflc_cli.main", "--json", "lab", "replay", str(net.path)],
            cwd=ROOT,
            env=environment(PYTHONPATH=f"{ROOT}:{ROOT / 'cli'}"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["data"] == {"rounds": ROUNDS, "models": ROUNDS, "differences": []}
