"""Daemons that would attack a chain that is no testnet: none does. (Two that lie on one: test_community.py.)"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from bflcd.setup.datadir import DataDir
from bflcd.setup.genesis_file import read_genesis, write_genesis
from bflcd.store.marks import read
from tests.e2e.conftest import START_SECONDS
from tests.e2e.test_joining import strip
from tests.helpers.daemons import Community, Daemon, community

pytestmark = pytest.mark.timeout(300)


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
    assert read(DataDir(node.datadir).marks)[1] is None
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
