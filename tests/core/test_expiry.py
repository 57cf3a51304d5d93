"""Operations that wait for long: told when they run out, kept over a catch-up, and no reason to ask for rounds that nobody signed."""

from dataclasses import replace
from typing import Any

import pytest

from bflcd.core.effects import Blame, CatchUp, Effect, Notice, Persist
from bflcd.core.events import MessageReceived, OperationSaid, SegmentFetched, SyncChanged
from bflcd.core.node_events import EventKind
from bflcd.core.operation_pool import OperationPool
from bflcd.core.operations import OperationHandler
from bflcd.core.records import OperationRecord
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection
from bflcd.ledger.operations.base import OPERATION_ROUNDS
from bflcd.ledger.state import State
from bflcd.types import Amount, Epoch, Round
from bflcd.wire.alliance import Application, Leave, Transfer
from bflcd.wire.envelope import seal
from bflcd.wire.operation import Operation, operation_id
from bflcd.wire.recovery import Recovery, RecoveryCertificate
from tests.helpers.inside import pool_of
from tests.helpers.ledger import make_community
from tests.helpers.scenes import a_world, reach
from tests.helpers.world import World

START = make_community(10, 4, 6)
STATE = START.state
MINE, OTHER = START.keys[START.members[5]], START.keys[START.members[6]]
STRANGER = Identity(bytes([200]) * 32)


def gives(author: Identity, number: int = 1, state: State = STATE) -> Operation:
    to = next(account.node for account in state.accounts if account.node != author.node_id)
    return Operation("transfer", (seal(Transfer(state.chain, state.round, number, to, Amount(1)), author).envelope,))


def held(*operations: Operation) -> OperationHandler:
    handler = OperationHandler(OperationPool(), lambda _: True)
    for operation in operations:
        handler.said(STATE, operation)
    return handler


def closed(handler: OperationHandler, round_: int, *, syncing: bool = False) -> list[Effect]:
    return handler.closed(replace(STATE, round=Round(round_)), MINE.node_id, syncing=syncing)


def test_an_author_is_told_when_its_operation_has_run_out() -> None:
    handler = held(gives(MINE), gives(OTHER))
    assert closed(handler, OPERATION_ROUNDS) == []
    (told,) = closed(handler, OPERATION_ROUNDS + 1)
    assert isinstance(told, Notice)
    assert told.type is EventKind.OPERATION_EXPIRED
    assert f"no block has carried it, and none does after round {OPERATION_ROUNDS}" in told.text
    assert len(handler.pool) == 0
    assert closed(handler, OPERATION_ROUNDS + 2) == [], "once"


def test_what_was_carried_in_time_is_told_to_nobody() -> None:
    handler = held(gives(MINE))
    accounts = tuple(replace(one, operations=1) if one.node == MINE.node_id else one for one in STATE.accounts)
    assert handler.closed(replace(STATE, round=Round(999), accounts=accounts), MINE.node_id, syncing=False) == []


def test_what_waits_is_kept_under_each_round_that_a_catch_up_closes() -> None:
    handler = held(gives(MINE))
    assert closed(handler, 1, syncing=True) == [Persist((OperationRecord(Round(1), gives(MINE)),))]


def test_a_node_killed_while_it_catches_up_still_has_what_it_signed() -> None:
    """Given a node that signed an operation, was cut off, and takes over a segment of the others, when it is killed before it is done,
    then it knows its operation when it is back, and signs no other in its place."""
    world = a_world()
    reach(world, 1, 60_000)
    node = min(world.cores)
    world.drop = lambda sender, receiver, _now: node in (sender, receiver)
    waits = gives(world.identities[node], 2, world.disks[node].head.state)
    world.feed(node, OperationSaid(waits))
    first = world.round_of(node)
    others = [other for other in world.cores if other != node]
    assert world.run_until(lambda: min(world.round_of(other) for other in others) > first + 2, 400_000)
    assert world.round_of(node) == first
    world.feed(node, SyncChanged(active=True))
    world.feed(node, SegmentFetched(world.disks[others[0]].segments[first + 1], others[0]))
    assert world.round_of(node) == first + 1
    world.kill(node)
    world.start(node)
    assert operation_id(waits) in pool_of(world.cores[node])


# -- what names a later round -------------------------------------------------------------------------------------------------


def heard(world: World, message: Any) -> list[Effect]:
    node, peer = sorted(world.cores)[:2]
    return world.cores[node].handle(MessageReceived(message, peer), world.instant())


def leaves(world: World, who: Identity, ahead: int, signer: Identity | None = None) -> Operation:
    state = next(iter(world.cores.values())).context.state
    envelope = seal(Leave(state.chain, Round(state.round + ahead), 1), signer or who).envelope
    return Operation("leave", (replace(envelope, author=who.node_id),))


def test_a_members_word_of_a_later_round_is_asked_about() -> None:
    world = a_world()
    member = world.identities[sorted(world.cores)[3]]
    (asked,) = heard(world, leaves(world, member, OPERATION_ROUNDS))
    assert isinstance(asked, CatchUp)
    assert asked.round == OPERATION_ROUNDS


@pytest.mark.parametrize("ahead", [1, OPERATION_ROUNDS, 2**40])
def test_a_strangers_word_of_a_later_round_is_nothing(ahead: int) -> None:
    """Given an operation and an application of later rounds, signed by a key that nobody knows, then no peer is asked or blamed."""
    world = a_world()
    state = next(iter(world.cores.values())).context.state
    assert heard(world, leaves(world, STRANGER, ahead)) == []
    applies = seal(Application(state.chain, Round(state.round + ahead), ""), STRANGER).envelope
    assert heard(world, Operation("apply", (applies,))) == []


def test_a_round_that_is_far_away_starts_nothing_whoever_signed_it() -> None:
    world = a_world()
    member = world.identities[sorted(world.cores)[3]]
    assert heard(world, leaves(world, member, OPERATION_ROUNDS + 1)) == []


def test_who_brings_a_later_round_in_a_members_name_that_it_did_not_sign_is_to_blame() -> None:
    world = a_world()
    member = world.identities[sorted(world.cores)[3]]
    (blame,) = heard(world, leaves(world, member, 5, signer=STRANGER))
    assert isinstance(blame, Blame)
    assert blame.rejection is Rejection.BAD_SIGNATURE


def test_a_recovery_of_a_later_round_needs_a_managers_signature() -> None:
    world = a_world()
    context = next(iter(world.cores.values())).context
    recovery = Recovery(context.state.chain, Round(7), Epoch(1), context.head_hash, context.committee, (), None)
    manager = world.identities[context.state.managers[0]]

    def of(signer: Identity) -> RecoveryCertificate:
        return RecoveryCertificate(recovery, None, ((manager.node_id, seal(recovery, signer).envelope.signature),))

    assert heard(world, of(STRANGER)) == []
    (asked,) = heard(world, of(manager))
    assert isinstance(asked, CatchUp)
