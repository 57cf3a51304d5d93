"""A newcomer's way to its admission, how a member learns that it is none, and what members tell."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bflcd.core.events import OperationSaid
from bflcd.core.node_events import EventKind
from bflcd.errors import PeerError, Rejection, RequestError
from bflcd.ledger.alliance.membership import Membership, membership_of
from bflcd.ledger.operations.application import apply_operations
from bflcd.ledger.state import State, account_of, with_accounts
from bflcd.node.alliance import newcomer as newcomer_module
from bflcd.node.alliance import watch
from bflcd.node.alliance.belonging import Belonging
from bflcd.node.anew import ExcludedError
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.node.services import ChainService
from bflcd.store.memory import MemoryStore
from bflcd.types import Digest, NodeId, Round
from bflcd.wire.alliance import Application, Leave
from bflcd.wire.envelope import open_envelope, seal
from bflcd.wire.operation import Operation
from bflcd.wire.requests import GetMembership
from tests.helpers.alliance import (
    CHAIN,
    MANAGERS,
    MEMBER,
    STATE,
    STRANGER,
    Core,
    Members,
    Newcomers,
    context_of,
    watched,
)

# -- the newcomer -------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomer_module, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(watch, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(watch, "LEAST_PAUSE", 0.0)


async def once(newcomers: Newcomers, until: Any) -> None:
    """Let it ask until something holds."""
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(newcomers.node.until_admitted())
        while not until():
            await asyncio.sleep(0)
        task.cancel()


async def test_it_applies_where_it_is_unknown_and_goes_on_when_it_is_admitted() -> None:
    members = Members([Membership.UNKNOWN, Membership.APPLIED, Membership.APPLIED, Membership.MEMBER])
    seen = Newcomers(members)
    async with asyncio.timeout(10):
        await seen.node.until_admitted()
    (application,) = [request.application for request in members.asked if request.application is not None]
    body: Application = open_envelope(application.signed[0], (Application,)).body
    assert (application.author, body.chain, body.round, body.note) == (STRANGER.node_id, CHAIN, 7, "a ward's machine")
    assert [kind for kind, _ in seen.told] == [EventKind.NOT_MEMBER_YET, EventKind.ADMITTED]
    assert f"bflc-cli admit {STRANGER.node_id.hex()}" in seen.told[0][1]
    assert seen.held == ""


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ({}, "is no member, and no member is connected to apply to"),
        ({"left_round": 3}, "is no member, and no member is connected to apply to"),
        (
            {"kicked_round": 4},
            "is no member: it was put out in round 4, and no member answers; only a quorum of managers can take it back",
        ),
    ],
)
async def test_who_is_barred_says_what_its_own_ledger_says(account: dict[str, int], words: str) -> None:
    """Given a node to which nobody connects, then it says that it was put out if it knows, and not that it could apply."""
    own = replace(account_of(STATE, MEMBER.node_id), **account)  # type: ignore[type-var, arg-type]
    state = with_accounts(STATE, own) if account else STATE
    seen = Newcomers(Members(), own=membership_of(state, MEMBER.node_id))
    await once(seen, lambda: seen.held)
    assert seen.held.endswith(words)


async def test_one_member_that_lies_admits_nobody() -> None:
    """Given three members, one of whom says that the newcomer is a member, then it goes on waiting."""
    members = Members([Membership.MEMBER], [Membership.APPLIED], [Membership.APPLIED])
    await once(Newcomers(members), lambda: len(members.asked) > 9)
    assert all(request.application is None for request in members.asked)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((Membership.REFUSED, "unknown to us"), ["a manager has refused its application: unknown to us", "bflc-cli admit"]),
        ((Membership.KICKED, "it was put out in round 4"), ["it was put out in round 4", "only a quorum of managers"]),
        ((Membership.LEFT, "it left in round 3"), ["it left in round 3", "bflc-cli admit"]),
        (("dormant", ""), ["it is called dormant", "bflc-cli admit"]),
    ],
)
async def test_its_operator_reads_why_it_waits(answer: tuple[str, str], words: list[str]) -> None:
    members = Members([answer])
    seen = Newcomers(members)
    await once(seen, lambda: len(members.asked) > 2)
    assert all(word in seen.held for word in words), seen.held
    assert len(seen.told) == 1, "said once"
    assert all(request.application is None for request in members.asked), "only who is unknown applies"


async def test_nobody_connected_or_none_that_answers_is_told_too() -> None:
    alone = Newcomers(Members())
    await once(alone, lambda: alone.held)
    assert "no member is connected" in alone.held
    mute = Members([RequestError("gone")], [PeerError(Rejection.BUSY, "later")])
    seen = Newcomers(mute)
    await once(seen, lambda: len(mute.asked) > 3)
    assert "no member is connected" in seen.held


async def test_who_was_told_not_to_apply_does_not() -> None:
    members = Members([Membership.UNKNOWN])
    seen = Newcomers(members, applies=False)
    await once(seen, lambda: len(members.asked) > 2)
    assert all(request.application is None for request in members.asked)
    assert "it has not applied" in seen.held


# -- a member that was put out ------------------------------------------------------------------------------------------------


async def test_who_hears_nothing_asks_and_learns_that_it_is_out() -> None:
    members = Members([Membership.MEMBER, (Membership.KICKED, "it was put out in round 4")])
    with pytest.raises(ExcludedError, match="no member any more: it was put out in round 4"):
        await watched(members, 5)
    assert len(members.asked) == 2


async def test_who_is_refused_as_a_stranger_asks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a member that left by a block that did not reach it, when a peer refuses it as a stranger, then it asks, however
    long it would have waited; as long as nobody does, it waits."""
    monkeypatch.setattr(watch, "FIRST_PAUSE", 3600.0)
    members = Members([(Membership.LEFT, "it left in round 4")])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await watched(members, 5)
    assert members.asked == []
    members.taken_for_stranger.set()
    with pytest.raises(ExcludedError, match="it left in round 4"):
        await watched(members, 5)


