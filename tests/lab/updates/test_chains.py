"""Updates from the data directories of a testnet: what is refused before anything is attacked."""

import asyncio

import pytest

from bflc_cli.fleet import read_overview
from bflcd.errors import OperatorError, UsageError
from bflcd.lab.updates import chains
from bflcd.lab.updates.chains import read_testnet
from bflcd.setup.testnet import write_testnet
from bflcd.types import NodeId
from tests.helpers.testnets import DESCRIPTION, make_plan


@pytest.fixture
def testnet(tmp_path):
    plan = make_plan(tmp_path / "net")
    plan.output.mkdir()
    write_testnet(plan, DESCRIPTION)
    return {NodeId(bytes.fromhex(node.node_id)): plan.output / node.datadir for node in read_overview(plan.output).nodes}


def read(nodes):
    return asyncio.run(read_testnet(nodes, 2, threads=1, seed=0))


def test_a_testnet_that_never_ran_holds_no_chain(testnet):
    with pytest.raises(OperatorError, match="holds no chain") as caught:
        read(testnet)
    assert caught.value.code == "no_store"


class Genesis:
    """As much of one as is looked at."""

    def __init__(self, fraction: int) -> None:
        self.params = type("Params", (), {"validation_fraction": fraction})()


class Held:
    """As much of a configuration."""

    def __init__(self, index: int) -> None:
        self.data = type("Data", (), {"index": index})()


def test_what_nobody_knows_the_truth_of_is_refused():
    nodes = [NodeId(bytes([number]) * 32) for number in (1, 2)]
    chains._check(Genesis(0), {nodes[0]: Held(0), nodes[1]: Held(1)})
    for genesis, second, text in ((Genesis(100_000), 1, "its secret"), (Genesis(0), 0, "the same part")):
        with pytest.raises(UsageError, match=text) as caught:
            chains._check(genesis, {nodes[0]: Held(0), nodes[1]: Held(second)})
        assert caught.value.code == "bad_setting"
        assert caught.value.hint


def test_nothing_to_attack_says_what_to_do():
    found = chains._nothing("no round was closed")
    assert (found.code, "no round was closed" in str(found)) == ("no_updates", True)
    assert "testnet up" in found.hint
