"""Operations on their way into a block: the pool, and a leader that tells two stories to whole cores (design 6.9)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bflcd.core.core import Core
from bflcd.core.effects import Blame, CatchUp, Effect, Persist, Send
from bflcd.core.events import Event, MessageReceived, OperationsFetched
from bflcd.core.operation_pool import MAX_HELD, OperationPool
from bflcd.core.operations import OperationHandler
from bflcd.core.records import OperationRecord
from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError
from bflcd.ledger.operations.evidence import EVIDENCE, evidence_of
from bflcd.ledger.operations.transfer import TRANSFER
from bflcd.ledger.state import NEVER
from bflcd.params import Terms
from bflcd.types import Amount, Digest, Millis, NodeId, Round, View
from bflcd.wire.alliance import Admit, Application, Kick, Leave, Return, Transfer
from bflcd.wire.envelope import Envelope, Signed, open_envelope, seal
from bflcd.wire.messages import JustifiedPrePrepare, Prepare, PrePrepare
from bflcd.wire.operation import Operation, operation_id
from tests.helpers.inside import pool_of as pool_inside
from tests.helpers.inside import round_of
from tests.helpers.ledger import make_community, place_of
from tests.helpers.scenes import a_world, committee_of, leader_in, one_state, reach
from tests.helpers.world import World

START = make_community(3 * MAX_HELD, 4, 6)
STATE = START.state


def proof(member: int, numbers: tuple[int, int] = (1, 2), view: int = 0, **changes: object) -> Operation:
    """Two prepares of a member in one place."""
    fields = place_of(START) | {"view": View(view)} | changes
    bodies = (Prepare(**fields, digest=Digest(bytes([number]) * 32), proposal=Digest(bytes(32))) for number in numbers)
    return evidence_of(*(seal(body, START.keys[START.members[member]]).envelope for body in bodies))


def pool_of(*pieces: Operation) -> OperationPool:
    pool = OperationPool()
    for piece in pieces:
        pool.add(piece)
    return pool


def punished_in(member: int, *others: int) -> object:
    nodes = [START.members[i] for i in (member, *others)]
    return replace(STATE, accounts=tuple(replace(a, punished_round=0) if a.node in nodes else a for a in STATE.accounts))


def test_a_piece_is_held_under_its_id_and_one_against_each_is_enough() -> None:
    pool = OperationPool()
    one, again, other = proof(0), proof(0, (3, 4)), proof(1)
    assert (pool.add(one), pool.add(again), pool.add(one), pool.add(other)) == (True, False, False, True)
    assert dict(pool) == {operation_id(one): one, operation_id(other): other}
    assert pool[operation_id(one)] == one
    assert operation_id(again) not in pool


def test_a_piece_that_a_proposal_names_is_held_beside_the_first_and_is_nothing_new() -> None:
    pool = pool_of(proof(0))
    assert pool.add(proof(0, (3, 4)), wanted=True) is False
    assert pool.add(proof(1), wanted=True) is True
    assert len(pool) == 3
    chosen = pool.chosen(STATE)
    assert len(chosen) == 2, "one against each goes into a block"
    assert {operation.author for operation in chosen} == set(START.members[:2])


def test_the_pool_is_bounded_and_wanted_pieces_have_room_for_as_many_again() -> None:
    pool = pool_of(*(proof(i) for i in range(MAX_HELD + 1)))
    assert len(pool) == MAX_HELD
    assert operation_id(proof(MAX_HELD)) not in pool
    for i in range(MAX_HELD, 3 * MAX_HELD):
        pool.add(proof(i), wanted=True)
        assert len(pool) <= 2 * MAX_HELD
    assert operation_id(proof(3 * MAX_HELD - 1)) in pool
    assert operation_id(proof(0)) not in pool, "the oldest went"


def kicks(member: int, number: int) -> list[Operation]:
    """What a member may have wait as its `number`-th operation, of each kind that managers have, whatever it is itself."""
    fields: dict[str, Any] = {"chain": STATE.chain, "round": Round(0), "number": number, "node": START.members[0]}
    bodies = {"admit": Admit(**fields), "kick": Kick(**fields, reason=""), "return": Return(**fields)}
    return [Operation(kind, (seal(body, START.keys[START.members[member]]).envelope,)) for kind, body in bodies.items()]


def test_a_members_numbers_are_one_row_for_all_kinds() -> None:
    pool = pool_of(*kicks(5, 2), *kicks(5, 3), *kicks(5, 4))
    assert [operation.kind for operation in pool.values()] == ["admit"] * 3


def test_members_that_fill_the_pool_with_what_never_has_its_turn_make_room_for_others() -> None:
    """Given a pool full of operations whose authors have kept their first ones back, when evidence and another member's word come,
    then both are held, and those that waited for the longest gap went."""
    waiting = [kicks(member, number)[0] for member in range(40) for number in (2, 3, 4)][:MAX_HELD]
    pool = pool_of(*waiting)
    assert len(pool) == MAX_HELD
    late = [proof(60), kicks(61, 1)[0]]
    assert [pool.add(one) for one in late] == [True, True]
    assert (len(pool), set(late) <= set(pool.values())) == (MAX_HELD, True)
    assert {place for place in waiting if operation_id(place) not in pool} == {waiting[2], waiting[5]}
    assert pool.add(waiting[2]) is False, "who holds as many as others gets no more"


def test_a_few_members_that_fill_the_pool_with_one_kind_keep_nobody_out_of_it() -> None:
    """Given a pool full of gifts of 22 members whose first ones never come, when another gives, then its gift is held and chosen."""
    pool = pool_of(*(gives(member, number) for member in range(22) for number in (2, 3, 4)))
    assert len(pool) == MAX_HELD
    assert pool.add(gives(22, 1))
    assert pool.chosen(STATE) == (gives(22, 1),)


@pytest.mark.parametrize("settled", [False, True])
def test_so_many_members_that_each_fills_one_place_for_ever_keep_nobody_out(*, settled: bool) -> None:
    """Given a pool full of second operations of as many members, whose first ones never come, when another has its turn, then it is
    held and chosen; another that has not is not held, nor does what has its turn give way."""
    handler = OperationHandler(OperationPool(), lambda _: True)
    for member in range(MAX_HELD):
        handler.received(STATE, gives(member, 2))
    if settled:
        handler.pool.settle(STATE)
    assert len(handler.pool) == MAX_HELD
    assert handler.said(STATE, gives(MAX_HELD, 1)) != []
    handler.received(STATE, gives(MAX_HELD + 1, 2))
    assert operation_id(gives(MAX_HELD + 1, 2)) not in handler.pool
    for member in range(MAX_HELD + 2, 2 * MAX_HELD + 2):
        handler.received(STATE, gives(member, 1))
    assert (len(handler.pool), handler.pool.own()) == (MAX_HELD, (gives(MAX_HELD, 1),))
    assert {body_number(one) for one in handler.pool.values()} == {1}


@pytest.mark.parametrize("round_", range(4))
def test_nobodys_second_operation_takes_the_room_of_anothers_first(round_: int) -> None:
    """Given as many givers as a block carries gifts, of whom all but one have four that wait, then the first of each is chosen, in any
    round's lot."""
    most = TRANSFER.limits.per_block
    waiting = [gives(member, number) for member in range(most - 1) for number in (1, 2, 3, 4)] + [gives(most, 1)]
    chosen = pool_of(*waiting).chosen(replace(STATE, round=Round(round_)))
    assert set(chosen) == {one for one in waiting if body_number(one) == 1}


