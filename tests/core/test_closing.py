"""Late serving: nobody sees an update while another may still be offered, and nobody can hold a round up with it (design 5.2)."""

from dataclasses import replace

import pytest

from bflcd.core.effects import Blame, Effect, FetchBlob, Send, Train
from bflcd.core.events import Event, MessageReceived
from bflcd.core.round.closing import Closing
from bflcd.core.round.context import RoundContext
from bflcd.core.round.waiting import CardTimer, Expectations
from bflcd.errors import Rejection
from bflcd.ledger.roles import offering
from bflcd.params import BlobRef
from bflcd.types import Digest, Millis, NodeId, Round
from bflcd.wire.blocks import committee_hash
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import Envelope, Signed, open_envelope, seal, verify_envelope
from bflcd.wire.messages import Beacon, CardSeal, ClosedBy, Offer, OffersClosed
from bflcd.wire.tensors import payload_size, update_label
from tests.helpers.inside import round_of
from tests.helpers.scenes import (
    CARD,
    OFFER,
    PRE_PREPARE,
    T0,
    a_trainer,
    a_world,
    committee_of,
    elapsed,
    kind,
    on_effect,
    one_state,
    reach,
)
from tests.helpers.world import World

CLOSED, SEAL = number_of(OffersClosed), number_of(CardSeal)
LIMIT = 400_000


# -- which seats have closed ------------------------------------------------------------------------------------------


class Seats:
    """One seat's view, the first of `committee`, and the words of all."""

    def __init__(self, committee: int = 4, *, late: bool = True) -> None:
        small = committee < 4
        nodes, places = committee if small else 2 * committee, max(6, committee)
        self.world = a_world(nodes, committee, places, small_community=small, late_serving=late)
        self.seats = committee_of(self.world)
        self.context = RoundContext(self.world.genesis, self.world.cores[self.seats[0]].context.head, self.seats[0])
        self.closing = Closing(self.context)

    def word(self, seat: int) -> Signed[OffersClosed]:
        return seal(OffersClosed(*self.context.place), self.world.identities[self.seats[seat]])

    def shown(self, *seats: int) -> ClosedBy:
        return tuple((self.seats[seat], self.word(seat).envelope.signature) for seat in seats)


@pytest.mark.parametrize(
    ("committee", "heard", "own", "asked", "amplified"),
    [
        (4, 0, False, False, False),
        (4, 1, False, False, False),
        (4, 2, False, False, True),
        (4, 1, True, False, False),
        (4, 2, True, True, True),
        (4, 3, False, True, True),
        (7, 2, True, False, False),
        (7, 3, True, False, True),
        (7, 4, True, True, True),
        (1, 0, False, False, False),
        (1, 0, True, True, False),
        (3, 1, True, False, True),
        (3, 2, True, True, True),
    ],
)
def test_updates_are_asked_for_by_a_quorum_of_words_and_an_honest_one_closes_the_others(
    committee: int, heard: int, own: bool, asked: bool, amplified: bool
) -> None:
    """Given that so many other seats, and perhaps this one, have said that they close, then updates are asked for from q on, by their words;
    and more than f others are an honest one, by which every seat closes."""
    seats = Seats(committee)
    closing, said = seats.closing, [*range(1, heard + 1), *([0] if own else [])]
    for seat in said:
        closing.said(seats.word(seat))
    if own:
        closing.close(Millis(5))
    assert (closing.may_ask, closing.others_have) == (asked, amplified)
    assert closing.shown == (tuple(sorted(seats.shown(*said))) if asked else ())
    assert closing.is_open is not own


@pytest.mark.parametrize(
    ("shown", "served"), [((), False), ((0, 1), False), ((1, 2, 3), True), ((0, 1, 2, 3), True), ((1, 1, 2), False)]
)
def test_an_update_is_given_to_who_shows_the_words_of_a_quorum(shown: tuple[int, ...], served: bool) -> None:
    seats = Seats()
    assert seats.closing.may_serve(seats.shown(*shown), verify_envelope) is served


