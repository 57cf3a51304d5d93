"""Sealed cards: no judge sees another's card before it is bound to its own, and nobody can hold a round up with it (design 5.3)."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from bflcd.core.effects import Effect, Persist, Score, Send
from bflcd.core.events import Event, MessageReceived
from bflcd.core.records import OwnRecord
from bflcd.core.round.context import RoundContext
from bflcd.core.round.sealing import Sealing
from bflcd.crypto.hashing import Domain, digest
from bflcd.errors import Rejection
from bflcd.ledger.operations.evidence import EVIDENCE
from bflcd.ledger.state import NEVER, account_of
from bflcd.types import Digest, Millis, NodeId
from bflcd.wire.blocks import committee_hash
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import Envelope, Signed, open_envelope, payload_digest, seal, sealed_digest
from bflcd.wire.messages import CardSeal, ScoreCard
from tests.helpers.inside import pool_of, round_of
from tests.helpers.scenes import CARD, T0, a_world, committee_of, elapsed, kind, leader_in, on_effect, one_state, reach
from tests.helpers.world import World

SEAL = number_of(CardSeal)
DEADLINE = 60_000
OPENED = 1_000
MOST = T0 // 4
LIMIT = 400_000


# -- when a card is shown, and which were sealed in time --------------------------------------------------------------


class Seats:
    """One seat's view of who is bound, in a round that it opened at `OPENED`; it is the first of the seats."""

    def __init__(self, committee: int = 4, nodes: int = 10) -> None:
        self.world = a_world(nodes=nodes, committee=committee, places=max(6, committee), small_community=nodes <= committee)
        seats = committee_of(self.world)
        head = self.world.cores[seats[0]].context.head
        self.context = RoundContext(self.world.genesis, head, seats[0])
        self.seats = seats
        self.cards: dict[NodeId, Signed[ScoreCard]] = {}
        self.sealing = Sealing(self.context, Millis(OPENED), self.cards)

    def _place(self) -> tuple[object, ...]:
        state = self.context.state
        return (
            state.chain, state.round, state.epoch, self.context.head_hash, committee_hash(state.epoch, state.committee)
        )  # fmt: skip

    def card(self, seat: int) -> Signed[ScoreCard]:
        node = self.seats[seat]
        return seal(ScoreCard(*self._place(), None, None, (), (node,)), self.world.identities[node])  # type: ignore[arg-type]

    def seal(self, seat: int, card: Digest | None = None) -> Signed[CardSeal]:
        named = sealed_digest(self.card(seat).envelope) if card is None else card
        return seal(CardSeal(*self._place(), named), self.world.identities[self.seats[seat]])  # type: ignore[arg-type]

    def seals(self, seat: int, at: int) -> None:
        self.sealing.add(self.seal(seat), Millis(at))

    def shows(self, seat: int, at: int) -> None:
        self.cards[self.seats[seat]] = self.card(seat)
        self.sealing.look(Millis(at))

    def in_time(self) -> set[int]:
        held = [self.seats.index(card.author) for card in self.cards.values()]
        return {seat for seat in held if self.sealing._was_in_time(self.card(seat))}


Step = tuple[str, int, int]
"""`seals` or `shows`, which seat, when."""


