"""Whose history a newcomer takes: stolen keys of an old committee, eclipse, lying members, a trusted head, two histories."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

from bflcd.consensus.certificate import verify_chain
from bflcd.core.events import Confirmed, SegmentFetched, SyncChanged
from bflcd.core.signing_guard import SigningGuard
from bflcd.errors import OperatorError, Rejection, RequestError
from bflcd.net.sync import ChainSync, SyncLimits
from bflcd.node.following import Follower, RoundClaims
from bflcd.node.history import (
    RECENT,
    HistoryGuard,
    TrustedHead,
    TwoHistoriesError,
    Witnesses,
    check_trusted,
    witnesses_needed,
)
from bflcd.scheduler import ASYNCIO
from bflcd.store.memory import MemoryStore
from bflcd.types import Millis, NodeId, Round
from bflcd.wire.blocks import CertifiedHeader, CertifiedSegment, Header, header_hash
from bflcd.wire.envelope import verify_envelope
from bflcd.wire.requests import GetHeaders, GetSegment, Headers, SegmentReply
from tests.helpers.chains import Chain, begin_chain, certify, fill, next_segment
from tests.helpers.ledger import GENESIS_TIME

ROUNDS = 8
FORKED = 3
"""The first round whose model the thief's history has otherwise."""

MEMBERS = 10
NEEDED = 4
"""More than f = 3 of ten members."""

PEERS = tuple(NodeId(bytes([number]) * 32) for number in range(1, MEMBERS))


@cache
def honest() -> tuple[Chain, tuple[CertifiedSegment, ...]]:
    chain = begin_chain()
    return chain, tuple(next_segment(chain) for _ in range(ROUNDS))


@cache
def forged() -> tuple[CertifiedSegment, ...]:
    """What a thief makes with the keys of the committee of round 2: the same up to there, then three rounds more than are true."""
    chain = begin_chain()
    common = [next_segment(chain) for _ in range(FORKED - 1)]
    chain.community = replace(chain.community, state=replace(chain.community.state, time=Millis(chain.state.time + 5)))
    return (*common, *(next_segment(chain) for _ in range(ROUNDS + 4 - FORKED)))


def head_of(segments: Sequence[CertifiedSegment], round_: int) -> Header:
    """The model header of a round."""
    return segments[round_ - 1].segment.model_header if round_ else begin_chain().community.header


def trusted(segments: Sequence[CertifiedSegment], round_: int) -> TrustedHead:
    header = head_of(segments, round_)
    return TrustedHead(header.round, header_hash(header))


class Network:
    """Members that each serve one history; `None` serves nobody."""

    def __init__(self, histories: Sequence[Sequence[CertifiedSegment] | None]) -> None:
        self.served = dict(zip(PEERS, histories, strict=False))
        self.asked: list[NodeId] = []
        self.blamed: list[tuple[NodeId, Rejection]] = []

    def claims(self) -> dict[NodeId, Round]:
        return {node: Round(0 if served is None else len(served)) for node, served in self.served.items()}

    async def ask(self, peer: NodeId, request: Any, *, deadline: float) -> Any:
        assert deadline > 0
        self.asked.append(peer)
        served = self.served[peer]
        if served is None:
            raise RequestError("it is silent")
        if isinstance(request, GetSegment):
            return SegmentReply(served[request.round - 1])
        assert isinstance(request, GetHeaders)
        found = served[request.first - 1 : request.first - 1 + request.count]
        return Headers(tuple(CertifiedHeader(s.segment.model_header, s.certificate) for s in found))

    def blame(self, node: NodeId, rejection: Rejection, _text: str) -> None:
        self.blamed.append((node, rejection))


def guard_of(*, head: Header | None = None, age: int = 0, fetched: bool = True, trust: TrustedHead | None = None) -> HistoryGuard:
    head = head_of((), 0) if head is None else head
    return HistoryGuard(head, MEMBERS, fetched_genesis=fetched, trusted=trust, now=lambda: Millis(head.time + age))