def test_words_that_are_forged_of_another_round_or_of_no_seat_open_nothing() -> None:
    """Given a quorum of words of which one is not right, then nothing is served; given right ones beside it, they count."""
    seats = Seats()
    verify, right = verify_envelope, seats.shown(1, 2)
    trainer = a_trainer(seats.world)
    earlier = seal(
        OffersClosed(seats.context.place[0], Round(7), *seats.context.place[2:]), seats.world.identities[seats.seats[3]]
    )
    stranger = seal(OffersClosed(*seats.context.place), seats.world.identities[trainer])
    for wrong in (
        (seats.seats[3], right[0][1]),
        (seats.seats[3], earlier.envelope.signature),
        (trainer, stranger.envelope.signature),
    ):
        assert not seats.closing.may_serve((*right, wrong), verify)
    assert seats.closing.may_serve((*right, *seats.shown(3), (trainer, stranger.envelope.signature)), verify)


def test_few_words_are_not_verified_and_a_wrong_one_ends_it() -> None:
    """Given what a liar shows, then fewer than q words cost no verification, and the first wrong one is the last that is looked at."""
    seats, looked = Seats(7), list[int]()

    def verify(_: Envelope) -> bool:
        looked.append(1)
        return False

    assert not seats.closing.may_serve(seats.shown(1, 2, 3, 4), verify)
    assert not looked
    assert not seats.closing.may_serve(seats.shown(1, 2, 3, 4, 5), verify)
    assert len(looked) == 1


def test_who_knows_of_a_quorum_itself_serves_without_words() -> None:
    """Given the cards or seals of q seats, which have closed, then what was lost of their words holds nothing up."""
    seats = Seats()
    for seat in seats.seats[1:]:
        seats.closing.heard(seat)
    assert seats.closing.may_serve((), verify_envelope)
    assert not seats.closing.may_ask
    assert seats.closing.others_have


def test_without_late_serving_nobody_closes_and_all_is_served() -> None:
    seats = Seats(late=False)
    closing = seats.closing
    for number, seat in enumerate(seats.seats):
        closing.heard(seat)
        closing.said(seats.word(number))
    closing.close(Millis(5))
    assert closing.may_ask
    assert closing.may_serve((), verify_envelope)
    assert (closing.closed_at, closing.is_open, closing.seats) == (None, False, set())


@pytest.mark.parametrize(
    ("settled", "pending", "at_once"), [(0, False, True), (1, False, True), (1, True, False), (2, False, True)]
)
def test_once_offers_are_closed_a_card_waits_for_what_is_pending_alone(settled: int, pending: bool, at_once: bool) -> None:
    """Given two trainers whose offers are known, of which some are given up, then nothing is waited for that can't come any more."""
    trainers = tuple(NodeId(bytes([n]) * 32) for n in (1, 2))
    done = frozenset(trainers[:settled])
    seen = Expectations(frozenset(trainers), frozenset(), frozenset(), done, pending, frozenset(), closed=True)
    assert seen.complete is at_once
    assert not replace(seen, closed=False).complete
    params = a_world().genesis.params
    timer = CardTimer(params, Round(1), Millis(1_000), params.collect_deadline)
    assert timer.due_at(Millis(1_500), seen) == (1_500 if at_once else 1_000 + params.collect_deadline)


# -- whole cores ------------------------------------------------------------------------------------------------------


def has_closed(world: World, seat: NodeId) -> bool:
    """Whether a seat takes no further offers."""
    return round_of(world.cores[seat]).collection.closing.closed_at is not None


def late_world(nodes: int = 10, committee: int = 4, seed: int = 0, **params: object) -> World:
    return a_world(nodes=nodes, committee=committee, seed=seed, late_serving=True, **params)


def packed(world: World, round_: int) -> set[NodeId]:
    segment = world.disks[min(world.cores)].segments[round_].segment
    return {update.offer.author for update in segment.updates if update.offer is not None}


def test_no_update_is_asked_for_before_a_quorum_has_closed_and_nothing_is_lost_by_it() -> None:
    """Given eight rounds in which nothing goes wrong, then each seat says once that it closes, to the others; each payload is asked for
    after q seats have; every trainer is packed, and all is decided in view 0."""
    world = late_world(places=6)
    closed: dict[int, set[NodeId]] = {}
    asked: list[int] = []

    def watch(node: NodeId, effect: Effect) -> bool:
        context = world.cores[node].context
        if isinstance(effect, Send) and kind(effect.message) == CLOSED:
            assert set(effect.to) == set(context.committee) - {node}
            closed.setdefault(context.round, set()).add(node)
        if isinstance(effect, FetchBlob) and effect.label is not None:
            asked.append(context.round)
            assert len(closed[context.round]) >= context.q
        return False

    on_effect(world, watch)
    for round_ in range(1, 9):
        reach(world, round_, LIMIT)
        assert len(packed(world, round_)) == 6
        assert world.disks[min(world.cores)].segments[round_].certificate.view == 0
    assert all(len(seats) == 4 for round_, seats in closed.items() if round_ < 8)
    assert asked.count(3) >= 3 * 6
    one_state(world)


