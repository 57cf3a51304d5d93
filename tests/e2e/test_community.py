"""A community of daemons of which two lie: it trains to its last round all the same, ends when told to, and the laboratory decides
the same."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bflcd.inspect.reader import open_reader
from bflcd.lab.replay import Replay, replay
from bflcd.ledger.disclosure import ACCURACY_STEP, GAIN_LEVELS, LOSS_STEP, REFUSED
from bflcd.types import Round
from bflcd.wire.codec import decode
from bflcd.wire.messages import ScoreCard
from tests.helpers.daemons import ROOT, Community, Daemon, community, environment, wait_for

ROUNDS = 8
NODES = 10
ATTACKERS = 2

MARGIN = 20_000
"""Micro-nats: a tenth of the default."""

pytestmark = pytest.mark.timeout(400)


@dataclass
class Finished:
    """A community after its last round: what its daemons said then, and how they ended."""

    net: Community
    statuses: list[dict[str, Any]]
    history: dict[int, dict[str, Any]]
    hashes: dict[int, str]
    members: dict[str, dict[str, Any]]
    exit_codes: list[int]

    @property
    def honest(self) -> list[Daemon]:
        return self.net.nodes[:-ATTACKERS]

    @property
    def liars(self) -> list[Daemon]:
        return self.net.nodes[-ATTACKERS:]

    def warnings(self, nodes: list[Daemon]) -> list[list[str]]:
        """What each of `nodes` warned its operator of at the end."""
        return [self.statuses[self.net.nodes.index(node)]["warnings"] for node in nodes]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """Ten members, six of them trainers with like data (skewed labels may rightly be found wanting in round 0), the last two of which
    drown what they trained in noise; a margin that lets no harm pass (a late model shrugs at much noise), and a clip so tight that
    steps are held to their limit. All were started, left alone for eight rounds, and ended with SIGTERM.
    """
    attack = ("--attack", "noise", "--attackers", str(ATTACKERS), "--param", f"score_margin={MARGIN}")
    options = ("--rounds", str(ROUNDS), "--partition", "equal", "--param", "norm_clip=200000")
    with community(tmp_path_factory.mktemp("finished") / "net", NODES, *options, *attack, task="digits") as net:
        net.start()
        net.wait_for(lambda: all(node.status()["done"] for node in net), 300, "the last round on all")
        statuses, history, hashes = [node.status() for node in net], net[0].history(), net.hashes()
        members = {row["node_id"]: row for row in net[0].get("/v1/members")}
        yield Finished(net, statuses, history, hashes, members, net.stop(*net))


def test_trains_to_its_last_round_and_stops(finished: Finished):
    """Given a community with eight rounds, When all are started and left alone, Then all reach the last round with one head and one
    state, no round was empty, the model got better, and SIGTERM ends every one of them with 0 and leaves no process behind.
    """
    net = finished.net
    assert {status["round"] for status in finished.statuses} == {ROUNDS}
    for key in ("head_hash", "state_hash", "model_hash", "chain_id", "height"):
        assert len({status[key] for status in finished.statuses}) == 1, key
    assert finished.warnings(finished.honest) == [[]] * len(finished.honest)

    rows = finished.history
    assert sorted(rows) == list(range(1, ROUNDS + 1))
    assert all(row["packed"] >= 1 for row in rows.values())
    accuracies = [rows[round_]["accuracy"] for round_ in sorted(rows)]
    assert accuracies[-1] > accuracies[0] + 0.3
    assert {status["accuracy"] for status in finished.statuses} == {accuracies[-1]}
    assert finished.hashes == {round_: row["hash"] for round_, row in rows.items()}

    assert finished.exit_codes == [0] * NODES
    wait_for(lambda: not any(node.leftovers() for node in net), 5, "no process left after SIGTERM", report=net.report)
    assert all(not (node.datadir / "api.json").exists() for node in net)
    assert net.faults() == []


def test_two_liars_are_never_packed_and_the_others_learn(finished: Finished):
    """Given ten members with like data, the last two of which drown what they trained in noise, and a margin that lets no harm pass,
    When all have run to the last round, Then no update of a liar was ever packed and none was rewarded, every honest member had one
    packed, and each liar's warnings are of its own attack alone.
    """
    for liar in finished.liars:
        assert "trained on" in liar.text(), "it offered nothing, so there was nothing to refuse"
        assert "the attack begins in round 0" in liar.text()
        member = finished.members[liar.node_id]
        assert (member["packed_round"], member["balance"]) == (-1, 1000)
    told = finished.warnings(finished.liars)
    assert [["plays the attack 'noise'" in text for text in warnings] for warnings in told] == [[True]] * ATTACKERS
    assert all(finished.members[node.node_id]["packed_round"] >= 0 for node in finished.honest)


async def cards_of(datadir: Path) -> list[ScoreCard]:
    """All cards on a chain."""
    async with open_reader(datadir) as store:
        segments = [await store.segment(Round(round_)) for round_ in range(1, ROUNDS + 1)]
        return [decode(card.payload, ScoreCard) for held in segments if held is not None for card in held.segment.model.cards]


def test_cards_say_levels_and_nothing_of_what_decides_nothing(finished: Finished):
    """Given a chain that daemons made, When its cards are read, Then gains are levels or the word for harm, accuracies are not said, and
    what is said of the model is coarse.
    """
    cards = asyncio.run(cards_of(finished.net[0].datadir))
    assert len(cards) == 3 * ROUNDS
    assert {entry.gain for card in cards for entry in card.entries} <= {REFUSED, *GAIN_LEVELS}
    assert {entry.accuracy for card in cards for entry in card.entries} == {0}
    assert {(card.base_loss or 0) % LOSS_STEP for card in cards} == {0}
    assert {(card.base_accuracy or 0) % ACCURACY_STEP for card in cards} == {0}


def test_the_laboratory_agrees_with_ten_daemons(finished: Finished):
    """Given ten daemons that have run and stopped, When the laboratory decides each round again from their cards and makes each model
    again from their payloads, Then who is packed, weights, scores, rewards, committees and the models' hashes are those on the chain;
    and `bflc-cli lab replay` says the same of the testnet.
    """
    net = finished.net
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
