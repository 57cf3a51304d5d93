"""What anybody can read off the ledger before an election: the floor for seats, and how long doubt keeps a judge out."""

from dataclasses import replace

import pytest

from bflcd.ledger.election import Merit, elect, seat_floor, seated_first
from bflcd.ledger.state import MAX_DOUBT, Account, State
from bflcd.ledger.trust.doubts import LIMIT, UNSEATED_ROUNDS, after_card, is_doubted, rounds_out
from bflcd.params import ELECTIONS, Params
from bflcd.types import MicroNats, Round
from tests.helpers.ledger import make_community

START = make_community(16, 4, 6)
NODES = START.members
FLOOR = 600
"""Half the lower median of 400 to 2,000 in steps of 400."""


def having(reputations: dict[int, int], *, packed: int, round_: int = 20) -> State:
    """START's ledger in `round_`: the members named have these reputations and were packed in the round `packed`."""
    changed = {NODES[index]: value for index, value in reputations.items()}
    accounts = (
        replace(a, reputation=MicroNats(changed[a.node]), packed_round=Round(packed)) if a.node in changed else a
        for a in START.state.accounts
    )
    return replace(START.state, round=Round(round_), accounts=tuple(accounts))


def params(election: str = "random", rounds: int = 8) -> Params:
    return replace(START.params, election=election, reputation_rounds=rounds)


@pytest.mark.parametrize("rule", ELECTIONS)
def test_the_floor_is_half_the_middle_of_those_packed_before_without_a_seat(rule: str) -> None:
    """Given five packed in the round before, and a richer one in a seat / Then the middle of the five says it, by every rule."""
    state = having({1: 9_000, 5: 400, 6: 800, 7: 1_200, 8: 1_600, 9: 2_000}, packed=19)
    assert seat_floor(params(rule), state) == FLOOR


@pytest.mark.parametrize(("rule", "floor"), [("random", FLOOR), ("score", 0)])
def test_only_who_was_packed_within_the_memory_of_the_rule_counts(rule: str, floor: int) -> None:
    state = having({5: 400, 6: 800, 7: 1_200, 8: 1_600, 9: 2_000}, packed=10)
    assert seat_floor(params(rule), state) == floor


def test_nobody_packed_or_most_in_debt_is_a_floor_of_nothing() -> None:
    assert seat_floor(params(), having({}, packed=19)) == 0
    assert seat_floor(params(), having({5: -400, 6: -800, 7: 1_200}, packed=19)) == 0


def test_who_is_below_the_floor_or_has_harmed_is_not_seated_first_unless_reputations_do_not_count() -> None:
    account = START.state.accounts[5]
    cases = [(FLOOR, 0), (FLOOR - 1, 0), (FLOOR, 1)]
    found = [
        [
            seated_first(rules, replace(account, reputation=MicroNats(value), refusals=refusals), MicroNats(FLOOR))
            for value, refusals in cases
        ]
        for rules in (params(), params(rounds=0))
    ]
    assert found == [[True, False, False], [True, True, True]]


def test_the_election_seats_first_whom_the_ledger_names() -> None:
    """Given ten packed before / When the seats are filled and nobody new is packed / Then all go to those seated first."""
    state = having({index: 100 * (index - 4) for index in range(5, 15)}, packed=20)
    floor = seat_floor(params(), state)
    first = {a.node for a in state.accounts if seated_first(params(), a, floor) and a.node in NODES[5:15]}
    election = elect(params(), state, dict[bytes, Merit](), frozenset(NODES), START.state.lot)
    assert 4 <= len(first) < 10
    assert set(election.committee) <= first


def doubted(doubt: int) -> Account:
    return replace(START.state.accounts[5], doubt=doubt)


@pytest.mark.parametrize(
    ("doubt", "rounds"), [(0, 0), (LIMIT - 1, 0), (LIMIT, 0), (LIMIT + 99, 0), (LIMIT + 100, 1), (MAX_DOUBT, 32)]
)
def test_so_many_elections_pass_over_a_doubted_judge(doubt: int, rounds: int) -> None:
    """Each round takes its step off the doubt, then fills the seats of the next."""
    account, passed = after_card(doubted(doubt), None), 0
    while is_doubted(account):
        passed, account = passed + 1, after_card(account, None)
    assert (rounds_out(doubted(doubt)), passed) == (rounds, rounds)
    assert rounds_out(doubted(MAX_DOUBT)) == UNSEATED_ROUNDS
