"""Vouchers at a node: its operator vouches and approves, a newcomer joins by the one of its invitation, a member takes that in."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import write_key
from bflcd.errors import OperatorError, PeerError, Rejection, UsageError
from bflcd.ledger.alliance.membership import Membership
from bflcd.ledger.operations.application import apply_operations
from bflcd.ledger.operations.vouching import JOIN, VOUCH
from bflcd.ledger.state import State, Voucher
from bflcd.params import Terms
from bflcd.setup.datadir import DataDir
from bflcd.setup.keyring import KeyRing
from bflcd.types import Round, Signature
from bflcd.wire.alliance import Join
from bflcd.wire.envelope import seal
from bflcd.wire.operation import Operation
from bflcd.wire.requests import GetMembership
from tests.helpers.alliance import CHAIN, MANAGERS, MEMBER, STATE, STRANGER, Core, Members, Newcomers, asks
from tests.node.test_alliance import Said, once, service_of
from tests.node.test_signing import signer

VOUCHER = Identity(bytes([201]) * 32)
OPEN = replace(STATE, vouchers=(Voucher(VOUCHER.node_id, Round(9), (MANAGERS[0].node_id,)),))


def join_of(who: Identity = STRANGER) -> Operation:
    body = Join(CHAIN, Round(0), who.node_id, VOUCHER.node_id)
    return Operation("join", (seal(body, who).envelope, seal(body, VOUCHER).envelope))


def handed_in(members: Members) -> list[str]:
    return [request.application.kind for request in members.asked if request.application is not None]


# -- the operator -------------------------------------------------------------------------------------------------------------


async def test_a_manager_vouches_and_another_approves_by_the_beginning_of_the_key() -> None:
    core = Core(STATE, MANAGERS[0].node_id)
    view = await signer(core, MANAGERS[0]).sign(asks("vouch", node=VOUCHER.node_id.hex(), round=9))
    (operation,) = core.waiting
    body = VOUCH.body(operation)
    assert (view.kind, body.node, body.until, body.number) == ("vouch", VOUCHER.node_id, 9, 1)
    two = replace(apply_operations(STATE, [operation]), round=Round(1), terms=Terms(admission=2))
    (shown,) = signer(Core(two, MANAGERS[1].node_id), MANAGERS[1]).view().vouchers
    assert (shown.key, shown.approvals, shown.needed, shown.until) == (VOUCHER.node_id.hex(), [MANAGERS[0].node_id.hex()], 2, 9)
    second = Core(two, MANAGERS[1].node_id)
    await signer(second, MANAGERS[1]).sign(asks("approve", motion=VOUCHER.node_id.hex()[:8]))
    both = apply_operations(two, second.waiting)
    assert set(both.vouchers[0].approvals) == {one.node_id for one in MANAGERS[:2]}


async def test_what_a_manager_can_not_vouch_for_is_said() -> None:
    sign = signer(Core(OPEN, MANAGERS[0].node_id), MANAGERS[0]).sign
    with pytest.raises(UsageError, match="needs the last round"):
        await sign(asks("vouch", node=VOUCHER.node_id.hex()))
    with pytest.raises(OperatorError, match="is open already"):
        await sign(asks("vouch", node=VOUCHER.node_id.hex(), round=8))
    with pytest.raises(OperatorError, match="is no manager"):
        await signer(Core(OPEN, MEMBER.node_id), MEMBER).sign(asks("vouch", node="ab" * 32, round=8))


async def test_a_voucher_is_withdrawn_by_the_beginning_of_its_key() -> None:
    core = Core(OPEN, MANAGERS[1].node_id)
    await signer(core, MANAGERS[1]).sign(asks("refuse", node=VOUCHER.node_id.hex()[:8]))
    assert apply_operations(OPEN, core.waiting).vouchers == ()


# -- the newcomer -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("standing", [Membership.UNKNOWN, Membership.APPLIED, Membership.REFUSED])
async def test_it_joins_by_its_voucher(standing: Membership) -> None:
    members = Members([standing, Membership.APPLIED, Membership.MEMBER])
    async with asyncio.timeout(10):
        await Newcomers(members, voucher=VOUCHER).node.until_admitted()
    (operation,) = [request.application for request in members.asked if request.application is not None]
    assert (JOIN.body(operation), operation.author) == (
        Join(CHAIN, Round(7), STRANGER.node_id, VOUCHER.node_id),
        STRANGER.node_id,
    )


async def test_where_its_voucher_is_refused_it_applies() -> None:
    """Given members who refuse the voucher, then the newcomer applies to each, and shows the voucher again as long as it waits."""
    refused = PeerError(Rejection.BAD_OPERATION, "join: there is no voucher")
    members = Members([Membership.UNKNOWN, refused, Membership.APPLIED])
    await once(Newcomers(members, voucher=VOUCHER), lambda: len(members.asked) > 4)
    assert handed_in(members)[:3] == ["join", "apply", "join"]


@pytest.mark.parametrize("standing", [Membership.LEFT, Membership.KICKED, Membership.REPLACED])
async def test_who_was_a_member_shows_no_voucher(standing: Membership) -> None:
    members = Members([standing])
    await once(Newcomers(members, voucher=VOUCHER), lambda: len(members.asked) > 2)
    assert handed_in(members) == []


async def test_who_was_told_not_to_apply_does_not_join_either() -> None:
    members = Members([Membership.UNKNOWN])
    await once(Newcomers(members, voucher=VOUCHER, applies=False), lambda: len(members.asked) > 2)
    assert handed_in(members) == []


def test_the_voucher_is_read_where_init_has_put_it(tmp_path: Any) -> None:
    place = DataDir(tmp_path)
    write_key(place.key, STRANGER)
    ring = KeyRing(place, None)
    assert ring.voucher() is None
    write_key(place.voucher, VOUCHER)
    found = ring.voucher()
    assert found is not None
    assert (found.node_id, ring.has_others(STATE)) == (VOUCHER.node_id, False)


# -- the member that is asked -------------------------------------------------------------------------------------------------


async def test_a_stranger_hands_in_its_voucher() -> None:
    said = Said()
    reply = await service_of(OPEN, said)(STRANGER.node_id, GetMembership(CHAIN, join_of()))
    assert (reply.standing, reply.text) == ("applied", "what it joins by waits for its block")
    assert said.operations == [join_of()]


@pytest.mark.parametrize(
    ("state", "operation", "why"),
    [(OPEN, join_of(MANAGERS[1]), "for itself"), (STATE, join_of(), "there is no voucher")],
    ids=["another's", "used up"],
)
async def test_a_voucher_of_another_or_a_used_one_is_refused(state: State, operation: Operation, why: str) -> None:
    said = Said()
    with pytest.raises(PeerError, match=why):
        await service_of(state, said)(STRANGER.node_id, GetMembership(CHAIN, operation))
    assert said.operations == []


# -- a hostile reader ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forged", [0, 1], ids=["the newcomer's", "the voucher's"])
async def test_a_stranger_with_a_forged_signature_is_not_told_that_it_waits(forged: int) -> None:
    """Given the key of an open voucher, which every member knows, and a signature that is none, then the stranger is refused, and
    nothing of it reaches the core, where each would be a line of the operator's history."""
    signed = list(join_of().signed)
    signed[forged] = replace(signed[forged], signature=Signature(bytes(64)))
    said = Said()
    with pytest.raises(PeerError):
        await service_of(OPEN, said)(STRANGER.node_id, GetMembership(CHAIN, Operation("join", tuple(signed))))
    assert said.operations == []