@pytest.mark.parametrize("late", [True, False])
def test_an_offer_that_comes_after_a_seat_closed_is_on_no_card_of_it(late: bool) -> None:
    """Given a trainer that offers only once an honest seat asks for updates, then it is packed in no round, and nobody is blamed;
    where updates are served at once it is packed."""
    world = a_world(nodes=10, committee=4, places=6, seed=4, late_serving=late)
    thief, each = a_trainer(world), world.carry_out
    held: list[Effect] = []

    def carry(node: NodeId, effects: list[Effect]) -> None:
        for effect in effects:
            offers = isinstance(effect, Send) and kind(effect.message) == OFFER
            if node == thief and offers:
                held.append(effect)
                continue
            each(node, [effect])
            if held and node != thief and (world.cores[node].closed_by if late else offers):
                each(thief, [held.pop()])

    world.carry_out = carry  # type: ignore[method-assign]
    times = 0
    for round_ in range(1, 7):
        trains = thief not in committee_of(world)
        held.clear()
        reach(world, round_, LIMIT)
        times += trains and thief in packed(world, round_)
    assert not world.blames
    assert times == 0 if late else times >= 3
    one_state(world)


def test_who_never_offers_costs_no_more_than_where_updates_are_served_at_once() -> None:
    """Given a trainer that is present and silent, then rounds last as they do without late serving, but for the words and the scoring
    that begins later."""
    took: dict[bool, list[int]] = {}
    for late in (True, False):
        world = a_world(seed=3, late_serving=late)
        silent = a_trainer(world)
        on_effect(world, lambda node, effect, silent=silent: node == silent and kind(getattr(effect, "message", None)) == OFFER)
        took[late] = [elapsed(world, round_, LIMIT) for round_ in range(1, 9)]
        one_state(world)
    for with_words, without in zip(sorted(took[True]), sorted(took[False]), strict=True):
        assert with_words <= without + 400


def test_a_payload_that_nobody_gives_holds_no_round_up_for_longer_than_the_grace() -> None:
    """Given a trainer that offers what it gives to nobody, then the others are packed and each round ends within T0 of its usual time."""
    usual = max(elapsed(late_world(seed=5), round_, LIMIT) for round_ in range(1, 3))
    world = late_world(seed=5)
    miser = a_trainer(world)
    world.lacks = lambda _node, blob: blob.root in hidden
    hidden: set[Digest] = set()

    def watch(node: NodeId, effect: Effect) -> bool:
        if node == miser and isinstance(effect, Send) and kind(effect.message) == OFFER:
            assert isinstance(effect.message, Envelope)
            hidden.add(open_envelope(effect.message, (Offer,)).body.blob.root)
        return False

    on_effect(world, watch)
    for round_ in range(1, 7):
        assert elapsed(world, round_, LIMIT) <= usual + T0 + 400
        assert miser not in packed(world, round_)
        assert packed(world, round_)
    one_state(world)


def test_where_no_payload_can_be_had_the_round_closes_once_all_are_given_up() -> None:
    """Given offers of which nobody gives a payload, then empty rounds close at once, not at the collect deadline: nothing more can come."""
    world = late_world(seed=9)
    world.lacks = lambda _node, blob: blob != world.genesis.model
    for round_ in range(1, 4):
        assert elapsed(world, round_, LIMIT) <= 2 * T0
        assert packed(world, round_) == set()
    one_state(world)


