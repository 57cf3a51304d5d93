"""For whom a member waits before it signs its card, and for how long (design 5.3)."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.core.events import Event, IdleChanged, MessageReceived, Trained
from bflcd.core.round.waiting import PATIENT_EVERY, CardTimer, Expectations
from bflcd.ledger.state import HALF
from bflcd.types import Millis, NodeId, Round
from tests.helpers.inside import round_of
from tests.helpers.ledger import make_community
from tests.helpers.scenes import T0, a_trainer, a_world, committee_of, elapsed, reach
from tests.helpers.world import World

TRAINERS = tuple(NodeId(bytes([n]) * 32) for n in range(1, 9))
DEADLINE = 60_000
PARAMS = make_community(view_timeout=T0, collect_deadline=DEADLINE, places=6).params
OPENED = Millis(1_000)
HASTY, PATIENT = Round(PATIENT_EVERY + 1), Round(PATIENT_EVERY)


def seen(expected: int, scored: int, *, others: int = 0, failed: int = 0, pending: bool = False) -> Expectations:
    """The first `expected` trainers are waited for, `others` after them are here; the first are scored, those after them given up."""
    settled = frozenset(TRAINERS[: scored + failed])
    return Expectations(
        frozenset(TRAINERS[:expected]),
        frozenset(TRAINERS[expected : expected + others]),
        frozenset(TRAINERS[:scored]),
        settled,
        pending,
        settled,
    )


def wait_after(taken: int, what: Expectations, round_: Round = HASTY) -> int:
    """How long a card waits from the moment at which `what` came to hold, `taken` milliseconds after the round opened."""
    timer, now = CardTimer(PARAMS, round_, OPENED, Millis(DEADLINE)), Millis(OPENED + taken)
    timer.look(now, what)
    return timer.due_at(Millis(now + 1 if now < OPENED + DEADLINE else now), what) - now


@pytest.mark.parametrize(
    ("taken", "what", "wait"),
    [
        (300, seen(4, 3), T0),
        (2_000, seen(4, 3), T0),
        (8_000, seen(4, 3), 2_000),
        (59_000, seen(4, 3), 1_000),
        (300, seen(4, 2), DEADLINE - 300),
        (300, seen(4, 0), DEADLINE - 300),
        (300, seen(4, 2, failed=1), DEADLINE - 300),
        (300, seen(3, 3, others=2), 150),
        (4_000, seen(3, 3, others=2), T0),
        (8_000, seen(3, 3, others=2), 2_000),
        (300, seen(4, 2, failed=2, pending=True), 150),
        (
            300,
            Expectations(
                frozenset(TRAINERS[:1]), frozenset(TRAINERS[1:2]), frozenset(TRAINERS[1:2]), frozenset(TRAINERS[1:2]), False
            ),
            T0,
        ),
    ],
)
def test_a_card_waits_a_share_of_what_the_round_has_taken(taken: int, what: Expectations, wait: int) -> None:
    assert wait_after(taken, what) == wait


@pytest.mark.parametrize(
    ("taken", "what", "wait"),
    [(300, seen(4, 3), T0), (300, seen(3, 3, others=2), T0), (8_000, seen(3, 3, others=2), 2_000)],
)
def test_in_every_eighth_round_a_card_waits_for_who_is_slower_than_the_others(taken: int, what: Expectations, wait: int) -> None:
    assert wait_after(taken, what, PATIENT) == wait


@pytest.mark.parametrize("what", [seen(4, 4), seen(4, 2, failed=2), seen(3, 4, others=1)])
def test_a_card_waits_for_nobody_once_all_have_come(what: Expectations) -> None:
    timer = CardTimer(PARAMS, HASTY, OPENED, Millis(DEADLINE))
    assert timer.due_at(Millis(OPENED + 5), what) == OPENED + 5


def test_a_grace_that_is_broken_begins_anew() -> None:
    """Given enough offers, when more trainers turn up so that they are enough no more, then the grace runs from when they are again."""
    timer, enough, few = CardTimer(PARAMS, HASTY, OPENED, Millis(DEADLINE)), seen(4, 3), seen(8, 3)
    timer.look(Millis(OPENED + 100), enough)
    timer.look(Millis(OPENED + 150), few)
    assert timer.due_at(Millis(OPENED + 150), few) == OPENED + DEADLINE
    timer.look(Millis(OPENED + 400), enough)
    assert timer.due_at(Millis(OPENED + 500), enough) == OPENED + 400 + T0


LONGER = 4 * DEADLINE


@pytest.mark.parametrize(
    ("taken", "what", "lasts"),
    [
        (300, seen(4, 0), LONGER),
        (300, seen(0, 0), DEADLINE),
        (300, seen(5, 2), LONGER),
        (300, seen(5, 1, others=2), LONGER),
        (300, seen(4, 2), DEADLINE),
        (16_000, seen(4, 2), 64_000),
        (50_000, seen(4, 2), 200_000),
        (100_000, seen(4, 2), LONGER),
        (100_000, seen(4, 3), 125_000),
        (300, replace(seen(4, 0), offered=frozenset(TRAINERS[:2])), DEADLINE),
        (300, replace(seen(4, 0), offered=frozenset(TRAINERS[4:])), LONGER),
    ],
)
def test_a_deadline_that_has_grown_is_for_what_trains_long(taken: int, what: Expectations, lasts: int) -> None:
    """As long as fewer than half have offered the whole of it counts; then what their offers took; where nobody trains none."""
    timer, now = CardTimer(PARAMS, HASTY, OPENED, Millis(LONGER)), Millis(OPENED + taken)
    timer.look(now, what)
    assert timer.due_at(Millis(now + 1), what) == OPENED + lasts


@given(st.integers(0, DEADLINE), st.integers(0, 8), st.integers(0, 8), st.integers(0, 8), st.booleans())
def test_one_member_costs_a_round_t0_or_a_quarter_at_most(
    taken: int, expected: int, others: int, scored: int, pending: bool
) -> None:
    """Whoever is missing, a card waits at most T0, or a quarter of what it took until all but one that is expected were scored; half
    as long, in a short round, if all that are expected have come."""
    what = seen(expected, scored, others=others, pending=pending)
    missing = len(what.expected - what.settled)
    if what.scored and missing <= 1 and (missing == 0 or len(what.scored & what.expected) >= 1):
        assert wait_after(taken, what) <= max(taken // 4, T0 if missing else taken // 2, 1)


# -- whole cores -----------------------------------------------------------------------------------------------------------------


def silent(world: World, count: int) -> frozenset[NodeId]:
    """Members that are present and never offer."""
    bad = frozenset(sorted(world.cores)[-count:])
    world.train_ms = lambda node: 10**9 if node in bad else 200
    return bad


@pytest.mark.parametrize(("nodes", "silents"), [(7, 1), (7, 2), (10, 2), (10, 3)])
def test_who_is_present_and_never_offers_is_waited_for_in_the_first_rounds_alone(nodes: int, silents: int) -> None:
    """Row 8. Given members that beacon and never offer, then the rounds that know nothing of them yet take the collect deadline at
    most, and every later one less than twice what it takes without them."""
    usual = a_world(nodes, places=max(4, nodes - 4))
    reach(usual, 2, 200_000)
    world = a_world(nodes, places=max(4, nodes - 4))
    silent(world, silents)
    assert elapsed(world, 2, 200_000) <= 2 * (DEADLINE + 2_000)
    assert elapsed(world, 12) < 2 * elapsed(usual, 12)


def test_who_offers_again_is_waited_for_again() -> None:
    """Given a trainer that was gone for many rounds, when it offers again, then it is packed, and soon among the expected."""
    world = a_world()
    (away,) = silent(world, 1)
    reach(world, 20, 400_000)
    state = world.disks[away].head.state
    assert next(account.offering for account in state.accounts if account.node == away) < HALF
    world.train_ms = lambda _: 200
    reach(world, 40, 400_000)
    account = next(account for account in world.disks[away].head.state.accounts if account.node == away)
    assert account.packed_round > 20
    assert account.offering >= HALF


def test_who_offers_at_once_does_not_shut_the_other_out() -> None:
    """Given two trainers a round, one of which offers at once wherever it trains, then the other, who has to train, is packed too."""
    world = a_world(6, places=4)
    hasty = max(world.cores)
    world.train_ms = lambda node: 1 if node == hasty else 400
    together = []
    for round_ in range(1, 25):
        reach(world, round_, 400_000)
        accounts = world.disks[hasty].head.state.accounts
        packed = {account.node for account in accounts if account.packed_round == round_ - 1}
        if hasty in packed:
            together.append(len(packed))
    assert len(together) >= 6
    assert set(together) == {2}


def test_who_lost_its_name_and_is_slower_than_the_others_is_packed_again() -> None:
    """Given a trainer that was gone for many rounds, and needs twice as long as the others from then on, then it is packed again."""
    world = a_world()
    (away,) = silent(world, 1)
    reach(world, 20, 400_000)
    world.train_ms = lambda node: 600 if node == away else 200
    reach(world, 60, 400_000)
    assert next(account for account in world.disks[away].head.state.accounts if account.node == away).packed_round > 20


def far_away(world: World, far: NodeId) -> None:
    """What it is told and gets comes 200 ms later, and what it says 100 ms."""
    post = world.post

    def later(node: NodeId, event: Event, after: int) -> None:
        if node == far and not isinstance(event, Trained):
            after += 200
        elif isinstance(event, MessageReceived) and event.peer == far:
            after += 100
        post(node, event, after)

    world.post = later  # type: ignore[method-assign]


def test_who_is_far_from_all_others_is_packed_where_rounds_are_patient() -> None:
    """Given a trainer whose words come after the others' rounds have closed, which says over its connections that it trains, then it is
    packed in patient rounds, and all others last as long as without it."""
    world, usual = a_world(), a_world()
    far = a_trainer(world)
    far_away(world, far)
    for node in world.cores:
        world.feed(node, IdleChanged(frozenset(), frozenset(world.cores)))
    world.train_ms = usual.train_ms = lambda _: 100
    last = 5 * PATIENT_EVERY + 1
    taken = [elapsed(world, round_, who=[node for node in world.cores if node != far]) for round_ in range(1, last + 1)]
    packed = []
    segments = world.disks[min(node for node in world.cores if node != far)].segments
    for round_ in range(1, last + 1):
        offers = [update.offer for update in segments[round_].segment.updates if update.offer is not None]
        packed += [round_ - 1] if far in {offer.author for offer in offers} else []
    assert sum(round_ % PATIENT_EVERY == 0 for round_ in packed) >= 3
    patient = max(taken[PATIENT_EVERY::PATIENT_EVERY])
    assert patient <= 1.25 * elapsed(usual, 1) + T0
    assert sorted(taken)[len(taken) // 2] <= 1.25 * elapsed(usual, 2)


def expected_by_a_judge(world: World, offering: Callable[[NodeId], bool]) -> frozenset[NodeId]:
    """Whom a judge of round 0 waits for when everybody is here and these have a name for offering."""
    core = world.cores[committee_of(world)[0]]
    collection = round_of(core).collection
    collection._offering = frozenset(node for node in world.cores if offering(node))
    return collection.expected(world.now)


def test_a_few_who_always_offer_do_not_set_the_pace_for_all() -> None:
    """Given six trainers, when two of them have a name for offering the others are not waited for, when one has all are."""
    world = a_world()
    free = [node for node in world.cores if node not in committee_of(world)]
    assert expected_by_a_judge(world, free[:2].__contains__) == set(free[:2])
    assert expected_by_a_judge(world, free[:1].__contains__) == set(free)
    assert expected_by_a_judge(world, lambda _: False) == set(free)


# -- who says that it does not train -----------------------------------------------------------------------------------------------


def say_idle(world: World, *nodes: NodeId) -> None:
    """From now on these say that they do not train, and nobody else does."""
    for node in tuple(world.cores):
        world.feed(node, IdleChanged(frozenset(nodes)))


def test_who_says_that_it_does_not_train_is_waited_for_in_no_round() -> None:
    """Given two trainers that beacon and never offer / When they say so / Then no round waits for them, not even the first, while
    the same trainers without a word hold that to the collect deadline."""
    usual, mute, honest = a_world(), a_world(), a_world()
    silent(mute, 2)
    say_idle(honest, *silent(honest, 2))
    taken = elapsed(usual, 4)
    assert elapsed(honest, 4) < 1.5 * taken
    assert elapsed(mute, 4) > DEADLINE


def test_who_says_that_it_trains_again_is_waited_for_again_from_the_same_moment() -> None:
    """Given a judge in a round in which everybody is here, then it expects all but those that say that they do not train now."""
    world = a_world()
    judge = world.cores[committee_of(world)[0]]
    free = frozenset(world.cores) - frozenset(committee_of(world))
    gone, *_ = free
    said = []
    for idle in (frozenset(), frozenset({gone}), free, frozenset({gone}), frozenset()):
        world.feed(judge.context.me, IdleChanged(idle))
        said.append(judge.snapshot(world.instant()).expected)
    assert said == [free, free - {gone}, frozenset(), free - {gone}, free]


def test_a_word_holds_in_the_rounds_that_follow() -> None:
    """Given a trainer that says once that it does not train, then none of the rounds after it expects it, though all others without a
    seat are expected as they open."""
    world = a_world()
    gone = a_trainer(world)
    say_idle(world, gone)
    asked = 0
    for round_ in range(1, 7):
        reach(world, round_, 200_000)
        seats = committee_of(world)
        for judge in (core for core in world.cores.values() if core.context.judges and gone not in seats):
            assert judge.snapshot(world.instant()).expected == frozenset(world.cores) - {gone, *seats}
            asked += 1
    assert asked


def test_an_offer_in_time_counts_whatever_its_author_says_of_itself() -> None:
    """Given all trainers but one that say that they do not train, and offer as soon as the one does / Then theirs are packed too, and
    the votes of those of them that get a seat decide the rounds."""
    world = a_world()
    say_idle(world, *sorted(world.cores)[1:])
    reach(world, 6, 400_000)
    segments = world.disks[min(world.cores)].segments
    packed = [sum(update.offer is not None for update in segments[round_].segment.updates) for round_ in range(2, 7)]
    assert min(packed) >= 4


def test_if_all_say_that_they_do_not_train_the_round_closes_at_the_deadline() -> None:
    """Given a community whose trainers say that they do not train, and don't / Then each round is empty, and closes."""
    world = a_world()
    silent(world, len(world.cores))
    say_idle(world, *world.cores)
    taken = elapsed(world, 2, 3 * DEADLINE)
    assert 2 * DEADLINE <= taken <= 2 * (DEADLINE + 2_000)
