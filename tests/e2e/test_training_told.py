"""Whole daemons: one that can't train tells the others, and why; its operator's API and theirs show the same."""

from pathlib import Path

import pytest

from tests.helpers.daemons import Daemon, community

START_SECONDS = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def word_for(node: Daemon, of: Daemon) -> str | None:
    """What `node` was told by `of` of whether that trains."""
    return next((peer["training"] for peer in node.get("/v1/peers") if peer["node_id"] == of.node_id), None)


def test_a_daemon_without_its_device_tells_the_others_that_it_does_not_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a community of which one node is to compute on a GPU that is not there / When rounds close / Then that node and all
    others say that it does not train for lack of its device, and that the others do."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with community(tmp_path / "net", 6, "--committee-size", "4") as net:
        *well, idle = net.nodes
        net.start(well)
        net.start([idle], "--device", "cuda")
        net.wait_round(2, START_SECONDS)
        net.wait_for(lambda: all(word_for(node, idle) == "device" for node in well), START_SECONDS, "the word of all peers")
        assert [node.status()["training"] for node in net] == ["trains"] * 5 + ["device"]
        assert all(node.status()["not_training"] == [idle.node_id] for node in well)
        assert {word_for(idle, node) for node in well} == {"trains"}
        assert not net.faults()
