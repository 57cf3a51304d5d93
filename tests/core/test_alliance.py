"""Members that come and go while rounds run: what the operators of whole cores in virtual time have them sign."""

from dataclasses import replace
from typing import Any

from bflcd.core.effects import Blame
from bflcd.core.events import MessageReceived, OperationSaid
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection
from bflcd.ledger.operations.registry import KINDS
from bflcd.ledger.state import State, account_of, member_of
from bflcd.types import Digest, NodeId, Round
from bflcd.wire.alliance import Admit, Application, Join, Kick, Leave, Return, Vouch
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Beacon
from bflcd.wire.operation import Operation
from tests.helpers.inside import pool_of
from tests.helpers.ledger import make_genesis
from tests.helpers.scenes import T0, one_state, reach
from tests.helpers.world import World

STRANGER = Identity(bytes([200]) * 32)


def a_world_with_a_stranger(seed: int = 0) -> tuple[World, list[Identity]]:
    """Ten members, of whom four manage, at round 2; and one more node that hears them."""
    genesis, identities = make_genesis(nodes=10, committee=4, places=6, view_timeout=T0)
    world = World(genesis, [*identities, STRANGER], seed)
    world.start_all()
    reach(world, 2, 60_000)
    return world, identities


def ledger(world: World) -> State:
    return max((disk.head.state for disk in world.disks.values()), key=lambda state: state.round)


def says(world: World, author: Identity, body: type, *, at: NodeId | None = None, **fields: Any) -> None:
    """Its node signs it (or the node `at` is handed it), and everybody works on until a block has carried it."""
    state = ledger(world)
    account = account_of(state, author.node_id)
    number = {} if body is Application else {"number": 1 + (0 if account is None else account.operations)}
    made = body(chain=state.chain, round=world.round_of(at or author.node_id), **number, **fields)
    kind = next(name for name, kind in KINDS.items() if kind.bodies == (body,))
    world.feed(at or author.node_id, OperationSaid(Operation(kind, (seal(made, author).envelope,))))
    reach(world, max(world.rounds()) + 3, 200_000)


def is_in(world: World, node: NodeId) -> bool:
    return member_of(ledger(world), node) is not None


def test_a_stranger_is_admitted_trains_is_put_out_and_taken_back() -> None:
    """Given ten members in their rounds, when a stranger applies to one of them and a manager admits it, then it has updates packed;
    put out by three managers it has none any more; taken back it has."""
    world, members = a_world_with_a_stranger()
    managers, node = members[:4], STRANGER.node_id
    says(world, STRANGER, Application, at=members[7].node_id, note="")
    assert [one.node for one in ledger(world).applicants] == [node]
    assert not is_in(world, node)
    says(world, managers[0], Admit, node=node)
    admitted = ledger(world).round
    reach(world, admitted + 6, 400_000)
    account = account_of(ledger(world), node)
    assert account is not None
    assert max(account.packed_round, account.seat_round) >= admitted - 3, "it works like any other"
    for manager in managers[:3]:
        says(world, manager, Kick, node=node, reason="")
    out = account_of(ledger(world), node)
    assert out is not None
    assert not is_in(world, node)
    rounds = ledger(world).round
    reach(world, rounds + 4, 400_000)
    assert account_of(ledger(world), node).packed_round == out.packed_round  # type: ignore[union-attr]
    assert node not in ledger(world).committee
    for manager in managers[:3]:
        says(world, manager, Return, node=node)
    assert is_in(world, node)
    one_state(world)
    assert world.blames == []
    assert all(len(pool_of(core)) == 0 for core in world.cores.values()), "nothing waits any more"


def test_a_committee_shrinks_as_members_leave_and_grows_again() -> None:
    """Given five members, all of whose four seats are filled, when two of them leave, then three seats go on; and four once one is
    admitted again."""
    genesis, identities = make_genesis(nodes=6, committee=4, places=6, view_timeout=T0)
    world = World(genesis, identities)
    world.start_all()
    reach(world, 2, 60_000)
    for member in identities[4:]:
        says(world, member, Leave)
    assert len(ledger(world).committee) == 4
    assert {account.node for account in ledger(world).accounts if account.left_round >= 0} == {
        one.node_id for one in identities[4:]
    }
    assert set(ledger(world).committee) == {one.node_id for one in identities[:4]}, (
        "nobody is left to train: rounds close at their deadline"
    )
    says(world, identities[0], Admit, node=identities[5].node_id)
    one_state(world)
    assert is_in(world, identities[5].node_id)