async def take(network: Network, guard: HistoryGuard, *, batch: int = 256, start: int = 0) -> list[int]:
    """The rounds that a node applies in one catch-up from the head of round `start`."""
    chain, segments = honest()
    applied: list[int] = []

    async def apply(certified: CertifiedSegment) -> None:
        applied.append(certified.segment.model_header.round)

    async def no_blob(*_: object) -> None:
        pass

    witnesses = Witnesses(network, chain.state.chain, guard, on_misbehaviour=network.blame, scheduler=ASYNCIO)  # type: ignore[arg-type]
    catching = ChainSync(
        network,  # type: ignore[arg-type]
        chain=chain.state.chain,
        verify_header=lambda item, previous: _verified(chain, previous, item),
        apply=apply,
        fetch_blob=no_blob,
        on_misbehaviour=network.blame,
        admit=witnesses.admit,
        limits=SyncLimits(batch=batch),
    )
    await catching.run(head_of(segments, start), lambda: witnesses.asked(network.claims()))
    return applied


def _verified(chain: Chain, previous: Header, item: CertifiedHeader) -> None:
    verify_chain(previous, [item], chain.genesis.params, chain.genesis.managers, verify_envelope)


def rounds(last: int, first: int = 1) -> list[int]:
    return list(range(first, last + 1))


# -- how many are asked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "needed"), [(1, 0), (2, 1), (3, 1), (4, 2), (7, 3), (10, 4), (64, 22), (65, 22), (10_000, 22)]
)
def test_more_than_f_of_the_members_and_no_more_than_of_the_largest_committee(members: int, needed: int) -> None:
    assert witnesses_needed(members) == needed


# -- who is held ---------------------------------------------------------------------------------------------------------


def test_who_is_held_and_who_is_not() -> None:
    """Given a genesis from the network, an old head, or a trusted head to come, then the node is held; else it takes part."""
    _, segments = honest()
    own = head_of(segments, 4)
    assert guard_of().held
    assert not guard_of(fetched=False).held
    assert guard_of(fetched=False, age=RECENT + 1).held
    assert not guard_of(head=own, age=RECENT).held
    assert guard_of(head=own, age=RECENT + 1).held
    assert guard_of(head=own, trust=trusted(segments, 5)).held
    assert not guard_of(head=own, trust=trusted(segments, 3)).held
    assert guard_of(trust=trusted(segments, 0)).held, "the genesis is what the chain id pins, and no word on what followed"


def test_a_trusted_head_that_is_our_own_vouches_for_it_however_old_it_is() -> None:
    """Given a community that stood still over a weekend, when the operator trusts its head, then nobody else has to."""
    _, segments = honest()
    own = head_of(segments, 4)
    assert not guard_of(head=own, age=3 * RECENT, trust=trusted(segments, 4)).held
    assert guard_of(head=own, age=3 * RECENT, trust=trusted(segments, 3)).held, "an old word says nothing of what came after"


def test_a_community_in_which_nobody_is_ahead_begins_once_more_than_f_have_said_so() -> None:
    guard, head = guard_of(), head_of((), 0)
    assert guard.look(head, dict.fromkeys(PEERS[: NEEDED - 1], Round(0)))
    assert "3 members stand where this node does, 4 have to" in guard.lacking
    assert "--trusted-head" in guard.lacking
    assert not guard.look(head, dict.fromkeys(PEERS[:NEEDED], Round(0)))
    assert guard.lacking == ""


def test_members_that_were_away_themselves_let_nobody_go() -> None:
    """Given a node that comes back after days, when all who are there stand further behind, then it is held; who stands where it
    does counts, and who had yet to close that round when all stopped."""
    head = head_of(honest()[1], 6)
    beside = dict.fromkeys(PEERS[: NEEDED - 1], Round(6))
    guard = guard_of(head=head, age=RECENT + 1)
    assert guard.look(head, dict.fromkeys(PEERS, Round(4)))
    assert guard.look(head, {**beside, PEERS[8]: Round(4)})
    assert not guard.look(head, {**beside, PEERS[8]: Round(5)})


def test_liars_who_claim_to_be_behind_do_not_let_a_newcomer_go() -> None:
    """Given f members that say round 0 while an honest one is ahead, then the newcomer is still held."""
    claims = {**dict.fromkeys(PEERS[: NEEDED - 1], Round(0)), PEERS[8]: Round(ROUNDS)}
    assert guard_of().look(head_of((), 0), claims)


