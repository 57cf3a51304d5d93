"""Communities in containers under faults. Needs root or a running engine; `make test-docker`."""

import pytest

from tests.docker.community import community
from tests.docker.engine import open_engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]

ROUNDS = 40


@pytest.fixture(scope="module")
def engine():
    with open_engine() as found:
        yield found


def test_a_killed_container_stops_nobody_and_comes_back(engine):
    """Given seven containers in mid-community, when a member of the committee is killed with -9, then the others go on for five
    rounds without it, and after its restart all seven end with the same head.
    """
    with community(engine, nodes=10, rounds=ROUNDS) as made:
        before = made.await_round("node0", 2, 180)
        victim = "node1"
        engine.docker("kill", "--signal", "KILL", made.container(victim))
        survivors = [name for name in made.names if name != victim]
        for name in survivors:
            made.await_round(name, before["round"] + 5, 180)
        assert made.status(victim) is None
        engine.docker("start", made.container(victim))
        final = [made.await_round(name, ROUNDS, 300) for name in made.names]
        assert {status["head_hash"] for status in final} == {final[0]["head_hash"]}
        assert {status["state_hash"] for status in final} == {final[0]["state_hash"]}