def gives(member: int, number: int) -> Operation:
    """A member's gift, which any round carries in its turn."""
    giver, taker = START.members[member], START.members[-1]
    return Operation("transfer", (seal(Transfer(STATE.chain, Round(0), number, taker, Amount(1)), START.keys[giver]).envelope,))


def body_number(operation: Operation) -> int:
    return open_envelope(operation.signed[0], (Transfer,)).body.number


def test_what_goes_into_a_block_is_bounded_and_sorted_and_any_node_chooses_alike() -> None:
    pieces = [proof(i) for i in range(EVIDENCE.limits.per_block + 3)]
    chosen = pool_of(*pieces).chosen(STATE)
    assert len(chosen) == EVIDENCE.limits.per_block
    assert list(chosen) == sorted(chosen, key=lambda operation: operation.author)
    assert set(chosen) <= set(pieces)
    assert pool_of(*pieces[::-1]).chosen(STATE) == chosen
    assert pool_of().chosen(STATE) == ()


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_pieces_against_one_the_lower_id_is_chosen_whichever_came_first(first: int) -> None:
    both = (proof(0), proof(0, (3, 4)))
    pool = OperationPool()
    pool.add(both[first])
    pool.add(both[1 - first], wanted=True)
    assert pool.chosen(STATE) == (min(both, key=operation_id),)


