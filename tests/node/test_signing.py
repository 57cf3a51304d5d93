"""What an operator has its node sign: for whom, in which words, and what it refuses."""

from dataclasses import replace
from typing import Any

import pytest

from bflcd.api.schema.alliance import OperationRequest
from bflcd.errors import OperatorError, UsageError
from bflcd.ledger.operations.application import apply_operations
from bflcd.ledger.operations.motion import motion_id
from bflcd.ledger.state import State
from bflcd.node.alliance.service import AllianceService
from bflcd.node.views.kicked import kick_warnings
from bflcd.types import Amount, Round
from bflcd.wire.alliance import Admit, Kick, Leave
from bflcd.wire.envelope import open_envelope, seal
from bflcd.wire.operation import Operation
from tests.helpers.alliance import (
    CHAIN,
    IDENTITIES,
    MANAGERS,
    MEMBER,
    STATE,
    STRANGER,
    Core,
    asks,
    context_of,
)


def signer(core: Core, who: Any = MANAGERS[0]) -> AllianceService:
    keys: Any = lambda _: STRANGER  # noqa: E731
    return AllianceService(core, who, core.say, lambda: None, models=None, coming=keys)  # type: ignore[arg-type, return-value]


async def test_a_managers_node_signs_and_shows_what_waits() -> None:
    core = Core(STATE, MANAGERS[0].node_id)
    view = await signer(core).sign(asks("admit", node=STRANGER.node_id.hex()))
    (operation,) = core.waiting
    body: Admit = open_envelope(operation.signed[0], (Admit,)).body
    assert (view.kind, view.number, body.node, body.number) == ("admit", 1, STRANGER.node_id, 1)
    assert [one.id for one in signer(core).view().waiting] == [view.id]
    with pytest.raises(OperatorError, match="another operation of this node waits"):
        await signer(core).sign(asks("kick", node=MEMBER.node_id.hex()))


async def test_a_known_id_may_be_shortened() -> None:
    core = Core(STATE, MEMBER.node_id)
    view = await signer(core, MEMBER).sign(asks("transfer", node=MANAGERS[0].node_id.hex()[:12].upper(), amount=Amount(5)))
    assert "gives 5 to" in view.text


async def test_one_more_manager_approves_by_the_motions_id() -> None:
    kick = Kick(CHAIN, Round(0), 1, MEMBER.node_id, "it copies")
    state = apply_operations(STATE, [Operation("kick", (seal(kick, MANAGERS[0]).envelope,))])
    (motion,) = state.motions
    core = Core(state, MANAGERS[1].node_id)
    shown = signer(core, MANAGERS[1]).view()
    assert [(one.kind, one.node_id, one.text, one.needed) for one in shown.motions] == [
        ("kick", MEMBER.node_id.hex(), "it copies", 3)
    ]
    view = await signer(core, MANAGERS[1]).sign(asks("approve", motion=motion_id(motion.kind, motion.content).hex()[:8]))
    assert (view.kind, view.number) == ("kick", 1)
    assert apply_operations(state, core.waiting).motions[0].approvals == tuple(sorted(one.node_id for one in MANAGERS[:2]))


def proposing(*reasons: str) -> State:
    """One manager for each reason wants to put the same member out."""
    kicks = [Kick(CHAIN, Round(0), 1, MEMBER.node_id, reason) for reason in reasons]
    signed = [seal(kick, manager).envelope for kick, manager in zip(kicks, MANAGERS, strict=False)]
    return apply_operations(STATE, [Operation("kick", (envelope,)) for envelope in signed])


@pytest.mark.parametrize(
    ("reason", "motions"),
    [("", [("it copies", 2)]), ("it copies", [("it copies", 2)]), ("it lies", [("it copies", 1), ("it lies", 1)])],
)
async def test_who_gives_no_reason_is_for_the_motion_that_is_open(reason: str, motions: list[tuple[str, int]]) -> None:
    core = Core(proposing("it copies"), MANAGERS[2].node_id)
    await signer(core, MANAGERS[2]).sign(asks("kick", node=MEMBER.node_id.hex(), reason=reason))
    after = Core(apply_operations(core.context.state, core.waiting), MANAGERS[2].node_id)
    shown = signer(after, MANAGERS[2]).view().motions
    assert sorted((one.text, len(one.approvals)) for one in shown) == motions


def test_a_member_is_told_of_managers_that_want_it_out_and_when_they_are_enough() -> None:
    """Given managers that kick a member one after the other, then its own status counts them, those too that no block has carried."""
    kick = Kick(CHAIN, Round(0), 1, MEMBER.node_id, "it copies")
    signed = [Operation("kick", (seal(kick, one).envelope,)) for one in MANAGERS[:3]]
    state = apply_operations(STATE, signed[:1])
    of_member, of_other = context_of(state, MEMBER.node_id), context_of(state, IDENTITIES[8].node_id)
    told = "managers have signed that this node is put out: it copies"
    out = "; with the block that carries it, it is no member any more, and nobody connects to it"
    assert kick_warnings(of_member, []) == [f"1 of 3 {told}"]
    assert kick_warnings(of_member, signed[1:2]) == [f"2 of 3 {told}"]
    assert kick_warnings(of_member, signed) == [f"3 of 3 {told}{out}"]
    stranger = Operation("kick", (seal(kick, STRANGER).envelope,))
    assert kick_warnings(of_member, [stranger]) == [f"1 of 3 {told}"], "a manager's word counts, nobody else's"
    assert kick_warnings(context_of(STATE, MEMBER.node_id), [stranger]) == []
    assert kick_warnings(of_other, signed) == []


