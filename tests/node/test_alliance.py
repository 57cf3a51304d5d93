"""A newcomer's way to its admission, what members tell it, and what an operator has its node sign."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bflcd.api.schema.alliance import OperationRequest
from bflcd.core.events import OperationSaid
from bflcd.core.node_events import EventKind
from bflcd.core.records import Head
from bflcd.core.round.context import RoundContext
from bflcd.errors import OperatorError, PeerError, Rejection, RequestError, UsageError
from bflcd.ledger.alliance.membership import Membership, membership_of
from bflcd.ledger.operations.application import apply_operations
from bflcd.ledger.operations.motion import motion_id
from bflcd.ledger.state import State, account_of, genesis_header, genesis_state, with_accounts
from bflcd.node.alliance import newcomer as newcomer_module
from bflcd.node.alliance import watch
from bflcd.node.alliance.belonging import Belonging
from bflcd.node.alliance.newcomer import Newcomer, Patience
from bflcd.node.alliance.poll import MembershipPoll
from bflcd.node.alliance.service import AllianceService
from bflcd.node.anew import ExcludedError
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.node.services import ChainService
from bflcd.node.views.kicked import kick_warnings
from bflcd.store.memory import MemoryStore
from bflcd.types import Amount, Digest, NodeId, Round
from bflcd.wire.alliance import Admit, Application, Kick, Leave
from bflcd.wire.blocks import header_hash
from bflcd.wire.envelope import open_envelope, seal
from bflcd.wire.operation import Operation
from bflcd.wire.requests import GetMembership, MembershipReply
from tests.helpers.ledger import make_genesis, make_identities

GENESIS, IDENTITIES = make_genesis()
HEADER, STATE = genesis_header(GENESIS), genesis_state(GENESIS)
STATE_MEMBERS = {account.node for account in STATE.accounts}
MANAGERS, MEMBER = IDENTITIES[:4], IDENTITIES[9]
STRANGER = next(one for one in make_identities(11) if one.node_id not in STATE_MEMBERS)
CHAIN = STATE.chain


def context_of(state: State, me: NodeId) -> RoundContext:
    return RoundContext(GENESIS, Head(HEADER, header_hash(HEADER), state), me)


# -- the newcomer -------------------------------------------------------------------------------------------------------------


class Members:
    """What each member answers, in turn; the last answer stays."""

    def __init__(self, *answers: list[Any]) -> None:
        self.nodes = [NodeId(bytes([number]) * 32) for number in range(len(answers))]
        self.answers = dict(zip(self.nodes, map(list, answers), strict=True))
        self.asked: list[GetMembership] = []
        self.taken_for_stranger = asyncio.Event()

    async def ask(self, peer: NodeId, request: GetMembership, *, deadline: float) -> MembershipReply:
        assert deadline > 0
        self.asked.append(request)
        answers = self.answers[peer]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        standing, text = answer if isinstance(answer, tuple) else (answer, "")
        return MembershipReply(Round(7), str(standing), text, STATE.managers, 1)


class Newcomers:
    """A newcomer, and what it tells."""

    def __init__(
        self,
        members: Members,
        *,
        applies: bool = True,
        patience: Patience | None = None,
        own: tuple[Membership, str] = (Membership.UNKNOWN, ""),
    ) -> None:
        self.told: list[tuple[EventKind, str]] = []
        self.held = ""
        self.node = Newcomer(
            STRANGER,
            CHAIN,
            MembershipPoll(CHAIN, members, lambda: members.nodes),
            applies=applies,
            note="a ward's machine",
            tell=lambda kind, _round, text: self.told.append((kind, text)),
            held=self.hold,
            patience=patience,
            own=own,
        )

    def hold(self, text: str) -> None:
        self.held = text


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


async def watched(members: Members, *rounds: int) -> None:
    """A member in the last of `rounds`, once it has passed through the others."""
    left = list(rounds)

    def round_of() -> Round:
        return Round(left.pop(0) if len(left) > 1 else left[0])

    poll = MembershipPoll(CHAIN, members, lambda: members.nodes)
    async with asyncio.timeout(10):
        await watch.watch_membership(STRANGER.node_id, poll, round_of, members.taken_for_stranger)


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
        (application_of(MEMBER), "its own application"),
        (Operation("leave", (seal(Leave(CHAIN, Round(0), 1), STRANGER).envelope,)), "its own application"),
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


# -- what an operator signs ---------------------------------------------------------------------------------------------------


class Core:
    """Keeps what it is given, and shows it."""

    def __init__(self, state: State, me: NodeId, *, full: bool = False, **changes: Any) -> None:
        self.waiting: list[Operation] = []
        self.full = full
        self.context = context_of(state, me)
        self.fields = {
            "context": self.context,
            "syncing": False,
            "started": True,
        } | changes

    def snapshot(self, _: Any) -> Any:
        return SimpleNamespace(**self.fields, waiting=tuple(self.waiting))

    async def say(self, event: OperationSaid) -> None:
        if not self.full:
            self.waiting.append(event.operation)


def signer(core: Core, who: Any = MANAGERS[0]) -> AllianceService:
    keys: Any = lambda _: STRANGER  # noqa: E731
    return AllianceService(core, who, core.say, lambda: None, models=None, coming=keys)  # type: ignore[arg-type, return-value]


def asks(kind: Any, **fields: Any) -> OperationRequest:
    return OperationRequest(kind=kind, **fields)


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


def test_every_standing_has_its_words() -> None:
    assert membership_of(STATE, MEMBER.node_id) == (Membership.MEMBER, "")
    assert membership_of(STATE, Digest(bytes(32))) == (Membership.UNKNOWN, "")  # type: ignore[arg-type]
    applied = apply_operations(STATE, [application_of()])
    assert membership_of(applied, STRANGER.node_id)[0] is Membership.APPLIED
