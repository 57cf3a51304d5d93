"""A community of daemons that nobody disturbs: it trains to its last round and ends when told to."""

import pytest

from tests.helpers.daemons import community, wait_for

ROUNDS = 8
NODES = 6

pytestmark = pytest.mark.timeout(300)


def test_trains_to_its_last_round_and_stops(tmp_path):
    """Given six fresh members of a community with eight rounds, four of them the first committee, whose data is alike (two
    trainers with skewed labels may rightly be found wanting in round 0),
    When all are started and left alone,
    Then all reach the last round with one head and one state, no round was empty, the model got better, and SIGTERM ends
    every one of them with 0 and leaves no process behind.
    """
    with community(tmp_path / "net", NODES, "--rounds", str(ROUNDS), "--partition", "equal", task="digits") as net:
        net.start()
        net.wait_for(lambda: all(node.status()["done"] for node in net), 200, "the last round on all")

        statuses = [node.status() for node in net]
        assert {status["round"] for status in statuses} == {ROUNDS}
        for key in ("head_hash", "state_hash", "model_hash", "chain_id", "height"):
            assert len({status[key] for status in statuses}) == 1, key
        assert [status["warnings"] for status in statuses] == [[]] * NODES

        rows = net[0].history()
        assert sorted(rows) == list(range(1, ROUNDS + 1))
        assert all(row["packed"] >= 1 for row in rows.values())
        accuracies = [rows[round_]["accuracy"] for round_ in sorted(rows)]
        assert accuracies[-1] > accuracies[0] + 0.3
        assert {status["accuracy"] for status in statuses} == {accuracies[-1]}
        assert net.hashes() == {round_: row["hash"] for round_, row in rows.items()}

        assert net.stop(*net) == [0] * NODES
        wait_for(lambda: not any(node.leftovers() for node in net), 5, "no process left after SIGTERM", report=net.report)
        assert all(not (node.datadir / "api.json").exists() for node in net)
        assert net.faults() == []