async def test_one_peer_that_calls_a_member_a_stranger_again_and_again_makes_it_ask_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given a liar that refuses every request, when no round closes for long, then each early question waits twice as long as the
    one before, as the others do; a round that closes begins anew."""
    monkeypatch.setattr(watch, "FIRST_PAUSE", 10.0)
    monkeypatch.setattr(watch, "LEAST_PAUSE", 2.0)
    waits: list[tuple[float, float]] = []

    async def noted(least: float, most: float, _: asyncio.Event) -> None:
        waits.append((least, most))
        if len(waits) == 6:
            raise asyncio.CancelledError

    monkeypatch.setattr(watch, "_pause", noted)
    with pytest.raises(asyncio.CancelledError):
        await watched(Members([Membership.MEMBER]), 5, 5, 5, 5, 6, 6)
    assert waits == [(2, 10), (4, 20), (8, 40), (16, 80), (2, 10), (4, 20)]


async def test_as_long_as_rounds_close_nobody_is_asked() -> None:
    members = Members([(Membership.LEFT, "")])
    with pytest.raises(ExcludedError):
        await watched(members, 1, 2, 2, 3, 3, 4)
    assert len(members.asked) == 1


async def test_who_was_punished_is_connected_still_and_follows() -> None:
    """Given a member that was proved to have lied, when it hears of no round, then it goes on; put out as well, it stops."""
    lied = with_accounts(STATE, replace(account_of(STATE, MEMBER.node_id), punished_round=Round(0)))  # type: ignore[type-var]
    standing, text = membership_of(lied, MEMBER.node_id)
    assert (standing, text) == (Membership.PUNISHED, "it was punished in round 0")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await watched(Members([(standing, text)]), 5)
    kicked = with_accounts(lied, replace(account_of(lied, MEMBER.node_id), kicked_round=Round(3)))  # type: ignore[type-var]
    with pytest.raises(ExcludedError, match="it was put out in round 3"):
        await watched(Members([membership_of(kicked, MEMBER.node_id)]), 5)
    async with asyncio.timeout(10):
        await Newcomers(Members([(standing, text)])).node.until_admitted()


async def test_neither_one_liar_nor_who_is_behind_puts_a_member_out() -> None:
    liar = Members([(Membership.KICKED, "")], [Membership.MEMBER])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await watched(liar, 5)
    behind = Members([(Membership.UNKNOWN, "")])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await watched(behind, 8)
    assert len(behind.asked) > 1


async def test_one_that_lies_fast_puts_nobody_out_while_all_others_are_slow() -> None:
    """Given members that do not answer in time, and one that says at once that this node is none, then it stays."""
    slow = Members([(Membership.KICKED, "")], [RequestError("too late")], [RequestError("too late")])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await watched(slow, 5)


async def test_liars_that_connect_first_are_not_all_that_is_asked() -> None:
    """Given eight liars that are connected the longest, and nine honest members, then this node stays."""
    liars = Members(*[[(Membership.KICKED, "")]] * 8, *[[Membership.MEMBER]] * 9)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await watched(liars, 5)
    assert len(liars.asked) >= 17


def test_who_is_put_out_after_it_had_left_loses_its_connection() -> None:
    """Given a former member that is connected as a stranger, when a block puts it out, then its connection ends; nobody else's does."""
    node = MEMBER.node_id

    def ledger(**changes: int) -> State:
        return replace(STATE, accounts=tuple(replace(one, **changes) if one.node == node else one for one in STATE.accounts))  # type: ignore[arg-type]

    dropped: list[NodeId] = []
    peers = SimpleNamespace(drop=dropped.append, members=tuple)
    core = SimpleNamespace(context=context_of(ledger(left_round=3), MANAGERS[0].node_id))
    belonging = Belonging(core, MANAGERS[0], peers, Members(), tell=lambda *_: None, held=lambda _: None)  # type: ignore[arg-type]
    belonging.closed(ledger(left_round=3))
    assert dropped == []
    for _ in range(2):
        belonging.closed(ledger(left_round=3, kicked_round=5))
    assert dropped == [node]