def after(*steps: Step, committee: int = 4, nodes: int = 10) -> Seats:
    seats = Seats(committee, nodes)
    for what, seat, at in steps:
        getattr(seats, what)(seat, at)
    return seats


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        ([("seals", 1, 2_000), ("seals", 2, 2_000), ("seals", 3, 2_000)], None),
        ([("seals", 0, 2_000)], OPENED + DEADLINE + MOST),
        ([("seals", 0, 2_000), ("seals", 1, 2_000)], OPENED + DEADLINE + MOST),
        ([("seals", 0, 2_000), ("seals", 1, 2_000), ("seals", 2, 2_600)], 2_600 + 200),
        ([("seals", 1, 2_000), ("seals", 2, 2_000), ("seals", 3, 2_600), ("seals", 0, 2_650)], 2_650),
        ([("seals", 0, 9_000), ("seals", 1, 9_000), ("seals", 2, 9_000)], 9_000 + MOST),
        ([("seals", 0, 2_000), ("seals", 1, 2_010), ("seals", 2, 2_020), ("seals", 3, 2_030)], 2_000),
        ([("seals", 0, 2_000), ("shows", 1, 2_010)], OPENED + DEADLINE + MOST),
        ([("seals", 0, 2_000), ("shows", 1, 2_010), ("shows", 2, 2_010)], 2_000),
        ([("seals", 0, 2_000), ("seals", 1, 2_100), ("shows", 2, 2_600)], 2_600 + 200),
        ([("seals", 0, OPENED + DEADLINE)], OPENED + DEADLINE + MOST),
        ([("seals", 0, OPENED + DEADLINE + 5_000)], OPENED + DEADLINE + 5_000 + MOST),
        ([("seals", 0, 2_000), ("seals", 1, 2_010), ("seals", 2, 2_020), ("seals", 3, 2_030), ("shows", 0, 2_030)], None),
    ],
)
def test_a_card_is_shown_once_others_are_bound_and_at_the_latest_after_the_collect_deadline(
    steps: list[Step], shown: int | None
) -> None:
    """Given who of four seats was bound, and when, then ours shows its card at that time; not before it has sealed it."""
    seats = after(*steps)
    assert seats.sealing.show_at() == shown
    if shown is not None:
        assert seats.sealing.may_show(Millis(shown))
        assert not seats.sealing.may_show(Millis(shown - 1))


@pytest.mark.parametrize("members", [1, 2, 3])
def test_in_a_committee_that_survives_no_liar_all_seats_are_waited_for(members: int) -> None:
    """Given one to three seats, when all have sealed, then the cards are shown at once, and not while one has not."""
    seats = after(*[("seals", seat, 2_000) for seat in range(members)], committee=members, nodes=members)
    assert seats.sealing.show_at() == 2_000
    if members > 1:
        seats = after(*[("seals", seat, 2_000) for seat in range(members - 1)], committee=members, nodes=members)
        assert seats.sealing.show_at() == OPENED + DEADLINE + MOST


@pytest.mark.parametrize(
    ("before", "late", "in_time"),
    [
        ([("seals", 0, 2_000)], 2_500, True),
        ([("seals", 0, 2_000), ("seals", 1, 2_000), ("seals", 2, 2_600)], 2_700, True),
        ([("seals", 0, 2_000), ("seals", 1, 2_000), ("seals", 2, 2_600)], 2_701, False),
        ([("seals", 1, 2_000), ("seals", 2, 2_000)], 2_701, True),
        ([("seals", 0, 2_000), ("shows", 1, 2_100)], 2_101, True),
        ([("seals", 0, 2_000), ("shows", 1, 2_100), ("shows", 2, 2_100)], 2_101, False),
        ([("seals", 0, 2_000), ("shows", 0, 2_100)], 2_101, False),
    ],
)
def test_a_seal_is_in_time_while_no_honest_card_can_have_been_shown(before: list[Step], late: int, in_time: bool) -> None:
    """Given what was held before, when the last seat seals, then its card counts as sealed in time only if none could be copied."""
    seats = after(*before, ("seals", 3, late), ("shows", 3, late + 10))
    assert (3 in seats.in_time()) == in_time


def test_a_card_that_is_not_the_sealed_one_is_not_sealed_and_its_seal_is_told_once() -> None:
    seats = Seats()
    other = digest(Domain.SEAL, b"another")
    seats.sealing.add(seats.seal(1, other), Millis(2_000))
    seats.shows(1, 2_100)
    assert seats.in_time() == set()
    assert seats.sealing.broken_by(seats.card(1)) == seats.seal(1, other)
    assert seats.sealing.broken_by(seats.card(1)) is None
    seats.seals(2, 2_000)
    assert seats.sealing.broken_by(seats.card(2)) is None
    assert seats.sealing.broken_by(seats.card(3)) is None


