"""The whole order in which seats are filled, and the rules for its first group (design 5, Election; paper IV-B)."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.errors import InvariantError
from bflcd.ledger.election import DRAWN_FROM, RULES, Election, Merit, SeatCandidate, by_factors, elect, may_sit
from bflcd.ledger.roles import seed_of, tie_break, trainers
from bflcd.ledger.state import HALF, NEVER, State
from bflcd.params import ELECTIONS, Params
from bflcd.types import Digest, MicroNats, NodeId, PartsPerMillion
from tests.helpers.ledger import make_community, play_gains

START = make_community(16, 4, 6)
"""Members 0 to 3 hold the seats and are the managers."""


def node(index: int) -> NodeId:
    return START.members[index]


def state_with(managers: tuple[int, ...] = (0, 1, 2, 3), **accounts: tuple[int, int, int]) -> State:
    """START's state with (packed_round, packed_score, seat_round) of the members named n0, n1, ..."""
    changed = {node(int(name[1:])): values for name, values in accounts.items()}
    found = [
        replace(a, packed_round=changed[a.node][0], packed_score=changed[a.node][1], seat_round=changed[a.node][2])
        if a.node in changed
        else a
        for a in START.state.accounts
    ]
    return replace(START.state, round=20, accounts=tuple(found), managers=tuple(node(i) for i in managers))


def seats(election: Election) -> list[int]:
    return [START.members.index(seat) for seat in election.committee]


def merits(packed: dict[int, int], rates: dict[int, int] | None = None) -> dict[NodeId, Merit]:
    return {node(i): Merit(MicroNats(score), (rates or {}).get(i, 0)) for i, score in packed.items()}


def run(
    state: State,
    packed: dict[int, int],
    present: list[int],
    size: int = 4,
    rule: str = "score",
    rates: dict[int, int] | None = None,
) -> Election:
    params = replace(START.params, committee_size=size, election=rule)
    return elect(params, state, merits(packed, rates), frozenset(node(i) for i in present), seed_of(state))


ALL = list(range(16))

FIVE_GROUPS = state_with(
    managers=(14, 15),
    n0=(3, 50, 20),
    n1=(19, 100, 20),
    n2=(4, 10, 20),
    n3=(4, 20, 20),
    n7=(9, 5, 2),
    n8=(9, 6, NEVER),
    n9=(8, 99, 1),
    n10=(NEVER, 0, 7),
    n11=(NEVER, 0, NEVER),
    n12=(NEVER, 0, 3),
    n13=(19, 99, NEVER),
    n14=(NEVER, 0, 5),
    n15=(2, 7, 5),
)