def test_what_does_not_count_yet_or_any_more_is_not_chosen() -> None:
    pool = pool_of(proof(0), proof(1), proof(2, round=Round(1)))
    assert {operation.author for operation in pool.chosen(STATE)} == set(START.members[:2])
    assert pool.chosen(punished_in(0)) == (proof(1),)  # type: ignore[arg-type]


def test_what_a_block_has_punished_is_forgotten_and_all_else_waits() -> None:
    pool = pool_of(proof(0), proof(1), proof(2))
    pool.add(proof(0, (3, 4)), wanted=True)
    pool.settle(punished_in(0, 2))  # type: ignore[arg-type]
    assert tuple(pool) == (operation_id(proof(1)),)
    pool.settle(punished_in(1))  # type: ignore[arg-type]
    assert len(pool) == 0


def test_what_is_found_here_is_durable_then_said_to_all_and_only_once() -> None:
    handler = OperationHandler(OperationPool(), lambda _: True)
    persisted, said, *_ = handler.note(Round(0), proof(0))
    assert (persisted, said) == (Persist((OperationRecord(Round(0), proof(0)),)), Send(proof(0)))
    assert handler.note(Round(0), proof(0)) == []


def test_said_again_is_all_that_was_found_here_and_by_lot_one_of_the_rest() -> None:
    pool = OperationPool()
    for member in range(6):
        pool.add(proof(member), own=member < 2)
    others = set()
    for round_ in range(40):
        repeated = pool.repeated(replace(STATE, round=Round(round_)))
        assert set(repeated) >= {proof(0), proof(1)}
        assert len(repeated) == 3
        others |= set(repeated) - {proof(0), proof(1)}
    assert others == {proof(member) for member in range(2, 6)}, "each has its turn"
    pool.settle(punished_in(0, 1, 2, 3, 4, 5))  # type: ignore[arg-type]
    assert pool.repeated(STATE) == ()


LATER = replace(STATE, round=Round(9), terms=Terms(application_rounds=4))
OWNER, STRANGER = START.keys[START.members[7]], Identity(bytes([200]) * 32)


def of(kind: str, body: object, author: Identity = OWNER) -> Operation:
    return Operation(kind, (seal(body, author).envelope,))


@pytest.mark.parametrize(
    "operation",
    [
        of("transfer", Transfer(STATE.chain, Round(0), 1, START.members[0], Amount(2**40))),
        of("apply", Application(STATE.chain, Round(5), ""), STRANGER),
        of("admit", Admit(STATE.chain, Round(9), 1, STRANGER.node_id), STRANGER),
    ],
    ids=["who will have so much", "whose time was over a round ago", "who is known in the next round"],
)
def test_what_only_another_rounds_ledger_carries_is_not_kept_and_blames_nobody(operation: Operation) -> None:
    """Given an operation that the ledger of a round before or after would carry, whatever it says itself, when a peer brings it."""
    handler = OperationHandler(OperationPool(), lambda _: True)
    assert handler.received(LATER, operation) == []
    assert handler.fetched(LATER, OperationsFetched(Round(9), (operation,), START.members[1])) == []
    assert len(handler.pool) == 0


@pytest.mark.parametrize(
    "operation",
    [
        of("transfer", Leave(STATE.chain, Round(0), 1)),
        of("leave", Leave(Digest(bytes(32)), Round(0), 1)),
        replace(proof(0), signed=proof(0).signed[::-1]),
    ],
    ids=["of another kind", "of another chain", "evidence of nothing"],
)
def test_for_what_no_ledger_carries_its_bringer_is_to_blame(operation: Operation) -> None:
    handler, peer = OperationHandler(OperationPool(), lambda _: True), START.members[1]
    with pytest.raises(PeerError):
        handler.received(LATER, operation)
    blamed = handler.fetched(LATER, OperationsFetched(Round(9), (operation,), peer))
    assert [one.node for one in blamed if isinstance(one, Blame)] == [peer]


# -- whole cores ------------------------------------------------------------------------------------------------------------


def accounts(world: World) -> dict[NodeId, int]:
    """Who was punished, and in which round, by the newest ledger."""
    state = max((disk.head.state for disk in world.disks.values()), key=lambda state: state.round)
    return {account.node: account.punished_round for account in state.accounts if account.punished_round != NEVER}


def segment_from(core: Core, signed: Signed[PrePrepare]) -> Signed[PrePrepare]:
    """Another proposal of the same leader that is just as right: it closes the round a millisecond later."""
    assert round_of(core).agreement is not None
    proposal = replace(signed.body.proposal, time=Millis(signed.body.proposal.time + 1))
    candidates = round_of(core).agreement._candidates
    candidate = candidates.add(proposal)
    assert candidate is not None
    candidates.advance(Millis(0))
    assert candidate.digest is not None
    return Signed(replace(signed.body, digest=candidate.digest, proposal=proposal), signed.envelope)