@pytest.mark.parametrize(
    ("sealed", "until"), [((0, 1, 2), None), ((0, 1), 2_900 + MOST), ((), 2_900 + MOST), ((0, 1, 2, 3), None)]
)
def test_a_leader_waits_a_quarter_of_t0_for_cards_that_were_sealed_in_time(sealed: tuple[int, ...], until: int | None) -> None:
    """Given the cards of seats 0 to 2, and of 3 where it sealed, of which some were sealed in time, then the leader waits for others
    if these are fewer than q, and packs those that were sealed before those that were not."""
    seats = after(*[("seals", seat, 2_000) for seat in sealed], *[("shows", seat, 2_900) for seat in {0, 1, 2, *sealed}])
    assert seats.sealing.leader_waits_until() == until
    held = list(reversed(seats.cards.values()))
    packed = [seats.seats.index(card.author) for card in seats.sealing.in_time_first(held)]
    assert set(packed[: len(sealed)]) == set(sealed)
    assert sorted(packed) == sorted({0, 1, 2, *sealed})


def test_a_leader_without_a_quorum_of_cards_has_nothing_to_wait_for() -> None:
    assert after(("shows", 1, 2_000), ("shows", 2, 2_000)).sealing.leader_waits_until() is None


# -- whole cores ------------------------------------------------------------------------------------------------------


def said_by(world: World, act: Callable[[NodeId, int, Envelope], bool]) -> None:
    """Before a seal or a card leaves: `act(node, kind, envelope)`; True keeps it back."""

    def watch(node: NodeId, effect: Effect) -> bool:
        if not isinstance(effect, Send) or kind(effect.message) not in (SEAL, CARD):
            return False
        assert isinstance(effect.message, Envelope)
        number = kind(effect.message)
        assert number is not None
        return act(node, number, effect.message)

    each = world.carry_out

    def one_by_one(node: NodeId, effects: list[Effect]) -> None:
        for effect in effects:
            if not watch(node, effect):
                each(node, [effect])

    world.carry_out = one_by_one  # type: ignore[method-assign]


def views(world: World, first: int, last: int) -> list[int]:
    segments = world.disks[min(world.cores)].segments
    return [segments[round_].certificate.view for round_ in range(first, last + 1)]


def test_a_card_is_durable_with_its_seal_and_given_to_nobody_before_it_is_shown() -> None:
    """Given ten rounds, when a seat seals, then both records come in one transaction; its card can't be had by its digest before it is
    shown; and no card is said before a quorum of seats has sealed."""
    world = a_world()
    sealed: dict[int, set[NodeId]] = {}
    durable: set[tuple[int, NodeId]] = set()
    hidden: list[bool] = []

    def watch(node: NodeId, effect: Effect) -> bool:
        core = world.cores[node]
        round_ = core.context.round
        if isinstance(effect, Persist):
            phases = {record.phase for record in effect.records if isinstance(record, OwnRecord)}
            if SEAL in phases:
                assert phases == {SEAL, CARD}
                durable.add((round_, node))
                card = round_of(core).collection.own_card
                assert card is not None
                bound = {*round_of(core).collection.sealing.seals, *round_of(core).collection.first_cards}
                assert (core.signed_message(card.digest) is None) or len(bound) >= core.context.q
                hidden.append(core.signed_message(card.digest) is None)
        if isinstance(effect, Send) and kind(effect.message) == SEAL:
            assert (round_, node) in durable
            sealed.setdefault(round_, set()).add(node)
        if isinstance(effect, Send) and kind(effect.message) == CARD:
            assert len(sealed[round_]) >= core.context.q
        return False

    on_effect(world, watch)
    reach(world, 10, LIMIT)
    assert views(world, 1, 10) == [0] * 10
    assert len(durable) >= 40
    assert hidden.count(True) >= 25
    one_state(world)