async def test_a_liar_whose_claim_nobody_proves_does_not_hold_a_community_that_begins() -> None:
    """Given members in round 0 and one that claims a million rounds and proves none, then the node takes part."""
    network, guard = Network([()] * NEEDED), guard_of()
    claims = {**network.claims(), PEERS[8]: Round(10**6)}
    network.served[PEERS[8]] = ()
    store = MemoryStore()
    await fill(store, begin_chain(), 0)
    follower, inbox = follower_of(network, guard, store, claims=claims)
    await follower.follow()
    assert inbox.settled == [SyncChanged(active=False)]


# -- without a trusted head ----------------------------------------------------------------------------------------------


async def test_what_more_than_f_members_show_is_applied() -> None:
    network, guard = Network([honest()[1]] * NEEDED), guard_of()
    assert await take(network, guard) == rounds(ROUNDS)
    assert not guard.look(head_of(honest()[1], ROUNDS), network.claims()), "a recent head that many have shown"
    assert network.blamed == []


@pytest.mark.parametrize("others", [(), (None,) * 6], ids=["alone", "the others are silent"])
async def test_an_eclipse_by_f_members_moves_nothing(others: tuple[None, ...]) -> None:
    """Given a newcomer that only f members answer, who all show a history of their own, then nothing is applied, and it says why."""
    network, guard = Network([*[forged()] * (NEEDED - 1), *others]), guard_of()
    assert await take(network, guard) == []
    assert guard.look(head_of((), 0), network.claims())
    assert f"{NEEDED - 1} members show the same history, {NEEDED} have to" in guard.lacking
    assert network.blamed == []


@pytest.mark.parametrize("thieves", [1, 3, 6])
async def test_two_histories_stop_a_newcomer_with_both_named_and_nobody_banned(thieves: int) -> None:
    """Given thieves of an old committee's keys who claim the most rounds, and one honest member,
    When the newcomer asks, Then nothing is applied, both histories stand in the error with who gave them, and nobody is blamed.
    """
    network, guard = Network([*[forged()] * thieves, honest()[1]]), guard_of()
    with pytest.raises(TwoHistoriesError) as stopped:
        await take(network, guard)
    text = str(stopped.value)
    thief, member = (str(trusted(history, FORKED)) for history in (forged(), honest()[1]))
    assert f"differ at round {FORKED}: " in text
    assert f"{thief} (given by {', '.join(node.hex()[:8] for node in PEERS[:thieves])})" in text
    assert f"{member} (given by {PEERS[thieves].hex()[:8]})" in text
    assert "--trusted-head" in stopped.value.hint
    assert network.blamed == []


async def test_a_fork_beyond_the_first_batch_is_found_before_its_batch_is_applied() -> None:
    network, guard = Network([forged(), *[honest()[1]] * NEEDED]), guard_of(age=2 * RECENT)
    with pytest.raises(TwoHistoriesError):
        await take(network, guard, batch=FORKED - 1)
    assert guard.held


async def test_only_what_more_than_f_members_have_reached_is_applied() -> None:
    _, segments = honest()
    network, guard = Network([segments, segments[:7], segments[:6], segments[:5], segments[:2]]), guard_of()
    assert (await take(network, guard))[:5] == rounds(5)


async def test_a_forged_header_costs_who_showed_it_and_does_not_count() -> None:
    """Given a member that shows a header without a true certificate beside the others, then it pays, and the rest suffices."""
    _, segments = honest()
    lie = replace(segments[1], certificate=replace(segments[2].certificate, round=segments[1].certificate.round))
    other = replace(lie, segment=forged()[FORKED].segment)
    network, guard = Network([*[segments] * NEEDED, (segments[0], other)]), guard_of()
    assert await take(network, guard) == rounds(ROUNDS)
    assert [node for node, _ in network.blamed] == [PEERS[NEEDED]]


async def test_a_node_that_was_away_long_is_shown_the_rest_by_as_many() -> None:
    """Given a node that comes back with an old head, then from there on the same holds as for a newcomer."""
    _, segments = honest()
    own = head_of(segments, 4)
    few, many = Network([segments] * (NEEDED - 1)), Network([segments] * NEEDED)
    assert await take(few, guard_of(head=own, age=2 * RECENT), start=4) == []
    assert await take(many, guard_of(head=own, age=2 * RECENT), start=4) == rounds(ROUNDS, 5)
    assert await take(few, guard_of(head=own), start=4) == rounds(ROUNDS, 5), "who was away for a moment needs nobody's word"