def test_what_breaks_a_rule_is_told_and_not_kept() -> None:
    world, members = a_world_with_a_stranger()
    state, node = ledger(world), members[9].node_id
    wrong = Operation("admit", (seal(Admit(state.chain, Round(0), 1, STRANGER.node_id), members[9]).envelope,))
    world.feed(node, OperationSaid(wrong))
    reach(world, state.round + 2, 60_000)
    assert len(pool_of(world.cores[node])) == 0
    assert any(
        who == node and "not kept: bad_operation: admit" in text and "is no manager" in text for _, who, text in world.notices
    )


def test_who_is_a_round_apart_blames_no_member_that_came_or_went() -> None:
    """Given nodes a round behind or ahead of who comes or goes, when these speak, then they are answered nothing, and blamed for
    nothing; a stranger is, for a round that everybody has had."""
    world, members = a_world_with_a_stranger()
    core = world.cores[members[5].node_id]
    state = core.context.state
    ahead = Round(state.round + 1)

    def speaks(who: Identity, round_: Round) -> list[Any]:
        chain, hash_ = state.chain, Digest(bytes(32))
        beacon = Beacon(chain=chain, round=round_, epoch=state.epoch, parent=hash_, committee=hash_)
        return core.handle(MessageReceived(seal(beacon, who).envelope, members[6].node_id), world.instant())

    assert [effect for effect in speaks(STRANGER, ahead) if isinstance(effect, Blame)] == []
    assert [effect.rejection for effect in speaks(STRANGER, Round(state.round - 1)) if isinstance(effect, Blame)] == [
        Rejection.NOT_MEMBER
    ]
    says(world, members[9], Leave)
    behind = Round(ledger(world).round - 1)
    reach(world, max(world.rounds()), 60_000)
    state = core.context.state
    assert [effect for effect in speaks(members[9], behind) if isinstance(effect, Blame)] == []


def test_a_stranger_joins_by_a_voucher_that_nobody_else_can_use() -> None:
    """Given a manager's voucher, when somebody who has seen a join claims it under a forged signature, then it is blamed and nothing is
    kept; the newcomer itself is a member in the next blocks, without anybody's further word, and works."""
    world, members = a_world_with_a_stranger()
    voucher, thief, node = Identity(bytes([201]) * 32), Identity(bytes([202]) * 32), STRANGER.node_id
    says(world, members[0], Vouch, node=voucher.node_id, until=Round(200), opens=True)
    state = ledger(world)

    def join(who: Identity) -> tuple[Operation, Operation]:
        """As it should be, and with the newcomer's signature in the place of the voucher's."""
        body = Join(state.chain, state.round, who.node_id, voucher.node_id)
        by_node, by_voucher = seal(body, who).envelope, seal(body, voucher).envelope
        return Operation("join", (by_node, by_voucher)), Operation("join", (by_node, replace(by_node, author=voucher.node_id)))

    core = world.cores[members[5].node_id]
    effects = core.handle(MessageReceived(join(thief)[1], members[6].node_id), world.instant())
    assert [effect.rejection for effect in effects if isinstance(effect, Blame)] == [Rejection.BAD_SIGNATURE]
    assert len(pool_of(core)) == 0
    world.feed(members[7].node_id, OperationSaid(join(STRANGER)[0]))
    reach(world, max(world.rounds()) + 3, 200_000)
    assert is_in(world, node)
    assert ledger(world).vouchers == ()
    admitted = ledger(world).round
    reach(world, admitted + 6, 400_000)
    account = account_of(ledger(world), node)
    assert account is not None
    assert max(account.packed_round, account.seat_round) >= admitted - 3, "it works like any other"
    one_state(world)
    assert world.blames == []