def test_where_cards_are_open_nobody_seals_and_a_seal_is_ignored() -> None:
    world = a_world(sealed_cards=False)
    numbers: set[int] = set()
    said_by(world, lambda _node, number, _envelope: bool(numbers.add(number)))
    seat, other = committee_of(world)[:2]
    state, context = world.cores[seat].context.state, world.cores[seat].context
    place = (state.chain, state.round, state.epoch, context.head_hash, committee_hash(state.epoch, state.committee))
    stray = seal(CardSeal(*place, digest(Domain.SEAL, b"a card")), world.identities[other]).envelope
    assert world.cores[seat].handle(MessageReceived(stray, other), world.instant()) == []
    reach(world, 3, LIMIT)
    assert numbers == {CARD}


@pytest.mark.parametrize("lie", ["silent", "seals and never shows", "shows and never seals", "seals T0 late", "another card"])
def test_a_seat_that_seals_otherwise_than_it_should_holds_no_round_up_for_longer_than_the_waits(lie: str) -> None:
    """Given one of four seats that lies about its seal in every round, then each round is decided in view 0 where another seat leads, and
    lasts at most T0 / 4 for the seal and T0 / 4 for the leader longer than it would."""
    world = a_world(seed=3)
    liar = committee_of(world)[0]
    due: dict[int, int] = {}

    def lied(node: NodeId, number: int, envelope: Envelope) -> bool:
        if node != liar:
            return False
        if lie == "another card" and number == SEAL:
            body = replace(open_envelope(envelope, (CardSeal,)).body, card=digest(Domain.SEAL, b"none"))
            for other in committee_of(world):
                if other != liar:
                    world.feed(other, MessageReceived(seal(body, world.identities[liar]).envelope, liar))
            return True
        late = world.now < due.setdefault(world.round_of(node), world.now) + T0
        held_back = {
            "silent": (SEAL, CARD),
            "seals and never shows": (CARD,),
            "shows and never seals": (SEAL,),
            "seals T0 late": (SEAL, CARD) if late else (),
        }
        return number in held_back.get(lie, ())

    honest, led = a_world(seed=3), 0
    usual = max(elapsed(honest, round_, LIMIT) for round_ in range(1, 9))
    said_by(world, lied)
    for round_ in range(1, 9):
        leads = leader_in(world) == liar
        led += leads
        took = elapsed(world, round_, LIMIT)
        if not leads:
            assert took <= usual + 2 * MOST + 300
            assert views(world, round_, round_) == [0]
    assert led < 8
    one_state(world)


def test_who_is_given_two_seals_of_one_seat_convicts_it() -> None:
    """Given a seat that gives one member another seal than the others, when its card shows which holds, then whoever holds the broken one
    brings it to the others, and a block punishes the seat."""
    world = a_world(seed=1)
    liar, odd = [node for node in committee_of(world) if node != leader_in(world)][:2]
    once: list[NodeId] = []

    def lied(node: NodeId, number: int, envelope: Envelope) -> bool:
        if node != liar or number != SEAL or once:
            return node == liar and number == SEAL
        once.append(node)
        body = open_envelope(envelope, (CardSeal,)).body
        other = seal(replace(body, card=digest(Domain.SEAL, b"none")), world.identities[liar]).envelope
        for seat in committee_of(world):
            if seat != liar:
                world.feed(seat, MessageReceived(other if seat == odd else envelope, liar))
        return True

    said_by(world, lied)
    reach(world, 4, LIMIT)
    account = account_of(world.disks[odd].head.state, liar)
    assert account is not None
    assert account.punished_round != NEVER
    kinds = {one.kind for found in world.disks[odd].segments.values() for one in found.segment.model.operations}
    assert kinds == {EVIDENCE.name}
    others = [a for a in world.disks[odd].head.state.accounts if a.node != liar]
    assert all(account.punished_round == NEVER for account in others)


