"""A whole daemon with a privacy budget: it spends it, says so in blocks and to its operator, and stays within it over a kill."""

from pathlib import Path

import pytest

from bflcd.config import load_config, set_values, write_config
from tests.helpers.daemons import Daemon, community

START_SECONDS = 240.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def with_budget(node: Daemon, epsilon: float) -> None:
    """Two clips of noise on one step an update: three or four of them."""
    path = node.datadir / "config.toml"
    loaded = load_config(node.datadir, {}, {}).config
    path.unlink()
    write_config(path, set_values(loaded, {"privacy.epsilon": epsilon, "privacy.noise": 2.0, "privacy.lot": 4096}))


def test_a_daemon_trains_on_its_budget_and_then_no_more(tmp_path: Path) -> None:
    """Given a daemon alone whose budget lasts for a few updates / When it trains until that is spent, is killed and started again /
    Then blocks have its claims, each larger than the one before, its operator is told, and nothing more is trained."""
    with community(tmp_path / "net", 1, "--small-community", task="digits") as net:
        (node,) = net.nodes
        with_budget(node, 5.0)
        net.start()
        net.wait_for(lambda: node.get("/v1/privacy")["training"]["stopped"], START_SECONDS, "the end of the budget")
        spent = node.get("/v1/privacy")["training"]
        assert spent["updates_left"] == 0
        assert 0 < spent["spent"] <= 5.0
        claims = [row["claims"][0]["epsilon"] for row in node.history().values() if row["claims"]]
        assert claims == sorted(set(claims))
        assert claims[-1] == spent["spent"]
        assert len(claims) == spent["updates"]
        net.wait_for(lambda: node.status()["training"] == "privacy budget", START_SECONDS, "the word")
        assert any("privacy budget" in text for text in node.status()["warnings"])
        net.kill(node)
        net.start([node])
        net.wait_for(lambda: node.get("/v1/privacy")["training"]["stopped"], START_SECONDS, "the end of the budget, again")
        assert node.get("/v1/privacy")["training"] == spent
        net.kill(node)
        (node.datadir / "privacy.json").write_bytes(b"{}")
        node.start()
        assert node.wait(START_SECONDS) != 0
        assert "must not train" in node.text()