# -- what members tell --------------------------------------------------------------------------------------------------------


class Said:
    """Operations that a core was given."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    async def __call__(self, event: OperationSaid) -> None:
        self.operations.append(event.operation)


def service_of(state: State, said: Said, *, started: bool = True, syncing: bool = False) -> Any:
    core = Core(state, MEMBER.node_id, started=started, syncing=syncing)
    service = ChainService(core, MemoryStore(), Unpublished((), Round(0)), said, lambda: None)  # type: ignore[arg-type, return-value]
    return service.handlers()[GetMembership]


def application_of(who: Any = STRANGER, round_: int = 0) -> Operation:
    return Operation("apply", (seal(Application(CHAIN, Round(round_), ""), who).envelope,))


async def test_a_stranger_hands_in_its_application_and_hears_who_decides() -> None:
    said = Said()
    reply = await service_of(STATE, said)(STRANGER.node_id, GetMembership(CHAIN, application_of()))
    assert (reply.standing, reply.managers, reply.needed) == ("applied", STATE.managers, 1)
    assert said.operations == [application_of()]


async def test_members_and_strangers_hear_how_they_stand() -> None:
    ask = service_of(STATE, Said())
    assert (await ask(MEMBER.node_id, GetMembership(CHAIN, None))).standing == "member"
    assert (await ask(STRANGER.node_id, GetMembership(CHAIN, None))).standing == "unknown"


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (application_of(MEMBER), "apply or join by a voucher for itself"),
        (Operation("leave", (seal(Leave(CHAIN, Round(0), 1), STRANGER).envelope,)), "apply or join by a voucher for itself"),
        (application_of(round_=5), "it is of round 5, we are in round 0"),
    ],
)
async def test_a_stranger_hands_in_nothing_else(operation: Operation, why: str) -> None:
    said = Said()
    with pytest.raises(PeerError, match=why):
        await service_of(STATE, said)(STRANGER.node_id, GetMembership(CHAIN, operation))
    assert said.operations == []


@pytest.mark.parametrize("changes", [{"started": False}, {"syncing": True}], ids=["not a member yet", "catching up"])
async def test_who_has_no_rounds_that_run_takes_no_application(changes: Any) -> None:
    """Given a node that waits to be admitted itself, or catches up, when a stranger hands it an application, then it answers at once."""
    said = Said()
    reply = await service_of(STATE, said, **changes)(STRANGER.node_id, GetMembership(CHAIN, application_of()))
    assert (reply.standing, said.operations) == ("unknown", [])


def test_every_standing_has_its_words() -> None:
    assert membership_of(STATE, MEMBER.node_id) == (Membership.MEMBER, "")
    assert membership_of(STATE, Digest(bytes(32))) == (Membership.UNKNOWN, "")  # type: ignore[arg-type]
    applied = apply_operations(STATE, [application_of()])
    assert membership_of(applied, STRANGER.node_id)[0] is Membership.APPLIED