def test_the_whole_order() -> None:
    """Packed by score; packed before by round, then score; the seated alike; others by their last seat; the absent, managers first."""
    present = [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    election = run(FIVE_GROUPS, {4: 10, 5: 30, 6: 20}, present, size=16)
    assert seats(election) == [5, 6, 4, 8, 7, 9, 3, 2, 0, 11, 12, 10, 15, 14, 13, 1]
    assert election.degraded


@pytest.mark.parametrize("size", range(1, 17))
def test_a_smaller_committee_is_the_head_of_a_larger_one(size: int) -> None:
    present = [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    whole = run(FIVE_GROUPS, {4: 10, 5: 30, 6: 20}, present, size=16)
    election = run(FIVE_GROUPS, {4: 10, 5: 30, 6: 20}, present, size=size)
    assert election == Election(whole.committee[:size], size > 3)


def test_enough_packed_fill_all_seats_by_score() -> None:
    election = run(state_with(), {4: 1, 5: 5, 6: 3, 7: 4, 8: 2}, ALL)
    assert (seats(election), election.degraded) == ([5, 7, 6, 8], False)


def test_the_seated_are_not_elected_again_even_with_the_best_score() -> None:
    """In a small community they train too; they follow all other packed members, then in the order of merit."""
    election = run(state_with(n9=(3, 1, NEVER)), {0: 100, 1: 200, 4: 1}, ALL, size=16)
    assert seats(election)[:4] == [4, 9, 1, 0]
    assert set(seats(election)[4:6]) == {2, 3}
    assert run(state_with(), {0: 100, 4: 1, 5: 2}, [0, 4, 5], size=3) == Election((node(5), node(4), node(0)), True)


def test_an_absent_packed_node_is_not_preferred() -> None:
    election = run(state_with(), {4: 100, 5: 1}, [5, 6, 7, 8], size=4)
    assert set(seats(election)) == {5, 6, 7, 8}


def test_nobody_present_seats_the_managers_first() -> None:
    election = run(state_with(managers=(7, 9)), {}, [], size=3)
    assert set(seats(election)[:2]) == {7, 9}
    assert seats(election)[2] in (0, 1, 2, 3)
    assert election.degraded


NOBODY_PACKED = [
    ("nobody was ever packed: the committee of genesis stays", {}, ALL, {0, 1, 2, 3}),
    ("one of it is gone: one other takes its seat", {}, [0, 1, 2, 9], {0, 1, 2, 9}),
    ("packed before: these first, then who holds a seat", {"n5": (3, 1, NEVER), "n6": (9, -7, 4)}, ALL, {5, 6}),
    ("as many packed before as seats", {f"n{i}": (3, 1, NEVER) for i in (5, 6, 7, 8)}, ALL, {5, 6, 7, 8}),
    ("of the seated those that were packed", {"n5": (3, 1, 4), "n0": (8, 1, 20), "n2": (9, 1, 20)}, ALL, {5, 0, 2}),
    ("the packed are absent: the seated stay", {f"n{i}": (3, 1, NEVER) for i in (5, 6)}, [0, 1, 2, 3, 9, 10], {0, 1, 2, 3}),
    ("nobody else is there", {"n5": (3, 1, NEVER)}, [9, 10, 11, 12], {9, 10, 11, 12}),
]


@pytest.mark.parametrize(
    ("accounts", "present", "seated"), [row[1:] for row in NOBODY_PACKED], ids=[row[0] for row in NOBODY_PACKED]
)
@pytest.mark.parametrize("rule", ELECTIONS)
def test_a_round_that_packs_nothing(
    rule: str, accounts: dict[str, tuple[int, int, int]], present: list[int], seated: set[int]
) -> None:
    """Who was never packed gets no seat while others that were, or that hold one, are there."""
    assert seated <= set(seats(run(state_with(**accounts), {}, present, rule=rule)))


@pytest.mark.parametrize("packed", [{}, {4: 7, 5: 7, 6: 7, 7: 7, 8: 7, 9: 7}])
def test_ties_are_broken_by_the_rounds_seed(packed: dict[int, int]) -> None:
    state = state_with()
    candidates = [node(i) for i in (packed or range(4))]
    expected = sorted(candidates, key=lambda n: tie_break(seed_of(state), n))[:4]
    assert run(state, packed, ALL).committee == tuple(expected)
    later = {run(replace(state, round=round_), packed, ALL).committee for round_ in range(21, 26)}
    assert len({tuple(expected), *later}) > 3, "another order nearly every round"


def test_an_empty_round_seats_whom_earlier_rounds_packed() -> None:
    """Row 56: liars that let nothing qualify lose their seats to those who were packed before, and to nobody else."""
    start = make_community(10, 4)
    empty = play_gains(start, {})
    assert set(empty.outcome.committee) == set(start.state.committee), "nobody has been judged: genesis' word counts"
    trained = dict.fromkeys(start.outsiders, 5)
    packed = play_gains(start, trained)
    assert not set(packed.outcome.committee) & set(start.state.committee)
    again = play_gains(packed.after, {})
    judged = {account.node for account in again.outcome.state.accounts if account.packed_round != NEVER}
    assert not set(again.outcome.committee) & set(packed.outcome.committee) - judged
    assert set(again.outcome.committee) <= judged


def test_absence_never_shrinks_the_committee_but_too_few_members_do() -> None:
    assert len(run(state_with(), {}, []).committee) == 4
    assert len(run(state_with(), {}, [], size=40).committee) == 16


def marked(state: State, field: str, *members: int) -> State:
    """`state` in which these members were punished or retired in round 3."""
    nodes = [node(i) for i in members]
    return replace(state, accounts=tuple(replace(a, **{field: 3}) if a.node in nodes else a for a in state.accounts))


@pytest.mark.parametrize(
    ("punished", "retired", "present", "sits"),
    [
        (NEVER, NEVER, True, True),
        (NEVER, NEVER, False, True),
        (0, NEVER, True, False),
        (3, NEVER, False, False),
        (NEVER, 0, False, False),
        (NEVER, 3, False, False),
        (NEVER, 0, True, True),
        (NEVER, 3, True, True),
        (3, 3, True, False),
    ],
)
def test_who_may_sit(punished: int, retired: int, present: bool, sits: bool) -> None:
    """Round 0 counts as a round: only NEVER is none."""
    account = replace(START.state.accounts[5], punished_round=punished, retired_round=retired)
    only = frozenset((account.node,))
    others = frozenset(START.members) - only
    assert may_sit(account, only if present else others) is sits


def test_a_proven_liar_gets_no_seat_with_the_best_score_and_none_at_all() -> None:
    state, scores = marked(state_with(), "punished_round", 4, 5), merits({4: 9, 5: 8, 6: 7, 7: 6, 8: 5, 9: 4})
    for size, seated in ((4, [6, 7, 8, 9]), (40, None)):
        election = elect(replace(START.params, committee_size=size), state, scores, frozenset(START.members), seed_of(state))
        assert seated is None or seats(election) == seated
        assert len(election.committee) == min(size, 14), "they don't count for M_t"
        assert not set(seats(election)) & {4, 5}


def test_who_was_declared_gone_neither_sits_nor_counts_until_it_is_present() -> None:
    state = marked(state_with(), "retired_round", 4, 5)
    there = [i for i in ALL if i != 4]
    assert sorted(seats(run(state, {}, there, size=40))) == there, "5 is present, so it is back; 4 does not count"
    assert sorted(seats(run(state_with(), {}, there, size=40))) == ALL, "absence alone keeps a seat"
    assert seats(run(state, {5: 3, 6: 2, 7: 1, 8: 0}, there)) == [5, 6, 7, 8]
    assert len(run(marked(state_with(), "retired_round", *range(14)), {}, []).committee) == 2


ACCOUNT = st.tuples(st.integers(-1, 19), st.integers(-100, 100), st.integers(-1, 20))
PACKED = st.dictionaries(st.integers(0, 15), st.integers(-100, 100))
RATES = st.dictionaries(st.integers(0, 15), st.integers(0, 2**32 - 1))
each_rule = pytest.mark.parametrize("rule", ELECTIONS)


@each_rule
@settings(max_examples=50, deadline=None)
@given(
    accounts=st.lists(ACCOUNT, min_size=16, max_size=16),
    packed=PACKED,
    rates=RATES,
    present=st.sets(st.integers(0, 15)),
    size=st.integers(1, 20),
)
def test_every_election_fills_min_m_members_and_the_packed_before_the_seated_before_all_others(
    rule: str, accounts: list[tuple[int, int, int]], packed: dict[int, int], rates: dict[int, int], present: set[int], size: int
) -> None:
    state = state_with(**{f"n{i}": values for i, values in enumerate(accounts)})
    election = run(state, packed, sorted(present), size, rule, rates)
    found = seats(election)
    assert len(set(found)) == len(found) == min(size, 16)
    ever = {i for i, values in enumerate(accounts) if values[0] != NEVER} | set(packed)
    assert len(ever & present) < len(found) or set(found) <= ever, "who was never packed waits for all that were"
    lately = {i for i, values in enumerate(accounts) if values[0] != NEVER and values[0] >= 20 - RULES[rule].memory}
    first = {*packed, *lately} if rule == "random" else set(packed)
    order = [_group(i, first, ever, present) for i in found]
    assert order == sorted(order)
    left = [_group(i, first, ever, present) for i in range(16) if i not in found]
    assert not left or not order or min(left) >= max(order)
    assert election.degraded is any(group > 0 for group in order)


def _group(i: int, first: set[int], ever: set[int], present: set[int]) -> int:
    """0 whom the rule orders, 1 packed before, 2 seated, 3 others without a seat, 4 absent."""
    if i not in present:
        return 4
    if i < 4:
        return 2
    return 0 if i in first else 1 if i in ever else 3


# -- the rules ----------------------------------------------------------------------------------------------------------------

EIGHT = {4: 80, 5: 70, 6: 60, 7: 50, 8: 40, 9: 30, 10: 20, 11: 10}
"""Eight packed members without a seat, best first."""


def available(state: State, **shares: int) -> State:
    """`state` with these availabilities of the members named n4, n5, ..., in parts per million; all others have none."""
    of = {node(int(name[1:])): PartsPerMillion(share) for name, share in shares.items()}
    return replace(state, accounts=tuple(replace(a, availability=of.get(a.node, PartsPerMillion(0))) for a in state.accounts))


def drawn(members: list[int], state: State) -> list[int]:
    """In the order that the round's seed draws."""
    return sorted(members, key=lambda i: tie_break(seed_of(state), node(i)))


def test_every_rule_of_genesis_is_there_and_no_other() -> None:
    assert tuple(RULES) == ELECTIONS
    assert Params().election in RULES
    with pytest.raises(InvariantError, match="'lottery' is no election"):
        run(START.state, {}, ALL, rule="lottery")


def test_a_random_election_draws_the_packed_by_the_rounds_seed_whatever_their_scores() -> None:
    state = state_with()
    first = run(state, EIGHT, ALL, 8, "random")
    assert (seats(first), first.degraded) == (drawn(list(EIGHT), state), False)
    assert run(state, dict.fromkeys(EIGHT, 5), ALL, 8, "random") == first
    later = replace(state, lot=Digest(b"another seed".ljust(32)))
    assert seats(run(later, EIGHT, ALL, 8, "random")) == drawn(list(EIGHT), later) != seats(first)


def test_a_random_election_seats_each_of_the_packed_about_as_often() -> None:
    """400 seeds, 3 seats for 8: each is expected 150 times; five standard deviations are 48."""
    states = [replace(state_with(), lot=Digest(bytes([n // 256, n % 256]) * 16)) for n in range(400)]
    times = Counter(seat for state in states for seat in seats(run(state, EIGHT, ALL, 3, "random")))
    assert set(times) == set(EIGHT)
    assert all(abs(count - 150) < 48 for count in times.values()), times


def test_a_random_election_draws_from_those_packed_in_the_last_rounds_too() -> None:
    """Given liars who packed but themselves, when seats are drawn, then those whom they left out are drawn as before."""
    lately = {f"n{i}": (20 - DRAWN_FROM, 1, NEVER) for i in (8, 9)} | {"n10": (20 - DRAWN_FROM - 1, 1, NEVER), "n0": (19, 1, 20)}
    state = state_with(**lately)
    election = run(state, {4: 7, 5: 7}, ALL, 4, "random")
    assert (seats(election), election.degraded) == (drawn([4, 5, 8, 9], state), False)
    assert set(seats(run(state, {4: 7, 5: 7}, [4, 5, 9], 3, "random"))) == {4, 5, 9}
    assert seats(run(state, {}, ALL, 3, "random"))[:2] == drawn([8, 9], state)
    assert run(state, {}, ALL, 3, "random").degraded


def test_no_other_rule_seats_those_packed_before_as_long_as_packed_are_there() -> None:
    state = state_with(n8=(19, 99, NEVER))
    for rule in set(RULES) - {"random"}:
        assert set(seats(run(state, {4: 1, 5: 2}, ALL, 2, rule))) == {4, 5}


# -- committees that pack few of those who offer ----------------------------------------------------------------------------


def offering(state: State, *indices: int, packed: tuple[int, ...] = ()) -> State:
    """`state` in which these offer, of which those of `packed` were packed before genesis' rule remembers it."""
    nodes, before = {node(i) for i in indices}, {node(i) for i in packed}
    accounts = (
        replace(a, offering=PartsPerMillion(HALF + 1 if a.node in nodes else HALF), packed_round=1 if a.node in before else NEVER)
        for a in state.accounts
    )
    return replace(state, accounts=tuple(accounts))


@pytest.mark.parametrize("rule", ELECTIONS)
def test_where_fewer_than_half_of_those_who_offer_were_packed_all_of_them_are_drawn(rule: str) -> None:
    """Two of seven: the others, and one of the two who holds a seat, are no better or worse for it, whatever their repute."""
    offer = offering(state_with(), 0, 5, 6, 7, 8, 9, 10)
    accounts = (replace(a, reputation=MicroNats(-1000 if a.node == node(6) else 1000)) for a in offer.accounts)
    state = replace(offer, accounts=tuple(accounts))
    params = replace(START.params, committee_size=4, election=rule, reputation_rounds=8)
    for lot in range(8):
        by_lot = replace(state, lot=Digest(bytes([lot]) * 32))
        election = elect(params, by_lot, merits({5: 9}), frozenset(START.members), seed_of(by_lot))
        assert (seats(election), election.degraded) == (drawn([5, 6, 7, 8, 9, 10], by_lot)[:4], True)


@pytest.mark.parametrize(
    ("round_", "offer", "packed", "present"),
    [
        (20, (5, 6, 7, 8), (7,), ALL),  # two of four
        (1, (5, 6, 7, 8, 9, 10), (), ALL),  # too early to say
        (20, (5, 6), (), ALL),  # nobody else offers
        (20, (0, 1, 5, 6), (0,), ALL),  # who has a seat counts too
    ],
)
def test_else_those_who_were_packed_come_first(
    round_: int, offer: tuple[int, ...], packed: tuple[int, ...], present: list[int]
) -> None:
    state = replace(offering(state_with(), *offer, packed=packed), round=round_)
    election = run(state, {5: 9}, present, 1, "random")
    assert (seats(election), election.degraded) == ([5], False)


def test_who_may_not_sit_or_does_not_come_is_not_drawn() -> None:
    state = marked(offering(state_with(), 5, 6, 7, 8, 9, 10), "punished_round", 6)
    election = run(state, {5: 9}, [5, 6, 8, 9], 3, "random")
    assert seats(election) == drawn([5, 8, 9], state)


@pytest.mark.parametrize("packs", ["each other", "nobody"])
def test_adversaries_with_the_first_committee_do_not_keep_it(packs: str) -> None:
    """Given six of twenty, four of them on the first committee of six, that call every other offer harmful, then within eight rounds
    honest members hold more than half of the seats, and in two thirds of the rounds after it. An honest committee packs the others."""
    honest_rounds, total = 0, 0
    for first in range(10):
        community = make_community(20, 6)
        community = replace(community, state=replace(community.state, lot=Digest(bytes([first]) * 32)))
        liars = {*community.state.committee[:4], *community.outsiders[:2]}
        held = []
        for _ in range(30):
            captured = 2 * len(liars & set(community.state.committee)) > len(community.state.committee)
            held.append(not captured)
            friends = liars if packs == "each other" else set[NodeId]()
            at_work = trainers(community.params, community.state)
            gains = {n: 4000 if (n in friends if captured else n not in liars) else -1 for n in at_work}
            community = play_gains(community, gains, community.members).after
        assert any(held[:8])
        honest_rounds, total = honest_rounds + sum(held[8:]), total + len(held[8:])
    assert 3 * honest_rounds > 2 * total


@pytest.mark.parametrize(
    ("packed", "size", "standing"),
    [
        (8, 1, 4),
        (8, 4, 4),
        (8, 5, 5),
        (8, 8, 8),
        (7, 1, 4),
        (7, 4, 4),
        (5, 1, 3),
        (5, 4, 4),
        (3, 4, 3),
        (1, 4, 1),
        (0, 4, 0),
    ],
)
def test_the_better_half_is_drawn_and_is_no_fewer_than_the_seats(packed: int, size: int, standing: int) -> None:
    state, some = state_with(), dict(list(EIGHT.items())[:packed])
    best, rest = list(some)[:standing], list(some)[standing:]
    candidates = [
        SeatCandidate(member, merit, PartsPerMillion(0), tie_break(seed_of(state), member))
        for member, merit in merits(some).items()
    ]
    order = [START.members.index(one.node) for one in RULES["top-half"].order(candidates, size)]
    assert order == drawn(best, state) + rest
    assert seats(run(state, some, ALL, size, "top-half"))[:packed] == order[:size]


def test_of_equal_scores_the_seed_says_which_belong_to_the_better_half() -> None:
    state, equal = state_with(), dict.fromkeys(EIGHT, 7)
    assert seats(run(state, equal, ALL, 4, "top-half")) == drawn(list(EIGHT), state)[:4]


FACTORS = [
    ("the score alone", {4: 3, 5: 2, 6: 1}, {}, {}, [4, 5, 6]),
    ("the rate alone", {4: 1, 5: 1, 6: 1}, {4: 10, 5: 30, 6: 20}, {}, [5, 6, 4]),
    ("the availability alone", {4: 1, 5: 1, 6: 1}, {}, {"n4": 0, "n5": 1, "n6": 2}, [6, 5, 4]),
    ("rate and availability weigh what the score does: 2+0+0, 0+1+1 by lot", {4: 1, 5: 2}, {4: 9, 5: 1}, {"n4": 9}, None),
    ("one of both does not: 2+0+0 behind 0+1+0", {4: 1, 5: 2}, {4: 9, 5: 1}, {}, [5, 4]),
    ("positions count, not distances: 2+0 behind 0+1", {4: 1, 5: 2}, {4: 2**32 - 1, 5: 0}, {}, [5, 4]),
    ("equal values share a position: 0+0, 0+0, 4+2", {4: 5, 5: 5, 6: 4}, {4: 7, 5: 7, 6: 0}, {}, None),
    ("two who share the first leave the next the third: 0+2, 0+0, 4+0", {4: 5, 5: 5, 6: 4}, {4: 1, 5: 3, 6: 3}, {}, [5, 4, 6]),
    ("a negative score", {4: -9, 5: -1, 6: 0}, {}, {}, [6, 5, 4]),
    ("an unmeasured rate is the slowest", {4: 1, 5: 1}, {5: 1}, {}, [5, 4]),
    ("4+0+1, 2+2+0, 0+1+2", {4: 1, 5: 2, 6: 3}, {4: 9, 5: 1, 6: 5}, {"n4": 5, "n5": 9, "n6": 1}, [6, 5, 4]),
]


@pytest.mark.parametrize(("packed", "rates", "shares", "order"), [row[1:] for row in FACTORS], ids=[row[0] for row in FACTORS])
def test_factors_are_added_as_positions(
    packed: dict[int, int], rates: dict[int, int], shares: dict[str, int], order: list[int] | None
) -> None:
    """2 x the position by score + 1 x that by rate + 1 x that by availability, lowest first; None: the first two tie, by lot."""
    state = available(state_with(), **shares)
    found = seats(run(state, packed, ALL, len(packed), "multi-factor", rates))
    assert found == (drawn([4, 5], state) + [i for i in packed if i > 5] if order is None else order)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_factors_by_the_definition(values: list[tuple[int, int, int]]) -> None:
    """Position: how many are better. The order is that of the weighted sums, and ties are the lot's alone."""
    candidates = [
        SeatCandidate(node(i), Merit(MicroNats(score), rate), PartsPerMillion(share), Digest(bytes([99 - i]) * 32))
        for i, (score, rate, share) in enumerate(values)
    ]

    def total(one: SeatCandidate) -> int:
        return (
            2 * sum(other.merit.score > one.merit.score for other in candidates)
            + sum(other.merit.rate > one.merit.rate for other in candidates)
            + sum(other.availability > one.availability for other in candidates)
        )

    assert by_factors(candidates, 4) == sorted(candidates, key=lambda one: (total(one), one.lot))
    assert by_factors(candidates[::-1], 4) == by_factors(candidates, 4)


@each_rule
@settings(max_examples=50, deadline=None)
@given(packed=PACKED, rates=RATES, present=st.sets(st.integers(0, 15)), size=st.integers(1, 16))
def test_a_rule_orders_the_first_group_and_nothing_else(
    rule: str, packed: dict[int, int], rates: dict[int, int], present: set[int], size: int
) -> None:
    """Seats past the first group are those of an election by score, and then `degraded`; by any rule a lone seat is one of it."""
    by_rule, by_score = (run(FIVE_GROUPS, packed, sorted(present), 16, name, rates) for name in (rule, "score"))
    lately = {7, 8, 9, 13} if rule == "random" else set()
    first = sorted((set(packed) | lately) & present - {0, 1, 2, 3})
    assert sorted(seats(by_rule)[: len(first)]) == first
    past = [seat for seat in seats(by_score) if seat not in first]
    assert seats(by_rule)[len(first) :] == past
    assert run(FIVE_GROUPS, packed, sorted(present), size, rule, rates).degraded is (size > len(first))


@each_rule
def test_no_rule_seats_a_proven_liar_or_the_seated_before_the_others(rule: str) -> None:
    params = replace(START.params, committee_size=16, election=rule)
    everybody = merits(dict.fromkeys(range(16), 1))
    state = marked(state_with(), "punished_round", 5)
    order = seats(elect(params, state, everybody, frozenset(START.members), seed_of(state)))
    assert 5 not in order
    assert sorted(order[-4:]) == [0, 1, 2, 3]
