"""A served node, and commands that are run against it."""

from collections.abc import Callable, Iterator

import pytest

from tests.helpers.command_line import runner
from tests.helpers.fake_node import ServedNode, status_of


@pytest.fixture(scope="module")
def served_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedNode]:
    """One for all tests of a file."""
    with ServedNode(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def served(served_node: ServedNode) -> ServedNode:
    """The node as it was at first, whatever the test before did to it."""
    node = served_node.node
    node.current, node.broken, node.stopped = status_of(), None, False
    node.pruned.clear()
    return served_node


@pytest.fixture
def run(served: ServedNode, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command against it; (exit code, stdout, stderr)."""
    return runner(capsys, "--datadir", str(served.datadir))
