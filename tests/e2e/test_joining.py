"""Members that come late, and members that keep little."""

import pytest

from tests.e2e.conftest import KEEP, START_SECONDS
from tests.e2e.test_crashes import agree_on_state, takes_part
from tests.helpers.daemons import Community, Daemon

ROWS = 200
"""What the others hold, about."""

pytestmark = pytest.mark.timeout(400)


def strip(node: Daemon) -> None:
    """Leave nothing but the key in a data directory."""
    for path in node.datadir.iterdir():
        if path.is_file() and path.name != "node.key":
            path.unlink()


def joining(community: Community, first: Daemon) -> tuple[str, ...]:
    """The flags of a member that has only its key: whom to ask, for which chain, and that the chain's task may run."""
    return "--bootstrap", first.address, "--chain-id", community.chain_id, "--allow-task", community.task


def chain_bytes(node: Daemon) -> int:
    """Bytes of the database and its log."""
    return sum(path.stat().st_size for path in node.datadir.glob("chain.sqlite3*"))


def test_a_late_joiner_of_another_chain_is_refused(living: Community):
    """Given a member that has only its key, When it starts with --bootstrap and a --chain-id that its peer is not on,
    Then it ends with exit code 1, and one line names the peer's chain.
    """
    late = living[-1]
    strip(late)
    late.start("--bootstrap", living[0].address, "--chain-id", "ab" * 32)

    assert late.wait(60) == 1
    last = late.text().splitlines()[-3:]
    assert any("bflcd: " in line and living.chain_id[:8] in line for line in last), last
    assert "Traceback" not in late.text()


def test_a_member_whose_chain_lacks_the_trusted_head_is_refused(living: Community):
    """Given a member with a chain, When it starts with another model as --trusted-head, Then it ends and names both; with the head
    that another member's status prints, it starts.
    """
    node, wrong = living[5], f"1:{'ab' * 32}"
    living.wait_round(2, START_SECONDS)
    assert living.stop(node) == [0]
    node.start("--trusted-head", wrong)

    assert node.wait(60) == 1
    last = node.text().splitlines()[-3:]
    assert any("bflcd: " in line and wrong in line for line in last), last
    head = living[0].status()
    living.start([node], "--trusted-head", head["trusted_head"])
    living.wait_for(lambda: takes_part(node, head["round"]), START_SECONDS, f"{node.name} packed or seated after {head['round']}")


def test_a_late_joiner_catches_up_and_takes_part(living: Community):
    """Given a community some rounds on and a member of the genesis that has only its key, and no more data than the others (who
    trains ten times as long as they do is left out of every round, and who was never packed gets no seat),
    When it starts with nothing but --bootstrap, the pinned chain id and its task allowed,
    Then it fetches genesis, chain and model, and within some rounds has an update packed or holds a seat.
    """
    late = living[-1]
    strip(late)
    (late.datadir / "config.toml").write_text(f"[data]\nlimit = {ROWS}\n")
    joined_at = living[0].round()

    living.start([late], *joining(living, living[0]))

    living.wait_for(lambda: late.round() >= joined_at, START_SECONDS, f"{late.name} at round {joined_at}")
    living.wait_for(lambda: takes_part(late, joined_at), START_SECONDS, f"{late.name} packed or seated after round {joined_at}")
    agree_on_state(living)
    assert living.stop(late) == [0]


def test_a_pruned_node_serves_restarts_and_takes_part(living: Community):
    """Given a node that keeps the payloads of two rounds, When it has run for some rounds, is killed with -9 and starts again,
    Then it holds only the payloads of the last rounds but every header, and takes part again.
    """
    node = living[4]

    def pruned() -> bool:
        status = node.status()
        return status["store_mode"] == "pruned" and status["oldest_payload_round"] >= status["round"] - KEEP - 3 > 0

    living.wait_for(pruned, START_SECONDS, f"{node.name} pruned to the last {KEEP} rounds")
    restarted_at = node.round()
    living.kill(node)
    living.start([node])

    living.wait_for(lambda: takes_part(node, restarted_at), START_SECONDS, f"{node.name} packed or seated after {restarted_at}")
    rounds = sorted(node.history())  # asked once: rounds go on meanwhile
    assert rounds == list(range(1, len(rounds) + 1))
    agree_on_state(living)


def test_pruning_a_running_archive_returns_space(living: Community):
    """Given a running archive node, When it is told to prune to two rounds,
    Then the bytes on its disk shrink by about what it says, and it takes part in the next rounds.
    """
    node = living[1]
    living.wait_for(lambda: node.round() > 4 * KEEP, START_SECONDS, f"some rounds on {node.name}")
    before, at = chain_bytes(node), node.round()

    answer = node.request("POST", "/v1/prune", json={"keep": KEEP})

    assert answer.status_code == 200, answer.text
    report = answer.json()["data"]
    assert report["blobs"] > 0
    assert report["payload_bytes"] > 0
    assert at - KEEP <= report["round"] <= node.round()
    assert chain_bytes(node) < before - report["payload_bytes"] // 2
    assert node.status()["prune_height"] >= report["height"] > 0
    living.wait_for(lambda: takes_part(node, at), START_SECONDS, f"{node.name} packed or seated after {at}")
