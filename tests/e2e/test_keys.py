"""A node that rotates its key while its community runs, and one that was away when its rotation was carried."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bflcd.crypto.keystore import read_facts
from bflcd.setup.datadir import DataDir
from tests.e2e.conftest import START_SECONDS
from tests.e2e.test_crashes import takes_part
from tests.helpers.daemons import Community, Daemon, bflcd, community

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Community]:
    with community(tmp_path / "net", 6, "--committee-size", "4", "--rounds", "0") as made:
        made.start()
        made.wait_round(2, START_SECONDS)
        yield made


def key_of(node: Daemon) -> str:
    return read_facts(DataDir(node.datadir).key).node_id.hex()


def account(node: Daemon, node_id: str) -> dict[str, Any] | None:
    return next((one for one in node.get("/v1/members") if one["node_id"] == node_id), None)


def peers_of(node: Daemon) -> set[str]:
    return {peer["node_id"] for peer in node.get("/v1/peers")}


def test_a_node_goes_on_under_its_new_key_and_all_meet_it(net: Community) -> None:
    """Given a community in its rounds, when a member rotates its key, then it works under the new one with what it had; the others are
    connected to it, also one that starts anew and has only its old address as a first peer; the old key is nobody's."""
    node, others = net[5], [net[0], net[1], net[2], net[3], net[4]]
    before = key_of(node)
    told = bflcd("key", "rotate", "--datadir", node.datadir, "--for", str(START_SECONDS), seconds=START_SECONDS + 30)
    assert told.returncode == 0, told.stderr
    after = key_of(node)
    assert after != before
    assert after in told.stdout
    net.wait_for(lambda: node.status()["node_id"] == after, START_SECONDS, "the node under its new key")
    rotated_at = net.wait_rounds(1, START_SECONDS)
    net.wait_for(lambda: takes_part(node, rotated_at), START_SECONDS, "the new key packed or seated")
    for other in others:
        net.wait_for(lambda other=other: after in peers_of(other), START_SECONDS, f"{other.name} connected to the new key")
        assert before not in peers_of(other)
    former = net[0].get("/v1/alliance")["former"]
    assert [(one["node_id"], one["standing"], one["successor"], one["balance"]) for one in former] == [
        (before, "replaced", after, 0)
    ]
    assert account(net[0], before) is None
    net.stop(net[1])
    net[1].start()
    net.wait_rounds(2, START_SECONDS)
    net.stop(node)
    node.start()
    net.wait_rounds(2, START_SECONDS)
    assert node.status()["node_id"] == after
    net.hashes()
    net.check()


def test_a_node_that_was_away_when_its_rotation_was_carried_goes_on_under_its_new_key(net: Community) -> None:
    """Given a member that signed its rotation and was killed, when it comes back rounds later, then members tell it, and it catches up
    under its new key."""
    node = net[5]
    before = key_of(node)
    answer = node.request("POST", "/v1/operations", json={"kind": "rotate"})
    assert answer.status_code == 200, answer.text
    net.wait_for(
        lambda: (
            [one for one in net[0].get("/v1/alliance")["waiting"] if one["kind"] == "rotate"]
            or net[0].get("/v1/alliance")["former"]
        ),
        START_SECONDS,
        "the others have it",
    )
    net.kill(node)
    net.wait_for(lambda: net[0].get("/v1/alliance")["former"], START_SECONDS, "the rotation in a block")
    net.wait_rounds(2, START_SECONDS, [net[0], net[1], net[2], net[3], net[4]])
    node.start()
    after = net[0].get("/v1/alliance")["former"][0]["successor"]
    net.wait_for(lambda: node.running and node.status()["node_id"] == after, 3 * START_SECONDS, "the node under its new key")
    rotated_at = net[0].round()
    net.wait_for(lambda: account(node, after) and takes_part(node, rotated_at), START_SECONDS, "the new key packed or seated")
    assert before != after
    net.stop(node)
    node.start()
    net.wait_for(lambda: key_of(node) == after, START_SECONDS, "the files have followed")
    net.wait_rounds(1, START_SECONDS)
    net.hashes()


def test_a_rotated_node_whose_chain_is_one_of_before_comes_back_under_its_new_key(net: Community, tmp_path: Path) -> None:
    """Given a member that has rotated and whose database is then one of before, as a copy or one that is fetched anew, when it starts,
    then its ledger names its first key, members deny that, and it goes on under the one that they know."""
    node, others = net[5], [net[0], net[1], net[2], net[3], net[4]]
    before = key_of(node)
    net.stop(node)
    copy = shutil.copy(DataDir(node.datadir).chain, tmp_path / "copy")
    node.start()
    net.wait_rounds(1, START_SECONDS)
    told = bflcd("key", "rotate", "--datadir", node.datadir, "--for", str(START_SECONDS), seconds=START_SECONDS + 30)
    assert told.returncode == 0, told.stderr
    after = key_of(node)
    net.wait_for(lambda: node.status()["node_id"] == after, START_SECONDS, "the node under its new key")
    net.kill(node)
    for path in node.datadir.glob("chain.sqlite3*"):
        path.unlink()
    shutil.copy(copy, DataDir(node.datadir).chain)
    net.wait_rounds(1, START_SECONDS, others)
    node.start()
    net.wait_for(lambda: node.running and key_of(node) == before, START_SECONDS, "the first key by that ledger")
    net.wait_for(lambda: node.running and node.status()["node_id"] == after, 3 * START_SECONDS, "the node under its new key")
    net.wait_for(lambda: key_of(node) == after, START_SECONDS, "the files have followed")
    rotated_at = net[0].round()
    net.wait_for(lambda: account(node, after) and takes_part(node, rotated_at), START_SECONDS, "the new key packed or seated")
    net.hashes()
