"""What liars, hasty trainers and broken judges could do with the pace of a community (design 6.7), until a hostile reader tried."""

from collections.abc import Callable, Iterator
from random import Random

from bflcd.core.effects import Effect, Score
from bflcd.core.events import Event, IdleChanged, MessageReceived
from bflcd.ledger.pace import LATE
from bflcd.ledger.quorum import leader
from bflcd.ledger.roles import trainers
from bflcd.node.views.status import _stalled
from bflcd.types import NodeId
from tests.core.test_core_liars import an_offer
from tests.core.test_pace import LIMIT, decided_in, packed
from tests.helpers.inside import quiet, round_of
from tests.helpers.scenes import (
    CARD,
    OFFER,
    PRE_PREPARE,
    PREPARE,
    a_trainer,
    a_world,
    committee_of,
    kind,
    leader_in,
    one_state,
    reach,
)
from tests.helpers.world import World

LONG = 300_000
"""Milliseconds of training: five times the collect deadline that is set."""

Lost = Callable[[NodeId, MessageReceived], bool]


def lose(world: World, lost: Lost) -> None:
    """From now on the network loses what `lost` says of a receiver and a message."""
    post = world.post

    def losing(node: NodeId, event: Event, after: int) -> None:
        if not (isinstance(event, MessageReceived) and node != event.peer and lost(node, event)):
            post(node, event, after)

    world.post = losing  # type: ignore[method-assign]


def proposers(world: World, first: int, last: int) -> list[NodeId]:
    """Who first proposed the segments that closed these rounds, of which none is the genesis'."""
    segments, found = world.disks[min(world.cores)].segments, []
    for round_ in range(first, last):
        opened, closed = (segments[number].segment.model_header.model for number in (round_, round_ + 1))
        assert opened is not None
        assert closed is not None
        found.append(leader(opened.committee, closed.view))
    return found


def one_liar_of_a_small_committee(world: World, liar: NodeId, *, leads: bool) -> None:
    """It gives its offer to all judges but one, and its card to another one alone; unless `leads`, it proposes nothing in view 0.

    So one judge waits for the liar's offer, the leader for that judge's card, and the third holds q cards and times view 0. With
    the liar that is f + 1 who ask for the next view, and the others join them.
    """

    def lost(node: NodeId, event: MessageReceived) -> bool:
        if event.peer != liar:
            return False
        honest = [member for member in committee_of(world) if member != liar]
        what = kind(event.message)
        silent = what == PRE_PREPARE and not leads and event.message.view_changes == ()  # type: ignore[union-attr]
        return silent or (what == CARD and node != honest[-1]) or (what == OFFER and node == honest[-2])

    lose(world, lost)


def test_one_trainer_that_offers_at_once_does_not_end_the_wait_for_all_others() -> None:
    """Given training that takes longer than the deadline, and one liar without a seat that offers each judge another junk update
    at once, then the deadline grows as it does without the liar, and the others' updates are packed.

    Each of its offers is on one card, so it counts for nothing, convicts nobody and makes nobody rest; but it is a first offer.
    """
    world = a_world()
    liar = world.identities[a_trainer(world)]
    world.train_ms = lambda _: LONG
    world.kill(liar.node_id)
    rounds = 8
    for round_ in range(rounds):
        for number, judge in enumerate(committee_of(world)):
            offer = an_offer(world, liar, 10 * round_ + number, world.cores[judge].context)
            world.feed(judge, MessageReceived(offer, liar.node_id))
        reach(world, round_ + 1, LIMIT)
    assert min(packed(world, 4, rounds)) == 5


def test_one_member_with_little_data_does_not_keep_those_with_much_from_learning() -> None:
    """Given honest trainers that take 300 s and one that takes 0.2 s, then rounds in which the fast one trains pack others too."""
    world = a_world()
    fast = a_trainer(world)
    world.train_ms = lambda node: 200 if node == fast else LONG
    reach(world, 12, LIMIT)
    assert min(packed(world, 6, 12)) > 1


def test_a_liar_that_shows_its_card_to_one_judge_makes_no_honest_leaders_view_fail() -> None:
    """Given four that train and judge, of which one lies, then honest members lead in most rounds, and few views of theirs fail."""
    world = a_world(4, 4, 4, small_community=True)
    liar = min(world.cores)
    world.train_ms = lambda _: 20_000
    one_liar_of_a_small_committee(world, liar, leads=True)
    reach(world, 24, LIMIT)
    assert proposers(world, 4, 24).count(liar) <= 10


def test_one_liar_of_four_makes_no_round_late_but_those_that_it_leads() -> None:
    """Given the same liar, which in view 0 proposes nothing either, then fewer than 12 of 16 rounds are late: T0 is long enough."""
    world = a_world(4, 4, 4, small_community=True)
    world.train_ms = lambda _: 20_000
    one_liar_of_a_small_committee(world, min(world.cores), leads=False)
    reach(world, 16, LIMIT)
    one_state(world)
    assert sum(view > 0 for view in decided_in(world, 0, 16)) < LATE


