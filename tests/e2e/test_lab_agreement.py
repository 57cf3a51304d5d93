"""The laboratory decides what daemons decided: rounds of a real community, computed once more from its cards and payloads."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bflcd.inspect.reader import open_reader
from bflcd.lab.replay import Replay, replay
from bflcd.ledger.disclosure import ACCURACY_STEP, GAIN_LEVELS, LOSS_STEP, REFUSED
from bflcd.types import Round
from bflcd.wire.codec import decode
from bflcd.wire.messages import ScoreCard
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


async def cards_of(datadir: Path) -> list[ScoreCard]:
    """All cards on a chain."""
    async with open_reader(datadir) as store:
        segments = [await store.segment(Round(round_)) for round_ in range(1, ROUNDS + 1)]
        return [decode(card.payload, ScoreCard) for held in segments if held is not None for card in held.segment.model.cards]


def test_the_laboratory_agrees_with_ten_daemons(tmp_path):
    """Given ten daemons, six of them trainers, who run six rounds and stop, When the laboratory decides each round again from their
    cards and makes each model again from their payloads, Then who is packed, weights, scores, rewards, committees and the models'
    hashes are those on the chain; and `bflc-cli lab replay` says the same of the testnet. Their clip is so tight that steps are held to
    their limit. Their cards say levels, and nothing of an accuracy that decides nothing.
    """
    with community(tmp_path / "net", NODES, "--rounds", str(ROUNDS), "--param", "norm_clip=200000", task="digits") as net:
        finished(net)
        assert asyncio.run(replay([node.datadir for node in net])) == Replay(ROUNDS, ROUNDS, ())
        cards = asyncio.run(cards_of(net[0].datadir))
        assert len(cards) == 3 * ROUNDS
        assert {entry.gain for card in cards for entry in card.entries} <= {REFUSED, *GAIN_LEVELS}
        assert {entry.accuracy for card in cards for entry in card.entries} == {0}
        assert {(card.base_loss or 0) % LOSS_STEP for card in cards} == {0}
        assert {(card.base_accuracy or 0) % ACCURACY_STEP for card in cards} == {0}
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
