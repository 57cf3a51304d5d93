"""`lab consensus-cost`: what daemons count, read and told."""

from pathlib import Path

import pytest

from bflc_cli import lab_cost
from bflc_cli.lab_cost import ROUNDS, SIZES, _counters
from bflcd.lab.experiments.cost import Counted
from tests.helpers.command_line import data_of, runner


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return runner(capsys)


def test_the_cost_of_consensus_is_counted_in_daemons(run, monkeypatch):
    asked = []

    def count_daemons(folder, sizes, rounds, progress, task):
        asked.append((folder, sizes, rounds))
        return [Counted(size - 4, 4, rounds, 4.0 * (size - 4) * rounds, {"Commit": 9.0, "Offer": 3.0}, 1e6) for size in sizes]

    monkeypatch.setattr(lab_cost, "count_daemons", count_daemons)
    monkeypatch.setattr("bflcd.lab.report.FORMATS", ())
    data = data_of(run("lab", "consensus-cost", "--nodes", "8", "--nodes", "5", "--nodes", "8", "--rounds", "3", "--json"))
    assert [row["trainers"] for row in data["results"]["counted"]] == [1, 4]
    code, out, _ = run("lab", "consensus-cost")
    assert code == 0
    assert "P x Q" in out
    assert asked == [(Path("lab/cost"), (5, 8), 3), (Path("lab/cost"), SIZES, ROUNDS)]


def test_what_is_counted_of_a_nodes_metrics():
    exposition = """# TYPE bflc_messages_total counter
bflc_messages_total{direction="out",kind="Offer",way="push"} 3.0
bflc_messages_total{direction="in",kind="Offer",way="push"} 9.0
bflc_messages_total{direction="out",kind="Commit",way="push"} 3.0
bflc_messages_total{direction="out",kind="Commit",way="gossip"} 1.0
# TYPE bflc_validations_total counter
bflc_validations_total 12.0
# TYPE bflc_bytes_total counter
bflc_bytes_total{direction="in",channel="payload"} 1000.0
bflc_bytes_total{direction="out",channel="payload"} 2000.0
bflc_bytes_total{direction="in",channel="gossip"} 3000.0
# TYPE bflc_round gauge
bflc_round 7.0
"""
    assert sorted(_counters(exposition)) == [
        ("payload", 1000.0),
        ("sent Commit", 1.0),
        ("sent Commit", 3.0),
        ("sent Offer", 3.0),
        ("validations", 12.0),
    ]