@pytest.mark.parametrize("lie", ["never says it", "says it at once", "says it to one other"])
def test_one_seat_that_lies_about_closing_changes_nothing(lie: str) -> None:
    """Given one of four seats that never says that it closes, or at once, then all honest trainers are packed in view 0 all the same."""
    world = late_world(seed=2)
    liar = committee_of(world)[0]
    each = world.carry_out

    def word() -> Signed[OffersClosed]:
        context = world.cores[liar].context
        state = context.state
        place = (state.chain, state.round, state.epoch, context.head_hash, committee_hash(state.epoch, state.committee))
        return seal(OffersClosed(*place), world.identities[liar])

    def carry(node: NodeId, effects: list[Effect]) -> None:
        for effect in effects:
            if node == liar and lie == "says it at once" and isinstance(effect, Train | FetchBlob):
                each(node, [Send(word().envelope, ())])
            if node == liar and isinstance(effect, Send) and kind(effect.message) == CLOSED:
                if lie == "says it to one other":
                    each(node, [replace(effect, to=effect.to[:1])])
                continue
            each(node, [effect])

    world.carry_out = carry  # type: ignore[method-assign]
    for round_ in range(1, 7):
        reach(world, round_, LIMIT)
        assert len(packed(world, round_)) == 6
        assert world.disks[liar].segments[round_].certificate.view == 0
    assert {blame.node for blame in world.blames} <= {liar}
    one_state(world)


def test_a_word_of_a_stranger_of_a_trainer_or_of_another_round_is_refused() -> None:
    world = late_world()
    judge, seat, other = committee_of(world)[:3]
    core = world.cores[judge]
    context = core.context
    right = OffersClosed(*context.place)
    wrong: list[tuple[OffersClosed, NodeId, Rejection]] = [
        (right, a_trainer(world), Rejection.NOT_COMMITTEE),
        (replace(right, parent=Digest(bytes(32))), other, Rejection.WRONG_PARENT),
        (replace(right, committee=Digest(bytes(32))), other, Rejection.WRONG_COMMITTEE),
    ]
    for body, author, why in wrong:
        effects = core.handle(MessageReceived(seal(body, world.identities[author]).envelope, other), world.instant())
        assert [effect.rejection for effect in effects if isinstance(effect, Blame)] == [why]
    forged = replace(seal(right, world.identities[other]).envelope, author=seat)
    effects = core.handle(MessageReceived(forged, other), world.instant())
    assert [effect.rejection for effect in effects if isinstance(effect, Blame)] == [Rejection.BAD_SIGNATURE]
    assert round_of(core).collection.closing.seats == set()
    for author in context.committee[1:]:
        core.handle(MessageReceived(seal(right, world.identities[author]).envelope, author), world.instant())
    assert [seat for seat, _ in core.closed_by] == sorted(context.committee)
    at_once = a_world()
    judge, seat = committee_of(at_once)[:2]
    word = seal(OffersClosed(*at_once.cores[judge].context.place), at_once.identities[seat])
    assert at_once.cores[judge].handle(MessageReceived(word.envelope, seat), at_once.instant()) == []


def test_a_seat_that_restarts_with_its_card_says_again_that_it_has_closed() -> None:
    """Given a seat whose card is durable when it stops, then after its restart it has closed, says so, and takes no offer for its card."""
    world = late_world(seed=6)
    said: list[int | None] = []
    reach(world, 1, LIMIT)
    seat = committee_of(world)[1]
    assert world.run_until(lambda: round_of(world.cores[seat]).collection.own_card is not None, LIMIT)
    of = world.cores[seat].context.round
    world.kill(seat)

    def watch(node: NodeId, effect: Effect) -> bool:
        if node == seat and isinstance(effect, Send):
            said.append(kind(effect.message))
        return False

    on_effect(world, watch)
    world.start(seat)
    assert world.cores[seat].context.round == of
    assert round_of(world.cores[seat]).collection.closing.closed_at is not None
    assert CLOSED in said
    reach(world, of + 2, LIMIT)
    one_state(world)