def test_a_seal_of_a_stranger_or_of_another_round_is_refused() -> None:
    world = a_world()
    seat, other, trainer = *committee_of(world)[:2], next(n for n in world.cores if n not in committee_of(world))
    core = world.cores[seat]
    state, context = core.context.state, core.context
    place = {
        "chain": state.chain,
        "round": state.round,
        "epoch": state.epoch,
        "parent": context.head_hash,
        "committee": committee_hash(state.epoch, state.committee),
        "card": digest(Domain.SEAL, b"a card"),
    }
    right = CardSeal(**place)
    for body, author, why in (
        (right, trainer, Rejection.NOT_COMMITTEE),
        (replace(right, parent=Digest(bytes(32))), other, Rejection.WRONG_PARENT),
        (replace(right, committee=Digest(bytes(32))), other, Rejection.WRONG_COMMITTEE),
    ):
        effects = core.handle(MessageReceived(seal(body, world.identities[author]).envelope, other), world.instant())
        assert [effect.rejection for effect in effects if hasattr(effect, "rejection")] == [why]
    forged = replace(seal(right, world.identities[other]).envelope, author=committee_of(world)[2])
    effects = core.handle(MessageReceived(forged, other), world.instant())
    assert [effect.rejection for effect in effects if hasattr(effect, "rejection")] == [Rejection.BAD_SIGNATURE]
    assert round_of(core).collection.sealing.seals == {}
    assert not pool_of(core)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_judge_that_copies_is_packed_by_no_honest_leader(sealed: bool) -> None:
    """Given that in each round the last of seven seats seals nothing until it is shown a card, and then shows that one's words as its
    own, and two others are slow, then no block has its card; where cards are open, most have."""
    world = a_world(nodes=14, committee=7, places=7, seed=2, sealed_cards=sealed)
    said_by(world, lambda node, _number, _envelope: node == world.cores[node].context.committee[-1])
    _two_are_slow(world)
    _copies(world)
    found = 0
    for round_ in range(1, 9):
        copier = committee_of(world)[-1]
        reach(world, round_, LIMIT)
        found += any(card.author == copier for card in world.disks[copier].segments[round_].segment.model.cards)
    assert views(world, 1, 8) == [0] * 8
    assert found == 0 if sealed else found >= 5
    one_state(world)


def _two_are_slow(world: World) -> None:
    """The two seats before the last take 400 ms longer to score."""
    answer = world.answer

    def slower(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        slow = world.cores[node].context.committee[-3:-1]
        for event, after_ms in answer(node, effect):
            yield event, after_ms + (400 if isinstance(effect, Score) and node in slow else 0)

    world.answer = slower  # type: ignore[method-assign]


def _copies(world: World) -> None:
    """The last seat answers the first card that is shown to it with a seal and a copy, which reach the others in 2 ms."""
    feed = world.feed
    done: set[int] = set()

    def fed(node: NodeId, event: Event) -> None:
        feed(node, event)
        message = event.message if isinstance(event, MessageReceived) else None
        context = world.cores[node].context
        if kind(message) != CARD or node != context.committee[-1] or context.round in done:
            return
        assert isinstance(message, Envelope)
        said: ScoreCard = open_envelope(message, (ScoreCard,)).body
        if said.round != context.round or message.author == node:
            return
        done.add(said.round)
        mine = seal(replace(said, present=tuple(sorted({*said.present, node}))), world.identities[node])
        place = (said.chain, said.round, said.epoch, said.parent, said.committee)
        bound = seal(CardSeal(*place, sealed_digest(mine.envelope)), world.identities[node])
        for seat in context.judges_but_me:
            for envelope in (bound.envelope, mine.envelope):
                world.post(seat, MessageReceived(envelope, node), 2)

    world.feed = fed  # type: ignore[method-assign]


def test_what_is_sealed_can_not_be_guessed_from_what_is_said_elsewhere() -> None:
    """Given a card's every word, then its seal says something else than all that others can compute of them."""
    card = Seats().card(1)
    assert sealed_digest(card.envelope) != payload_digest(card.envelope)
    unknown = replace(card.envelope, signature=type(card.envelope.signature)(bytes(64)))
    assert sealed_digest(unknown) != sealed_digest(card.envelope)
    assert payload_digest(unknown) == payload_digest(card.envelope)