def two_stories(world: World, *, right: bool) -> tuple[NodeId, list[NodeId], list[NodeId]]:
    """The next leader shows one pre-prepare to one other seat, another to two; also the nodes that pass on what it said."""
    leader = leader_in(world)
    identity, answer = world.identities[leader], world.answer
    deceived = [node for node in committee_of(world) if node != leader][1:]
    round_, passed = max(world.rounds()), list[NodeId]()
    told: dict[Envelope, Envelope] = {}

    def other(envelope: Envelope) -> Envelope:
        if envelope not in told:
            signed = open_envelope(envelope, (PrePrepare,))
            body = segment_from(world.cores[leader], signed).body if right else replace(signed.body, digest=Digest(bytes(32)))
            told[envelope] = seal(body, identity).envelope
        return told[envelope]

    def lying(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, Send) and isinstance(effect.message, JustifiedPrePrepare):
            author = effect.message.pre_prepare.author
            if author == leader == node and world.round_of(node) == round_:
                false = replace(effect.message, pre_prepare=other(effect.message.pre_prepare))
                for target in world.cores:
                    if target != node:
                        world.post(target, MessageReceived(false if target in deceived else effect.message, node), world.delay())
                return
            if author == leader != node:
                passed.append(node)
        yield from answer(node, effect)

    world.answer = lying  # type: ignore[method-assign]
    return leader, deceived, passed


@pytest.mark.parametrize("right", [False, True], ids=["the other can't be built", "both are right"])
@pytest.mark.parametrize("seed", range(3))
def test_a_leader_that_tells_each_half_its_own_story_is_punished(seed: int, right: bool) -> None:
    """Given halves that were shown one pre-prepare each, then who hears the others' prepares passes its own on, and a block
    punishes the leader alone."""
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    leader, deceived, passed = two_stories(world, right=right)
    reach(world, 7, 120_000)
    assert set(passed) & set(deceived), "only passing on brings the two stories together"
    assert list(accounts(world)) == [leader]
    segments = world.disks[leader].segments
    carried = {round_: s.segment.model.operations for round_, s in segments.items() if s.segment.model.operations}
    assert list(carried) == [accounts(world)[leader] + 1], "one block carries it, once"
    ((piece,),) = carried.values()
    first, second = (open_envelope(envelope, (PrePrepare,)).body for envelope in piece.signed)
    assert (piece.author, first.round, first.view) == (leader, second.round, second.view)
    assert accounts(world)[leader] - first.round <= 1, "in its own round, or by the next leader"
    for round_ in range(min(carried), 8):
        model = segments[round_].segment.model_header.model
        assert model is not None
        assert leader not in model.committee
    one_state(world)
    assert world.disks[leader].head.state.burnt > 0
    assert all(len(pool_inside(core)) == 0 for core in world.cores.values()), "nothing waits any more"


def test_honest_leaders_are_passed_on_by_nobody_and_nobody_is_accused() -> None:
    world = a_world()
    said: list[NodeId] = []
    answer = world.answer

    def listening(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, Send) and isinstance(effect.message, JustifiedPrePrepare):
            said.append(node)
            assert effect.message.pre_prepare.author == node
        yield from answer(node, effect)

    world.answer = listening  # type: ignore[method-assign]
    reach(world, 6, 60_000)
    assert said
    assert accounts(world) == {}
    assert all(len(pool_inside(core)) == 0 for core in world.cores.values())


def test_who_brings_evidence_of_a_round_that_we_have_not_reached_is_asked_and_not_blamed() -> None:
    """Given true evidence of the next round, when a node that lags by that round hears it, then it catches up and blames nobody."""
    world = a_world()
    node, brought_by, liar = sorted(world.cores)[:3]
    core, key = world.cores[node], world.identities[liar]
    state = core.context.state
    ahead = Prepare(state.chain, Round(state.round + 1), state.epoch, View(0), *(Digest(bytes(32)),) * 4)
    pair = (seal(replace(ahead, digest=Digest(bytes([number]) * 32)), key).envelope for number in (1, 2))
    effects = core.handle(MessageReceived(evidence_of(*pair), brought_by), world.instant())
    assert effects == [CatchUp(ahead.round, brought_by)]
    assert len(pool_inside(core)) == 0
