"""A community that begins with its managers alone, and takes in everybody else while its rounds run (design 7)."""

from dataclasses import replace

import pytest

from bflcd.crypto.identity import Identity
from bflcd.ledger.state import account_of
from bflcd.wire.alliance import Admit, Application
from tests.core.test_alliance import is_in, ledger, says
from tests.helpers.ledger import make_genesis
from tests.helpers.scenes import T0, one_state, reach
from tests.helpers.world import World


@pytest.mark.parametrize(("founders", "seats"), [(1, 1), (2, 2), (5, 4)])
def test_managers_alone_grow_to_a_community(founders: int, seats: int) -> None:
    """Given managers and nobody else, when five machines apply and one of the managers admits each, then all of them are packed or
    seated, the committee has grown to its size, and nobody disagrees."""
    genesis, identities = make_genesis(nodes=founders, committee=4, places=6, view_timeout=T0)
    genesis = replace(genesis, managers=tuple(one.node_id for one in identities))
    joining = [Identity(bytes([150 + index]) * 32) for index in range(5)]
    world = World(genesis, [*identities, *joining])
    world.start_all()
    reach(world, 2, 200_000)
    assert len(ledger(world).committee) == seats
    for one in joining:
        says(world, one, Application, at=identities[0].node_id, note="")
        says(world, identities[0], Admit, node=one.node_id)
        assert is_in(world, one.node_id)
    grown = ledger(world).round
    reach(world, grown + 12, 600_000)
    assert len(ledger(world).committee) == 4
    for one in joining:
        account = account_of(ledger(world), one.node_id)
        assert account is not None
        assert max(account.packed_round, account.seat_round) > grown
    one_state(world)
    assert world.blames == []