# -- with a trusted head -------------------------------------------------------------------------------------------------


async def test_one_peer_suffices_for_a_history_that_contains_the_trusted_head() -> None:
    _, segments = honest()
    network, guard = Network([segments]), guard_of(trust=trusted(segments, ROUNDS))
    assert await take(network, guard) == rounds(ROUNDS)
    assert not guard.look(head_of(segments, ROUNDS), network.claims())


@pytest.mark.parametrize("batch", [2, 3, 256])
async def test_a_history_without_the_trusted_head_is_set_aside_however_bold_it_is(batch: int) -> None:
    """Given a thief that claims more rounds than are true and is asked first, then not one round of its history is applied."""
    _, segments = honest()
    network, guard = Network([forged(), forged(), segments]), guard_of(trust=trusted(segments, ROUNDS - 1))
    assert (await take(network, guard, batch=batch))[: ROUNDS - 1] == rounds(ROUNDS - 1)
    assert network.blamed == []


async def test_a_member_on_another_history_is_set_aside_also_where_the_true_one_was_found_first() -> None:
    _, segments = honest()
    network, guard = Network([segments, segments, forged()]), guard_of(trust=trusted(segments, ROUNDS - 1))
    assert (await take(network, guard, batch=4))[: ROUNDS - 1] == rounds(ROUNDS - 1)
    assert network.blamed == []


async def test_without_anybody_who_has_the_trusted_head_nothing_is_applied() -> None:
    network, guard = Network([forged()] * 9), guard_of(trust=trusted(honest()[1], ROUNDS))
    assert await take(network, guard) == []
    assert guard.look(head_of((), 0), dict.fromkeys(PEERS, Round(0))), "not even if all say that nobody is ahead"
    assert f"the trusted head {trusted(honest()[1], ROUNDS)}" in guard.lacking


async def test_a_forged_beginning_before_a_true_end_stops_the_node_and_blames_nobody() -> None:
    """Given a thief that sets forged rounds before the true ones (its committee certifies a true header in the place of its own
    next), When a newcomer with a trusted head has nobody else to ask, Then it stops where the blocks don't follow each other.
    """
    _, segments = honest()
    thief = begin_chain()
    common = [next_segment(thief) for _ in range(FORKED - 1)]
    thief.community = replace(thief.community, state=replace(thief.community.state, time=Millis(thief.state.time + 5)))
    lie = next_segment(thief)
    spliced = _certified_anew(thief, segments[FORKED])
    network = Network([(*common, lie, spliced)])
    guard = guard_of(trust=trusted(segments, FORKED + 1))
    with pytest.raises(OperatorError) as stopped:
        await take(network, guard)
    assert stopped.value.code == "broken_history"
    assert network.blamed == []


def _certified_anew(chain: Chain, true: CertifiedSegment) -> CertifiedSegment:
    return CertifiedSegment(true.segment, certify(chain.community, true.segment).certificate)


async def test_a_chain_with_another_model_in_the_trusted_heads_place_is_not_started() -> None:
    store, chain = MemoryStore(), begin_chain()
    segments = await fill(store, chain, 4)
    head = (await store.head()).header
    for round_ in (0, 2, 4):
        await check_trusted(store, head, trusted(segments, round_), chain.genesis)
    await check_trusted(store, head, trusted(forged(), 6), chain.genesis)
    with pytest.raises(OperatorError) as refused:
        await check_trusted(store, head, trusted(forged(), FORKED), chain.genesis)
    assert refused.value.code == "other_history"
    assert str(trusted(forged(), FORKED)) in str(refused.value)


def test_a_trusted_head_reads_as_status_writes_it() -> None:
    text = f"12:{'ab' * 32}"
    assert str(TrustedHead.parse(text)) == text
    assert TrustedHead.parse("") is None


# -- the follower --------------------------------------------------------------------------------------------------------


class Inbox:
    """A core that takes whatever segment it is given."""

    def __init__(self, core: Any) -> None:
        self.core = core
        self.settled: list[Any] = []

    async def settle(self, event: Any) -> None:
        self.settled.append(event)
        if isinstance(event, SyncChanged):
            self.core.syncing = event.active
        elif isinstance(event, SegmentFetched):
            header = event.certified.segment.model_header
            self.core.context.round, self.core.context.head_header = header.round, header