async def test_which_of_two_open_motions_is_meant_has_to_be_said() -> None:
    core = Core(proposing("it copies", "it lies"), MANAGERS[2].node_id)
    with pytest.raises(UsageError, match="kick: 2 motions do this, each for a reason of its own") as caught:
        await signer(core, MANAGERS[2]).sign(asks("kick", node=MEMBER.node_id.hex()))
    assert "approve MOTION" in caught.value.hint
    await signer(core, MANAGERS[2]).sign(asks("kick", node=IDENTITIES[8].node_id.hex()))
    body: Kick = open_envelope(core.waiting[0].signed[0], (Kick,)).body
    assert (body.node, body.reason) == (IDENTITIES[8].node_id, ""), "a motion about somebody else is none about this one"


async def test_managers_sign_who_manages_and_what_is_set_and_see_it() -> None:
    for request, words in (
        (asks("appoint", node=MEMBER.node_id.hex()), "appoints"),
        (asks("dismiss", node=MANAGERS[1].node_id.hex(), reason="it sleeps"), "it sleeps"),
        (asks("set", name="score_rows", value=64), "sets score_rows to 64"),
    ):
        core = Core(STATE, MANAGERS[0].node_id)
        view = await signer(core).sign(request)
        assert words in view.text
        assert view.expires == 100
        state = apply_operations(STATE, core.waiting)
        (shown,) = signer(Core(state, MANAGERS[1].node_id), MANAGERS[1]).view().motions
        assert (shown.kind, shown.needed) == (request.kind, 3)
    assert (shown.node_id, shown.text) == ("", "score_rows = 64")
    done = replace(STATE, changed=(("score_rows", 64),), terms=replace(STATE.terms, admission=2))
    assert signer(Core(done, MANAGERS[0].node_id)).view().changed == {"admission": 2, "score_rows": 64}


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (asks("admit"), "admit needs a node"),
        (asks("admit", node="zz" * 32), "is no id of 64 hexadecimal digits"),
        (asks("admit", node="ab"), "at least 4 digits"),
        (asks("kick", node="ffffffff"), "none is known that begins with ffffffff"),
        (asks("kick", node=MEMBER.node_id.hex(), reason="a\nb"), "can't be printed"),
        (asks("kick", node=MEMBER.node_id.hex(), reason="ä" * 200), "400 bytes, at most 256"),
        (asks("transfer", node=MEMBER.node_id.hex()), "an amount of at least 1"),
        (asks("set", name="places", value=9), "'places' can't be set"),
        (asks("appoint"), "appoint needs a node"),
        (asks("approve", motion="abcd"), "none is known that begins with abcd"),
    ],
)
async def test_what_means_nothing_is_refused(request_: OperationRequest, why: str) -> None:
    core = Core(STATE, MANAGERS[0].node_id)
    with pytest.raises(UsageError, match=why):
        await signer(core).sign(request_)
    assert core.waiting == []


@pytest.mark.parametrize(
    ("core", "who", "code"),
    [
        (Core(STATE, MEMBER.node_id), MEMBER, "refused"),
        (Core(STATE, MANAGERS[0].node_id, syncing=True), MANAGERS[0], "syncing"),
        (Core(STATE, MANAGERS[0].node_id, started=False), MANAGERS[0], "syncing"),
        (Core(STATE, MANAGERS[0].node_id, full=True), MANAGERS[0], "full"),
    ],
)
async def test_what_no_block_could_carry_is_not_signed(core: Core, who: Any, code: str) -> None:
    with pytest.raises(OperatorError) as caught:
        await signer(core, who).sign(asks("admit", node=STRANGER.node_id.hex()))
    assert caught.value.code == code
    assert core.waiting == []


async def test_a_member_names_its_heir_as_it_leaves() -> None:
    heir = next(account.node for account in STATE.accounts if account.node not in {*STATE.managers, MEMBER.node_id})
    core = Core(STATE, MEMBER.node_id)
    view = await signer(core, MEMBER).sign(asks("leave", node=heir.hex()))
    (operation,) = core.waiting
    body: Leave = open_envelope(operation.signed[0], (Leave,)).body
    assert (body.heir, f"what it has is for {heir.hex()[:8]}" in view.text) == (heir, True)
    state = apply_operations(STATE, [operation])
    shown = {one.node_id: one.heir for one in signer(Core(state, MANAGERS[0].node_id)).view().former}
    assert shown == {MEMBER.node_id.hex(): heir.hex()}
    alone = Core(STATE, MEMBER.node_id)
    await signer(alone, MEMBER).sign(asks("leave"))
    assert open_envelope(alone.waiting[0].signed[0], (Leave,)).body.heir is None
