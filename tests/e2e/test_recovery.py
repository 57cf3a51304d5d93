"""More than f seats gone for ever: the managers' `bflc-cli recover`, over real daemons (fault catalogue 23)."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import START_SECONDS
from tests.helpers.daemons import ROOT, Community, Daemon, community, environment

NODES = 7
NEEDED = 3
"""Of the four managers, who are the first committee."""

GO_ON_SECONDS = 60.0

pytestmark = pytest.mark.timeout(400)


def cli(node: Daemon, *words: str, code: int = 0) -> dict:
    """Run `bflc-cli --json` on a daemon's directory; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "bflc_cli.main", "--datadir", str(node.datadir), "--json", *words],
        cwd=ROOT,
        env={**environment(), "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, f"{node.name} {words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    answer = json.loads(done.stdout)
    return answer.get("data", answer) if code == 0 else answer


def managers_of(net: Community) -> list[Daemon]:
    return [net.by_id(row["node_id"]) for row in net.running()[0].get("/v1/members") if row["manager"]]


def victims(net: Community, managers: list[Daemon]) -> list[Daemon]:
    """Two seats of a round that has just begun, one manager at most among them; empty while there are none such."""
    status, running = net[0].status(), net[0].get("/v1/round")
    seats = [net.by_id(node) for node in status["committee"]]
    chosen = sorted(seats, key=lambda node: node in managers)[:2]
    young = running["round"] == status["round"] and running["started_ms_ago"] < 300
    return chosen if young and sum(node in managers for node in chosen) <= 1 else []


def names(nodes: list[Daemon]) -> set[str]:
    return {node.node_id for node in nodes}


def missed(node: Daemon) -> set[str]:
    """The seats that a node is not connected to."""
    return set(node.get("/v1/recovery")["silent"])


def recovered(net: Community, signers: list[Daemon], dead: list[Daemon], stuck_at: int) -> None:
    """What the first manager sees, then three of them type it, one after the other; until the third has, no round closes."""
    shown = cli(signers[0], "recover", "--dry-run")
    assert not shown["can_still_decide"]
    assert set(shown["silent"]) == names(dead)
    assert set(shown["proposal"]["retired"]) == set(shown["silent"])
    assert not set(shown["proposal"]["committee"]) & set(shown["silent"])
    assert shown["proposal"]["signed_by"] == []

    first = cli(signers[0], "recover", "--yes")
    assert first["signed"]
    assert not first["adopted"]
    assert any("1 of 3 managers have signed" in text for text in signers[0].status()["warnings"])
    assert cli(signers[0], "recover", "--yes")["action"] == "wait", "nobody signs twice"
    assert not cli(signers[1], "recover", "--yes")["adopted"]
    assert shown["round"] == stuck_at
    assert {node.round() for node in net.running()} == {stuck_at}, (
        "f + 1 silent seats decide nothing, two of four managers neither"
    )
    assert cli(signers[2], "recover", "--yes")["adopted"]


def test_two_of_four_seats_gone_for_ever_and_three_managers_let_the_community_go_on(tmp_path):
    """Given seven daemons, When two of four seats are killed with -9 in mid-round, Then nothing is decided any more, a recovery is
    refused before and is not what one manager alone can do; when three managers have typed `recover --yes`, the round closes
    under the new committee, all that live agree and verify; and the two that come back follow the same chain.
    """
    with community(tmp_path / "net", NODES, "--committee-size", "4") as net:
        net.start()
        net.wait_round(1, START_SECONDS)
        managers = managers_of(net)
        refused = cli(managers[0], "recover", "--yes", code=1)
        assert refused["code"] == "not_needed"

        dead = net.wait_for(lambda: victims(net, managers), GO_ON_SECONDS, "a round whose loss leaves three managers")
        net.kill(*dead)
        living = net.running()
        signers = [node for node in managers if node in living][:NEEDED]
        net.wait_for(lambda: all(missed(node) == names(dead) for node in signers), GO_ON_SECONDS, "all miss the two seats")
        stuck_at = net.wait_rounds(0, GO_ON_SECONDS, living)

        recovered(net, signers, dead, stuck_at)
        net.wait_round(stuck_at + 1, GO_ON_SECONDS, living)
        net.wait_round(stuck_at + 3, GO_ON_SECONDS, living)
        assert {node.status()["epoch"] for node in living} == {1}
        assert all("managers have given round" in node.text() for node in living)

        net.start(dead)
        net.wait_for(lambda: all(node.round() > stuck_at + 3 for node in dead), START_SECONDS, "those that were gone, caught up")
        net.wait_rounds(2, GO_ON_SECONDS)
        hashes = net.hashes()
        assert set(range(1, stuck_at + 4)) <= set(hashes)
        assert net.stop(*net) == [0] * NODES
        with ThreadPoolExecutor(2) as pool:
            verified = list(pool.map(lambda node: cli(node, "verify", "--no-test"), net))
        common = min(report["round"] for report in verified)
        assert common > stuck_at + 3
        at_one_head = {(report["round"], report["head_hash"], report["state_hash"]) for report in verified}
        assert len(at_one_head) == len({report["round"] for report in verified}), "one state hash at each head"
        assert net.faults() == []