def test_a_seat_that_heard_no_word_asks_once_they_are_said_again() -> None:
    """Given a seat that hears no word of others at first, then it scores and sends its card once they repeat them."""
    world = late_world(seed=7)
    deaf = committee_of(world)[1]
    start, post = world.now, world.post

    def posted(node: NodeId, event: Event, after: int) -> None:
        said = kind(event.message) if isinstance(event, MessageReceived) else None
        if not (said in (CLOSED, SEAL, CARD, PRE_PREPARE) and node == deaf and world.now - start < T0 // 2):
            post(node, event, after)

    world.post = posted  # type: ignore[method-assign]
    assert world.run_until(lambda: round_of(world.cores[deaf]).collection.own_card is not None, LIMIT)
    assert world.now - start >= T0 // 2
    assert len(world.cores[deaf].closed_by) >= 3
    reach(world, 2, LIMIT)
    one_state(world)


def test_cards_come_after_the_words() -> None:
    """Given five rounds, then no seat sends its card before a quorum has closed by its own view."""
    world = late_world(seed=8)

    def watch(node: NodeId, effect: Effect) -> bool:
        if isinstance(effect, Send) and kind(effect.message) == CARD:
            assert round_of(world.cores[node]).collection.closing.may_ask
        return False

    on_effect(world, watch)
    reach(world, 5, LIMIT)


def test_offers_that_nobody_gives_close_no_round_before_the_others_have_trained() -> None:
    """Given as many trainers as there are places that offer at once and give nothing, among eight that train 3 s, then these are packed in
    every round, none lasts longer than it would, and the six lose their name for offering."""
    world = late_world(nodes=18, seed=1)
    idlers = set(sorted(set(world.cores) - set(committee_of(world)))[:6])
    world.train_ms = lambda node: 1 if node in idlers else 3_000
    each = world.carry_out

    def carry(node: NodeId, effects: list[Effect]) -> None:
        for effect in effects:
            label = effect.label if isinstance(effect, FetchBlob) else None
            if label is None or NodeId(bytes.fromhex(label.rpartition(":")[2])) not in idlers or node in idlers:
                each(node, [effect])

    world.carry_out = carry  # type: ignore[method-assign]
    took = [elapsed(world, round_, LIMIT) for round_ in range(1, 8)]
    assert max(took[1:]) <= 3_000 + 2 * T0
    for round_ in range(2, 8):
        assert packed(world, round_), "somebody honest is packed"
        assert not packed(world, round_) & idlers
    state = world.disks[min(world.cores)].head.state
    assert not offering(state) & idlers
    assert state.pace.stretches == 0


def test_who_has_just_started_closes_for_nobody_before_it_has_heard_who_is_here() -> None:
    """Given a seat that starts again while others train, a liar's early word, and a trainer that offers to that seat at once, then the round
    goes on until the honest have trained, and all of them are packed."""
    world = late_world(nodes=13, places=9, seed=1)
    world.train_ms = lambda _: 3_000
    reach(world, 1, LIMIT)
    seats = committee_of(world)
    liar, victim, friend = seats[1], seats[-1], a_trainer(world)
    world.run_until(lambda: False, 1_000)
    early = seal(OffersClosed(*world.cores[liar].context.place), world.identities[liar])
    world.kill(victim)
    world.start(victim)
    context = world.cores[friend].context
    beacon = seal(Beacon(*context.place), world.identities[friend])
    label = update_label(context.state.chain, context.round, friend)
    blob = BlobRef(Digest(bytes([9]) * 32), payload_size(world.genesis.task.tensors, label))
    offer = seal(Offer(*context.place, blob, 7), world.identities[friend])
    for message in (beacon, offer, early):
        world.feed(victim, MessageReceived(message.envelope, message.author))
    for seat in seats:
        world.feed(seat, MessageReceived(early.envelope, liar))
    assert not has_closed(world, victim)
    reach(world, 2, LIMIT)
    assert len(packed(world, 2) - {friend}) == 8


def test_a_seat_that_restarts_after_its_word_is_bound_to_the_offers_that_it_had() -> None:
    """Given a seat that stops after it said that it closed and before its card, then it has the same offers after its restart, has closed, and
    an offer that comes then is none of its candidates."""
    world = late_world(seed=3)
    reach(world, 1, LIMIT)
    seat, trainer = committee_of(world)[2], a_trainer(world)
    on_effect(world, lambda node, effect: node == trainer and kind(getattr(effect, "message", None)) == OFFER)
    assert world.run_until(lambda: has_closed(world, seat), LIMIT)
    before = set(round_of(world.cores[seat]).collection.slots)
    assert round_of(world.cores[seat]).collection.own_card is None
    assert before
    world.kill(seat)
    world.start(seat)
    collection = round_of(world.cores[seat]).collection
    assert has_closed(world, seat)
    assert set(collection.slots) == before
    assert world.cores[seat].context.me in collection.closing.seats
    context = world.cores[trainer].context
    label = update_label(context.state.chain, context.round, trainer)
    blob = BlobRef(Digest(bytes([9]) * 32), payload_size(world.genesis.task.tensors, label))
    late = seal(Offer(*context.place, blob, 7), world.identities[trainer])
    world.feed(seat, MessageReceived(late.envelope, trainer))
    assert late.digest in round_of(world.cores[seat]).collection.offers
    assert late.digest not in round_of(world.cores[seat]).collection.slots
    reach(world, 3, LIMIT)
    one_state(world)