def follower_of(
    network: Network,
    guard: HistoryGuard,
    store: Any,
    start: int = 0,
    claims: dict[NodeId, Round] | None = None,
    *,
    in_doubt: bool = False,
) -> tuple[Follower, Inbox]:
    chain, segments = honest()
    head = head_of(segments, start)
    context = SimpleNamespace(
        round=head.round, head_header=head, state=chain.state, head=SimpleNamespace(state=chain.state), genesis=chain.genesis,
        params=chain.genesis.params, me=NodeId(bytes(32)), owes=False,
        committee=PEERS[:4], members=PEERS,
    )  # fmt: skip
    core: Any = SimpleNamespace(context=context, syncing=guard.held)
    inbox = Inbox(core)
    heard = RoundClaims(lambda: None)
    for node, round_ in (network.claims() if claims is None else claims).items():
        heard.note(node, round_)

    async def fetch(*_: object) -> None:
        pass

    follower = Follower(
        core,
        heard,
        inbox=inbox,  # type: ignore[arg-type]
        exchange=network,  # type: ignore[arg-type]
        store=store,
        fetch=fetch,
        verify=verify_envelope,
        scheduler=ASYNCIO,
        on_misbehaviour=network.blame,
        on_progress=lambda *_: None,
        signing=SigningGuard(in_doubt=in_doubt),
        guard=guard,
    )
    return follower, inbox


async def test_a_held_node_takes_no_part_until_its_history_is_shown() -> None:
    """Given a newcomer with too few members, then it stays outside; when enough have come, it catches up and takes part."""
    _, segments = honest()
    guard = guard_of()
    few, inbox = follower_of(Network([segments] * (NEEDED - 1)), guard, MemoryStore())
    await few.follow()
    assert inbox.settled == []
    many, inbox = follower_of(Network([segments] * NEEDED), guard, MemoryStore())
    await many.follow()
    assert inbox.core.context.round == ROUNDS
    assert inbox.settled[-1] == SyncChanged(active=False)


async def test_a_node_on_another_proven_history_than_a_members_is_stopped_while_it_is_held_and_else_bans_nobody() -> None:
    """Given a node whose own history a member contradicts: if its head is old it stops with both named, else it goes its way."""
    store, chain = MemoryStore(), begin_chain()
    own = await fill(store, chain, ROUNDS)
    head = own[-1].segment.model_header
    network = Network([forged()])
    old, _ = follower_of(network, guard_of(head=head, age=2 * RECENT), store, start=ROUNDS)
    with pytest.raises(TwoHistoriesError, match="given by this node"):
        await old.follow()
    recent, inbox = follower_of(network, guard_of(head=head), store, start=ROUNDS)
    await recent.follow()
    assert inbox.core.context.round == ROUNDS
    assert network.blamed == []


def test_the_fixtures_are_two_histories_of_one_chain() -> None:
    chain, segments = honest()
    assert segments[: FORKED - 1] == forged()[: FORKED - 1]
    assert segments[FORKED - 1].segment.model_header != forged()[FORKED - 1].segment.model_header
    assert len(forged()) > len(segments)
    assert chain.genesis.time == GENESIS_TIME


async def test_a_node_without_memory_takes_over_what_the_first_can_prove_before_it_counts_what_they_say() -> None:
    """Given a node that lost its disk, when of the first two that it hears of four seats one lies that nobody has closed a round, then
    it is told so only once it stands where the other one does; before more than f have spoken it is told nothing."""
    _, segments = honest()
    guard = guard_of(head=head_of(segments, 1))
    heard = {PEERS[0]: Round(ROUNDS), PEERS[1]: Round(0)}
    for claims, told in (({PEERS[0]: Round(ROUNDS)}, []), (heard, [Confirmed(Round(0))])):
        follower, inbox = follower_of(Network([segments] * 2), guard, MemoryStore(), 1, claims, in_doubt=True)
        await follower.follow()
        assert inbox.core.context.round == ROUNDS
        assert [event for event in inbox.settled if not isinstance(event, SegmentFetched)] == [
            SyncChanged(active=True),
            *told,
            SyncChanged(active=False),
        ]
        assert inbox.settled.index(SyncChanged(active=False)) == ROUNDS + len(told)
        assert isinstance(inbox.settled[ROUNDS - 1], SegmentFetched)
