"""Daemons that attack: a community of which two lie learns all the same, and nobody attacks a chain that is no testnet."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bflcd.node.app import MARK_FILE
from bflcd.setup.genesis_file import read_genesis, write_genesis
from bflcd.store.marks import read
from tests.e2e.conftest import START_SECONDS
from tests.e2e.test_joining import strip
from tests.helpers.daemons import Community, Daemon, community

ROUNDS = 8
NODES = 8
ATTACKERS = 2

MARGIN = 20_000
"""Micro-nats: a tenth of the default."""

pytestmark = pytest.mark.timeout(300)


def test_two_liars_of_eight_are_never_packed_and_the_others_learn(tmp_path: Path):
    """Given eight members with like data, the last two of which drown what they trained in noise, and a margin that lets no harm
    pass (two honest trainers beside two liars are too few for a usual norm, and a late model shrugs at much noise),
    When all run to the last round,
    Then all agree, no update of a liar was ever packed and none was rewarded, every honest member had one packed, the model got
    better, and only the liars are warned, each of itself.
    """
    attack = ("--attack", "noise", "--attackers", str(ATTACKERS), "--param", f"score_margin={MARGIN}")
    with community(tmp_path / "net", NODES, "--rounds", str(ROUNDS), "--partition", "equal", *attack, task="digits") as net:
        honest, liars = net.nodes[:-ATTACKERS], net.nodes[-ATTACKERS:]
        net.start()
        net.wait_for(lambda: all(node.status()["done"] for node in net), 200, "the last round on all")

        statuses = {node.name: node.status() for node in net}
        assert len({(status["round"], status["head_hash"], status["state_hash"]) for status in statuses.values()}) == 1
        members = {row["node_id"]: row for row in net[0].get("/v1/members")}
        for liar in liars:
            assert "trained on" in liar.text(), "it offered nothing, so there was nothing to refuse"
            assert "the attack begins in round 0" in liar.text()
            assert (members[liar.node_id]["packed_round"], members[liar.node_id]["balance"]) == (-1, 1000)
            assert ["plays the attack 'noise'" in warning for warning in statuses[liar.name]["warnings"]] == [True]
        for node in honest:
            assert members[node.node_id]["packed_round"] >= 0
            assert statuses[node.name]["warnings"] == []
        rows = net[0].history()
        assert all(row["packed"] >= 1 for row in rows.values())
        assert rows[ROUNDS]["accuracy"] > rows[1]["accuracy"] + 0.3

        assert net.stop(*net) == [0] * NODES
        assert net.faults() == []


@pytest.fixture(scope="module")
def serious(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Community]:
    """A community of five whose genesis does not say that it is a testnet's; nobody runs yet."""
    with community(tmp_path_factory.mktemp("serious") / "net", 5, "--partition", "equal", task="digits") as made:
        genesis = replace(read_genesis(made.path / "genesis.json"), testnet=False)
        for node in made:
            write_genesis(node.datadir / "genesis.json", genesis)
        yield made


def refused(node: Daemon) -> None:
    """It ended with the one clear message, before it held a chain, worked or signed."""
    assert node.wait(60) == 1
    assert "attack.name = 'noise', but chain" in node.text()
    assert "is no testnet" in node.text()
    assert "docs/attacks.md" in node.text()
    assert "Traceback" not in node.text()
    assert "compute worker" not in node.text()
    assert read(node.datadir / MARK_FILE)[1] is None
    with closing(sqlite3.connect(node.datadir / "chain.sqlite3")) as store:
        assert store.execute("SELECT count(*) FROM chain").fetchone() == (0,)
        assert store.execute("SELECT count(*) FROM records").fetchone() == (0,)


def test_a_member_of_a_chain_that_is_no_testnet_may_not_attack_it(serious: Community):
    """Given a member with its genesis, which is no testnet's, When it starts with --attack, Then it ends and has done nothing."""
    node = serious[1]
    node.start("--attack", "noise")
    refused(node)


def test_a_genesis_from_a_peer_that_is_no_testnets_is_not_attacked(serious: Community):
    """Given a member that has only its key, When it starts with --attack and gets the genesis from a peer, Then it ends too."""
    peer, node = serious[0], serious[2]
    serious.start([peer])
    serious.wait_for(lambda: peer.status()["chain_id"], START_SECONDS, "a peer with a genesis")
    strip(node)
    node.start("--attack", "noise", "--bootstrap", peer.address, "--trust-first-peer", "--allow-task", serious.task)
    refused(node)
    assert "asking for the genesis" in node.text()
    assert serious.stop(peer) == [0]