def test_a_judge_that_cannot_score_holds_no_round_longer_because_training_once_took_long() -> None:
    """Given a grown deadline, training that is short again, a dead judge, and one that holds all offers while its scoring hangs,
    then the round takes the deadline that was set: what training takes is known."""
    world = a_world()
    world.train_ms = lambda _: 800_000
    reach(world, 5, LIMIT)
    world.train_ms = lambda _: 200
    reach(world, 6, LIMIT)
    hung, dead = committee_of(world)[:2]
    answer = world.answer

    def hanging(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        return iter(()) if isinstance(effect, Score) and node == hung else answer(node, effect)

    world.answer = hanging  # type: ignore[method-assign]
    world.kill(dead)
    before = world.now
    reach(world, 7, LIMIT)
    assert world.now - before <= 65_000


def test_rounds_in_which_nobody_may_train_say_nothing_of_how_long_training_takes() -> None:
    """Given a lot that lets nobody train in some rounds, and trainers that take a moment, then the deadline is as it was set."""
    world = a_world(active_fraction=100_000)
    without = 0
    for round_ in range(1, 13):
        context = next(iter(world.cores.values())).context
        without += not trainers(context.params, context.state)
        reach(world, round_, LIMIT)
    assert without > 0
    assert world.disks[min(world.cores)].head.state.pace.stretches == 0


def test_who_stands_still_where_nobody_trains_is_told_so_soon() -> None:
    """Given a community in which nobody trains, whose rounds take 60 s, when a quorum is gone, then its operators are warned
    within two deadlines and ten views, as in the first round."""
    world = a_world()
    world.train_ms = lambda _: 10**9
    for node in world.cores:
        world.feed(node, IdleChanged(frozenset(world.cores)))
    reach(world, 5, LIMIT)
    here = leader_in(world)
    for node in committee_of(world):
        if node != here:
            world.kill(node)
    world.run_until(lambda: False, 2 * 60_000 + 10 * 1_250)
    assert _stalled(world.cores[here].snapshot(world.instant()))


def test_restarts_lost_disks_and_catching_up_leave_all_with_one_pace() -> None:
    """Given links that make rounds late, and nodes that are killed, restarted, or wiped and fetch the chain, then T0 and deadline of
    a round are the same for all, and each card says the view that its author's certificate has."""
    world, rng = a_world(), Random(1)
    world.delay = lambda: world.rng.randint(700, 1_300)
    waits: dict[int, tuple[int, int]] = {}
    for round_ in range(1, 30):
        assert world.run_until(lambda: max(world.rounds()) >= round_, LIMIT), world.rounds()  # noqa: B023
        for node, core in world.cores.items():
            context, disk = core.context, world.disks[node]
            mine = context.view_timeout, context.collect_deadline
            assert waits.setdefault(context.round, mine) == mine
            last = disk.segments.get(context.round)
            assert round_of(core).collection.card_body(quiet(core)).decided == (0 if last is None else last.certificate.view)
        node = rng.choice(sorted(world.cores))
        world.kill(node)
        if rng.random() < 0.3:
            world.wipe(node)
            world.start(node, fresh=True)
            world.catch_up(node)
        else:
            world.start(node)
    assert len(set(waits.values())) > 1
    one_state(world)


def test_no_card_is_passed_on_to_a_leader_that_has_proposed() -> None:
    """Given a committee whose leader has proposed, and a network that loses all prepares, then nobody brings the leader cards that it
    has: each of n - 1 judges would bring up to q - 1, which is (n - 1) (q - 1) cards at once on the leader's line, when it is slow."""
    world = a_world(16, 16, 6)
    first = leader_in(world)
    proposed, passed = set[NodeId](), list[tuple[NodeId, NodeId]]()

    def lost(node: NodeId, event: MessageReceived) -> bool:
        what = kind(event.message)
        if what == PRE_PREPARE and event.peer == first:
            proposed.add(node)
        if what == CARD and node == first and event.peer != event.message.author and event.peer in proposed:  # type: ignore[union-attr]
            passed.append((event.peer, event.message.author))  # type: ignore[union-attr]
        return what == PREPARE

    lose(world, lost)
    world.run_until(lambda: len(proposed) == 15, LIMIT)
    world.run_until(lambda: False, 2 * 1_250)
    assert len(proposed) == 15
    assert len(set(passed)) == 0


def test_a_liar_that_leads_fails_no_view_but_its_own() -> None:
    """Given the liar that shows its card to one judge alone, when it leads view 0 and proposes nothing, then the leader of view 1 has
    the cards by which its view is timed: the round is decided in view 1, and no honest leader is told to have failed."""
    world = a_world(4, 4, 4, small_community=True)
    world.train_ms = lambda _: 20_000
    liar = min(world.cores)
    one_liar_of_a_small_committee(world, liar, leads=False)
    reach(world, 21, LIMIT)
    segments = world.disks[min(world.cores)].segments
    models = {round_: segments[round_].segment.model_header.model for round_ in range(1, 21)}
    led = [model.view for round_, model in models.items() if round_ > 1 and models[round_ - 1].committee[0] == liar]  # type: ignore[union-attr]
    assert led
    assert max(led) == 1
