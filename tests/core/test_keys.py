"""A key that takes the place of another while rounds run, in whole cores in virtual time."""

import pytest

from bflcd.core.events import OperationSaid
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection
from bflcd.ledger.state import State, account_of, member_of
from bflcd.types import Amount, NodeId, Round
from bflcd.wire.alliance import Application, Transfer
from bflcd.wire.envelope import seal
from bflcd.wire.keys import Replace, Rotate
from bflcd.wire.operation import Operation
from tests.core.test_alliance import STRANGER, a_world_with_a_stranger, ledger, says
from tests.helpers.inside import pool_of
from tests.helpers.scenes import one_state, reach
from tests.helpers.world import World


def rotate(world: World, old: Identity, new: Identity) -> Round:
    """The old key's node signs it with the new key; gives the round whose block has carried it."""
    state = ledger(world)
    account = account_of(state, old.node_id)
    assert account is not None
    body = Rotate(state.chain, world.round_of(old.node_id), account.operations + 1, new.node_id, old.node_id)
    operation = Operation("rotate", (seal(body, old).envelope, seal(body, new).envelope))
    world.feed(old.node_id, OperationSaid(operation))
    while member_of(ledger(world), new.node_id) is None:
        reach(world, max(world.rounds()) + 1, 200_000)
    return ledger(world).round


def works_after(state: State, node: NodeId, round_: int) -> bool:
    account = account_of(state, node)
    assert account is not None
    return max(account.packed_round, account.seat_round) >= round_


@pytest.mark.parametrize("place", [0, 8], ids=["a manager", "a plain member"])
def test_a_member_goes_on_under_its_new_key_and_the_old_one_is_nobody(place: int) -> None:
    """Given ten members in their rounds, when one rotates to a key whose node hears them, then that one works in its place, what the
    old key signs is dropped everywhere, and nobody else is blamed."""
    world, members = a_world_with_a_stranger()
    old, new = members[place], STRANGER
    carried = rotate(world, old, new)
    reach(world, carried + 8, 400_000)
    state = ledger(world)
    assert works_after(state, new.node_id, carried)
    assert not works_after(state, old.node_id, carried)
    assert old.node_id not in state.committee
    assert (new.node_id in state.managers, old.node_id in state.managers) == (place == 0, False)
    before = account_of(state, old.node_id)
    assert before is not None
    late = Transfer(state.chain, state.round, before.operations + 1, members[1].node_id, Amount(1))
    world.feed(members[1].node_id, OperationSaid(Operation("transfer", (seal(late, old).envelope,))))
    reach(world, state.round + 3, 200_000)
    assert account_of(ledger(world), old.node_id) == before
    assert all(len(pool_of(core)) == 0 for core in world.cores.values())
    assert any("is no member" in text for _, who, text in world.notices if who == members[1].node_id)
    one_state(world)
    strange = {(blame.node, blame.rejection) for blame in world.blames}
    assert strange <= {(one.node_id, Rejection.NOT_MEMBER) for one in (old, new)}, "whom who is a round apart does not know"


def test_managers_replace_the_key_of_a_member_that_is_silent() -> None:
    """Given a member whose key is lost, when its new node has applied and three managers replace the key, then that node works with
    what the member had."""
    world, members = a_world_with_a_stranger()
    lost = members[8]
    balance = account_of(ledger(world), lost.node_id)
    assert balance is not None
    says(world, STRANGER, Application, at=members[7].node_id, note="")
    for manager in members[:3]:
        says(world, manager, Replace, node=lost.node_id, by=STRANGER.node_id)
    state = ledger(world)
    assert (member_of(state, lost.node_id), state.applicants, state.motions) == (None, (), ())
    reach(world, state.round + 6, 400_000)
    now = account_of(ledger(world), STRANGER.node_id)
    assert now is not None
    assert now.balance >= balance.balance
    assert works_after(ledger(world), STRANGER.node_id, state.round)
    one_state(world)
    assert world.blames == []
