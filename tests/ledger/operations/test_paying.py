"""Paying: what it costs, for whom, once for each period; what becomes of deposits; who is left out; units conserved in any history."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError, UsageError
from bflcd.ledger.alliance.fees import NOTHING, Dues, deposits_freed, dues_of, in_arrears, owes, owing, price_of, under_terms
from bflcd.ledger.election import Merit, elect, may_sit
from bflcd.ledger.operations.application import apply_operations, check_operation, is_pending, is_settled, select_operations
from bflcd.ledger.operations.evidence import evidence_of
from bflcd.ledger.operations.recovery import apply_recovery, check_recovery
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.quorum import quorum
from bflcd.ledger.roles import may_train, seed_of, trainers
from bflcd.ledger.state import NEVER, State, account_of, genesis_state, member_of, members_of, with_accounts
from bflcd.ledger.transition import check_conservation
from bflcd.params import GenesisMember, Terms, check_genesis
from bflcd.types import Amount, Digest, Epoch, MicroNats, NodeId, PartsPerMillion, Round, View
from bflcd.wire.alliance import Admit, Kick, Leave, Return, Transfer
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Prepare
from bflcd.wire.money import Pay
from bflcd.wire.operation import Operation
from bflcd.wire.recovery import Recovery
from tests.helpers.ledger import BALANCE, make_community, make_genesis, make_identities, place_of
from tests.helpers.money import PERIOD, TERMS, account, after, all_units, at, changed, pays, says, with_terms
from tests.ledger.operations.test_keys import rotates

START = make_community(10, 4, 6)
KEYS = [START.keys[node] for node in START.members]
MANAGERS, PLAIN = KEYS[:4], KEYS[4:]
MEMBER, OTHER = PLAIN[:2]
STRANGERS = [one for one in make_identities(16) if one.node_id not in START.keys]
NEW = STRANGERS[0]
STATE = with_terms(START.state)
LATE = at(STATE, PERIOD)
"""The first round of the second period: nobody has paid for it."""


def admitted(state: State = STATE, who: Identity = NEW) -> State:
    return after(state, says(state, MANAGERS[0], Admit, node=who.node_id))


def paid_by_all_but(*late: Identity, state: State = LATE) -> State:
    """In the second period all have paid, except these."""
    return with_accounts(
        state, *(replace(one, paid_round=2 * PERIOD - 1) for one in state.accounts if one.node not in {i.node_id for i in late})
    )


def lie(who: Identity) -> Operation:
    bodies = (
        Prepare(**place_of(START) | {"view": View(1)}, digest=Digest(bytes([n]) * 32), proposal=START.state.chain) for n in (1, 2)
    )
    return evidence_of(*(seal(body, who).envelope for body in bodies))


def kicked(state: State, who: Identity) -> State:
    for manager in MANAGERS[:3]:
        state = after(state, says(state, manager, Kick, node=who.node_id, reason=""))
    return state


# -- what it costs ------------------------------------------------------------------------------------------------------------


def test_who_is_a_member_from_genesis_has_left_its_deposit_and_its_first_period_is_free() -> None:
    genesis, _ = make_genesis()
    state = genesis_state(replace(genesis, terms=TERMS))
    for one in state.accounts:
        assert (one.balance, one.deposit, one.paid_round) == (BALANCE - 50, 50, PERIOD - 1)
        assert dues_of(TERMS, one, Round(PERIOD - 1)) == NOTHING
        assert dues_of(TERMS, one, Round(PERIOD)) == Dues(period=Amount(10))
    check_conservation(state)


def test_a_genesis_whose_members_cant_leave_the_deposit_is_refused() -> None:
    genesis, _ = make_genesis()
    poor = (GenesisMember(genesis.members[0].node, Amount(49)), *genesis.members[1:])
    with pytest.raises(UsageError, match="a member has 49 units, its deposit is 50: raise its balance"):
        check_genesis(replace(genesis, terms=TERMS, members=poor))


def test_who_is_admitted_owes_the_entry_fee_a_period_and_the_deposit() -> None:
    state = admitted()
    owed = dues_of(TERMS, account(state, NEW), state.round)
    assert (owed, owed.fee, owed.total) == (Dues(Amount(100), Amount(10), Amount(50)), 110, 160)
    assert str(owed) == "160 units (entry fee 100, period's fee 10, deposit 50)"


def test_where_the_terms_ask_for_nothing_nobody_owes_and_nobody_can_pay() -> None:
    state = admitted(START.state)
    assert (in_arrears(state, Round(10**6)), owes(state, NEW.node_id)) == (frozenset(), False)
    with pytest.raises(PeerError, match=r"pay: .* owes nothing: the terms ask for nothing more"):
        check_operation(state, pays(state, MEMBER))


# -- paying -------------------------------------------------------------------------------------------------------------------


def test_a_member_pays_its_period_into_the_pool() -> None:
    state = after(LATE, pays(LATE, MEMBER))
    one = account(state, MEMBER)
    assert (one.balance, one.deposit, one.paid_round) == (BALANCE - 60, 50, 2 * PERIOD)
    assert (state.pool, all_units(state)) == (STATE.pool + 10, STATE.supply)


def test_a_sponsor_pays_for_a_newcomer_whose_deposit_is_its_own_from_then_on() -> None:
    state = admitted()
    state = after(state, pays(state, MEMBER, NEW))
    new = account(state, NEW)
    assert (account(state, MEMBER).balance, new.balance, new.deposit) == (BALANCE - 50 - 160, 0, 50)
    assert (state.pool, new.paid_round) == (STATE.pool + 110, 1 + PERIOD)
    assert may_train(START.params, state, NEW.node_id)
    check_conservation(state)


def test_at_most_one_whole_period_is_paid_in_advance() -> None:
    state = after(STATE, pays(STATE, MEMBER))
    assert account(state, MEMBER).paid_round == 2 * PERIOD - 1, "it begins when the running one ends"
    with pytest.raises(PeerError, match=f"owes nothing: it has paid through round {2 * PERIOD - 1}"):
        check_operation(state, pays(state, MEMBER))
    check_operation(at(state, PERIOD), pays(at(state, PERIOD), MEMBER))


def test_the_rounds_in_which_a_member_owed_cost_nothing() -> None:
    state = at(STATE, 5 * PERIOD)
    assert account(after(state, pays(state, MEMBER)), MEMBER).paid_round == 6 * PERIOD


def test_two_who_pay_for_one_period_pay_it_once() -> None:
    """Given a member and its sponsor that sign at once, then a block takes one payment, and the other is of no use any more."""
    own, sponsored = pays(LATE, MEMBER), pays(LATE, OTHER, MEMBER)
    first, second = sorted((own, sponsored), key=lambda one: one.author)
    assert select_operations(LATE, [second, first]) == (first,)
    with pytest.raises(PeerError, match="has paid through round"):
        apply_operations(LATE, (first, second))
    state = after(LATE, first)
    assert is_settled(state, second)
    assert not is_pending(state, second)
    assert all_units(state) == STATE.supply


def test_a_payment_in_the_last_round_of_a_period_is_for_the_next() -> None:
    last = at(STATE, PERIOD - 1)
    state = after(last, pays(last, MEMBER))
    assert (account(state, MEMBER).paid_round, state.round) == (2 * PERIOD - 1, PERIOD)
    assert dues_of(TERMS, account(state, MEMBER), state.round) == NOTHING


def test_a_block_takes_payments_and_transfers_in_the_order_of_authors_and_numbers() -> None:
    """Given a payer that can pay only by what another gives it in the same block, then their ids decide whether it does."""
    poor, rich = sorted((MEMBER, OTHER), key=lambda one: one.node_id)
    for who, by, carried in ((rich, poor, 2), (poor, rich, 1)):
        state = changed(LATE, who, balance=Amount(0))
        chosen = select_operations(state, [says(state, by, Transfer, to=who.node_id, amount=Amount(10)), pays(state, who)])
        assert len(chosen) == carried
        assert all_units(after(state, *chosen)) == all_units(state)


def test_who_has_been_given_enough_pays_the_rest_of_its_deposit() -> None:
    raised = under_terms(STATE, replace(TERMS, deposit=Amount(80)))
    assert dues_of(raised.terms, account(raised, MEMBER), Round(PERIOD)) == Dues(period=Amount(10), deposit=Amount(30))
    state = after(at(raised, PERIOD), pays(at(raised, PERIOD), MEMBER))
    assert account(state, MEMBER).deposit == 80


POOR = changed(LATE, MEMBER, balance=Amount(9))
PUNISHED = changed(LATE, MEMBER, punished_round=Round(3))
GONE = after(LATE, says(LATE, MEMBER, Leave))


@pytest.mark.parametrize(
    ("state", "operation", "why"),
    [
        (LATE, says(LATE, MEMBER, Pay, node=NEW.node_id, paid=-1, fee=Amount(110), deposit=Amount(50)), "is no member, or was"),
        (PUNISHED, pays(PUNISHED, OTHER, MEMBER), "is no member, or was punished"),
        (GONE, pays(GONE, OTHER, MEMBER), "is no member, or was punished"),
        (GONE, pays(GONE, MEMBER, OTHER), "is no member"),
        (LATE, pays(LATE, MEMBER, fee=Amount(9)), "it costs 10 units .period's fee 10., not 9 in fees and 0 of deposit"),
        (LATE, pays(LATE, MEMBER, fee=Amount(11)), "it costs 10 units"),
        (LATE, pays(LATE, MEMBER, deposit=Amount(1)), "it costs 10 units"),
        (LATE, pays(LATE, MEMBER, paid=PERIOD), f"has paid through round {PERIOD - 1}, not {PERIOD}"),
        (LATE, pays(LATE, MEMBER, paid=NEVER), f"has paid through round {PERIOD - 1}, not -1"),
        (POOR, pays(POOR, MEMBER), "has 9, not 10"),
        (POOR, pays(POOR, MEMBER, OTHER), "has 9, not 10"),
        (LATE, pays(LATE, MEMBER, number=2), "whose next is number 1"),
        (LATE, pays(LATE, MEMBER, round=Round(PERIOD + 1)), f"of round {PERIOD + 1}, we are in round {PERIOD}"),
        (LATE, pays(LATE, MEMBER, chain=Digest(bytes(32))), "is of chain 00000000"),
    ],
)
def test_a_payment_that_breaks_a_rule_is_refused_by_name(state: State, operation: Operation, why: str) -> None:
    with pytest.raises(PeerError, match=f"bad_operation: pay: .*{why}"):
        check_operation(state, operation)
    with pytest.raises(PeerError, match=why):
        apply_operations(state, [operation])


def test_a_fee_that_was_raised_meanwhile_takes_no_more_than_was_signed() -> None:
    dear = replace(LATE, terms=replace(TERMS, period_fee=Amount(1000)))
    with pytest.raises(PeerError, match="it costs 1000 units"):
        check_operation(dear, pays(LATE, MEMBER))


def test_people_read_who_pays_what_for_whom() -> None:
    own, sponsored = pays(LATE, MEMBER), pays(admitted(), MEMBER, NEW)
    assert kind_of(own).describe(own) == f"{MEMBER.node_id[:4].hex()} pays 10: fees 10, deposit 0"
    assert kind_of(sponsored).describe(sponsored).endswith(f"pays 160 for {NEW.node_id[:4].hex()}: fees 110, deposit 50")


# -- who is left out ----------------------------------------------------------------------------------------------------------


def seats(state: State, best: Identity | None = None) -> tuple[NodeId, ...]:
    """Who sits in the next round; `best`: whose update was packed in this one."""
    here = frozenset(one.node for one in members_of(state))
    packed = {} if best is None else {best.node_id: Merit(MicroNats(1), 0)}
    return elect(START.params, state, packed, here, seed_of(state)).committee


def test_who_owes_neither_trains_nor_sits_until_it_has_paid() -> None:
    state = paid_by_all_but(MEMBER)
    assert owing(state) == {MEMBER.node_id}
    assert MEMBER.node_id not in trainers(START.params, state)
    assert not may_train(START.params, state, MEMBER.node_id)
    lonely = replace(state, committee=tuple(key.node_id for key in PLAIN[2:]))
    assert MEMBER.node_id not in seats(lonely, best=MEMBER)
    assert MEMBER.node_id in seats(paid_by_all_but(state=lonely), best=MEMBER), "it would be first"
    back = after(state, pays(state, MEMBER))
    assert (owing(back), owes(back, MEMBER.node_id)) == (frozenset(), False)
    assert MEMBER.node_id in trainers(START.params, back)


def test_a_period_that_ends_with_a_round_leaves_nobody_a_seat_in_the_next() -> None:
    state = at(paid_by_all_but(MEMBER), PERIOD - 1)
    assert owing(state) == frozenset()
    assert MEMBER.node_id not in seats(replace(state, committee=tuple(key.node_id for key in PLAIN[2:])), best=MEMBER)


def test_who_was_admitted_and_has_not_paid_is_left_out_whatever_others_do() -> None:
    state = admitted(at(STATE, PERIOD + 5))
    assert dues_of(TERMS, account(state, MEMBER), state.round).total > 0
    assert in_arrears(state, state.round) == {NEW.node_id}, "all others owe too, and have paid before"


def test_who_holds_a_seat_all_the_same_is_not_left_out() -> None:
    state = replace(paid_by_all_but(MEMBER), committee=(MEMBER.node_id, *START.state.committee[:3]))
    assert not owes(state, MEMBER.node_id), "a recovery gave it a seat, and its round needs it"


@pytest.mark.parametrize(("late", "left_out"), [(0, 0), (1, 1), (3, 3), (4, 0), (9, 0), (10, 0)])
def test_where_most_do_not_pay_those_who_ever_paid_go_on(late: int, left_out: int) -> None:
    """Given more than a third in arrears, then none of them is left out: the few who paid must not hold all seats."""
    state = paid_by_all_but(*KEYS[:late])
    assert len(in_arrears(state, state.round)) == left_out


def test_a_few_who_pay_first_do_not_take_all_seats() -> None:
    """Given three who have paid in advance, and nobody else, when the period ends, then seats are dealt as if nobody owed."""
    state = at(paid_by_all_but(*KEYS[:7]), PERIOD - 1)
    assert set(seats(state)) - {key.node_id for key in KEYS[7:]}


def test_who_is_gone_counts_neither_way() -> None:
    """Given six that are gone for good and have paid, or have not, then the others' payments decide."""
    gone = {key.node_id for key in KEYS[4:]}
    for paid_by_gone in (True, False):
        state = paid_by_all_but(KEYS[0], *(() if paid_by_gone else KEYS[4:]))
        lost = [replace(one, availability=PartsPerMillion(0)) for one in state.accounts if one.node in gone]
        state = with_accounts(state, *lost)
        assert KEYS[0].node_id in in_arrears(state, state.round), "three of four have paid"
        half = changed(state, KEYS[1], paid_round=PERIOD - 1)
        assert not in_arrears(half, half.round) - gone, "two of four have not"


def test_where_nobody_has_ever_paid_nobody_is_left_out() -> None:
    state = replace(STATE, accounts=tuple(replace(one, paid_round=NEVER) for one in STATE.accounts))
    assert in_arrears(state, Round(1)) == frozenset()
    assert len(seats(state)) == 4


def test_other_terms_ask_nobody_who_owed_nothing_before_a_period_is_over() -> None:
    free = after(START.state, says(START.state, MANAGERS[0], Admit, node=NEW.node_id))
    state = under_terms(at(free, 5000), TERMS)
    assert {one.paid_round for one in state.accounts} == {5000 + PERIOD}
    assert in_arrears(state, Round(5001)) == frozenset()
    owed = admitted()
    cheaper = under_terms(owed, replace(TERMS, entry_fee=Amount(5)))
    assert account(cheaper, NEW).paid_round == NEVER, "who owed still owes, by the new terms"
    assert price_of(cheaper.terms, account(cheaper, NEW)).entry == 5
    assert under_terms(STATE, TERMS) == STATE


# -- what becomes of deposits -------------------------------------------------------------------------------------------------


def test_who_leaves_gets_its_deposit_when_its_time_is_over() -> None:
    state = after(STATE, says(STATE, MEMBER, Leave))
    for round_ in range(1, TERMS.deposit_rounds):
        assert (state.round, account(state, MEMBER).deposit) == (round_, 50)
        state = after(state)
    assert (account(state, MEMBER).balance, account(state, MEMBER).deposit) == (BALANCE, 0)
    assert state.round == TERMS.deposit_rounds
    assert deposits_freed(state) is state
    assert all_units(state) == STATE.supply


def left_to(heir: Identity, state: State = STATE) -> State:
    """The ledger in which the member has left, and what it has is for another."""
    return after(state, says(state, MEMBER, Leave, heir=heir.node_id))


def freed(state: State) -> State:
    """When its deposit is free."""
    while state.round < TERMS.deposit_rounds + 8:
        state = after(state)
    assert all_units(state) == STATE.supply
    return state


def test_who_leaves_may_leave_what_it_has_to_another() -> None:
    """Given a member that leaves to another what it has, then that one gets balance and deposit when the deposit is free, once."""
    state = left_to(OTHER)
    while account(state, MEMBER).heir is not None:
        assert (account(state, MEMBER).balance, account(state, OTHER).balance) == (BALANCE - 50, BALANCE - 50)
        state = after(state)
    assert state.round == TERMS.deposit_rounds
    assert (account(state, MEMBER).balance, account(state, MEMBER).deposit) == (0, 0)
    assert account(state, OTHER).balance == 2 * BALANCE - 50
    assert freed(state).accounts == state.accounts


def test_evidence_comes_before_the_heir() -> None:
    state = freed(after(left_to(OTHER), lie(MEMBER)))
    assert (account(state, OTHER).balance, state.burnt) == (BALANCE - 50, BALANCE)


def test_who_comes_back_or_is_kept_out_has_no_heir() -> None:
    """Given who left to another what it has, when it is admitted again, or put out, before its time is over, then nothing is moved."""
    state = left_to(OTHER)
    back = freed(after(state, says(state, MANAGERS[0], Admit, node=MEMBER.node_id)))
    assert (account(back, MEMBER).balance, account(back, MEMBER).heir) == (BALANCE - 50, None)
    out = freed(kicked(state, MEMBER))
    assert (account(out, MEMBER).balance, account(out, MEMBER).heir, account(out, OTHER).balance) == (
        BALANCE - 50,
        None,
        BALANCE - 50,
    )


def test_an_heir_gets_it_under_the_key_that_it_has_then_and_a_liar_does_not() -> None:
    rotated = freed(after(left_to(OTHER), rotates(left_to(OTHER), OTHER, NEW)))
    assert (account(rotated, NEW).balance, account(rotated, OTHER).balance) == (2 * BALANCE - 50, 0)
    lied = freed(after(left_to(OTHER), lie(OTHER)))
    assert (account(lied, OTHER).balance, account(lied, MEMBER).balance) == (0, BALANCE)


def test_two_who_leave_to_each_other_lose_nothing() -> None:
    state = left_to(OTHER)
    accounts = tuple(
        replace(one, left_round=0, heir=MEMBER.node_id) if one.node == OTHER.node_id else one for one in state.accounts
    )
    state = freed(replace(state, accounts=accounts))
    assert account(state, MEMBER).balance + account(state, OTHER).balance == 2 * BALANCE


def test_what_is_left_to_who_leaves_too_goes_on_to_the_last_heir_whatever_the_ids() -> None:
    """Given one who leaves to another, which leaves to a third, when managers shorten the time so that both end in one block, then
    the third has all, as it has where the times end one after the other."""
    first, second = sorted((MEMBER, OTHER), key=lambda one: one.node_id, reverse=True)
    heir = MANAGERS[0]
    state = after(STATE, says(STATE, first, Leave, heir=second.node_id))
    state = after(state, says(state, second, Leave, heir=heir.node_id))
    had = account(state, heir).balance
    for rounds in (TERMS.deposit_rounds, 1):
        end = replace(state, terms=replace(state.terms, deposit_rounds=rounds))
        end = freed(end)
        assert account(end, heir).balance - had == 2 * BALANCE, f"a deposit's time is {rounds} rounds"
        assert account(end, second).balance == 0


@pytest.mark.parametrize("heir", [MEMBER, NEW], ids=["itself", "a stranger"])
def test_an_heir_is_another_member(heir: Identity) -> None:
    with pytest.raises(PeerError, match=r"leave: its heir [0-9a-f]+ is no other member, or was punished"):
        left_to(heir)


def test_a_punished_member_is_nobodys_heir() -> None:
    with pytest.raises(PeerError, match="is no other member, or was punished"):
        left_to(OTHER, after(STATE, lie(OTHER)))


def test_evidence_takes_the_deposit_of_who_has_given_everything_away_and_left() -> None:
    """Given a liar that moves its balance and leaves before anybody has proof, then the deposit is what it loses."""
    state = after(STATE, says(STATE, MEMBER, Transfer, to=OTHER.node_id, amount=Amount(BALANCE - 50)))
    state = after(state, says(state, MEMBER, Leave))
    state = after(state, lie(MEMBER))
    assert (account(state, MEMBER).balance, account(state, MEMBER).deposit, state.burnt) == (0, 0, 50)
    for _ in range(10):
        state = after(state)
    assert (account(state, MEMBER).balance, all_units(state)) == (0, STATE.supply)


def test_evidence_burns_balance_and_deposit() -> None:
    state = after(STATE, lie(MEMBER))
    assert (state.burnt, all_units(state)) == (BALANCE, STATE.supply)


def test_who_is_put_out_loses_its_deposit_and_keeps_its_balance() -> None:
    state = kicked(STATE, MEMBER)
    assert (account(state, MEMBER).balance, account(state, MEMBER).deposit, state.burnt) == (BALANCE - 50, 0, 50)
    check_conservation(state)


def test_who_has_left_and_is_kept_out_loses_a_deposit_that_was_not_free_yet() -> None:
    state = kicked(after(STATE, says(STATE, MEMBER, Leave)), MEMBER)
    assert (state.burnt, all_units(state)) == (50, STATE.supply)


def test_who_comes_back_while_its_period_runs_and_its_deposit_is_here_owes_nothing() -> None:
    state = after(STATE, says(STATE, MEMBER, Leave))
    state = after(state, says(state, MANAGERS[0], Admit, node=MEMBER.node_id))
    assert (account(state, MEMBER).paid_round, owes(state, MEMBER.node_id)) == (PERIOD - 1, False)


def test_who_comes_back_without_its_deposit_or_after_its_period_pays_as_who_is_new() -> None:
    state = after(STATE, says(STATE, MEMBER, Leave))
    freed = at(state, TERMS.deposit_rounds + 1)
    back = after(deposits_freed(freed), says(freed, MANAGERS[0], Admit, node=MEMBER.node_id))
    assert dues_of(TERMS, account(back, MEMBER), back.round) == Dues(Amount(100), Amount(10), Amount(50))
    out = kicked(STATE, MEMBER)
    for manager in MANAGERS[:3]:
        out = after(out, says(out, manager, Return, node=MEMBER.node_id))
    assert dues_of(TERMS, account(out, MEMBER), out.round).total == 160
    free = replace(STATE, terms=replace(TERMS, deposit_rounds=10**6))
    late = at(after(free, says(free, MEMBER, Leave)), PERIOD)
    late = after(late, says(late, MANAGERS[0], Admit, node=MEMBER.node_id))
    assert dues_of(TERMS, account(late, MEMBER), late.round) == Dues(Amount(100), Amount(10))


# -- any history --------------------------------------------------------------------------------------------------------------

PEOPLE = [*KEYS, *STRANGERS[:3]]
ACTS = ("admit", "kick", "return", "leave", "give", "pay", "pay", "lie", "recover", "wait")

steps = st.tuples(
    st.integers(0, len(PEOPLE) - 1),
    st.sampled_from(ACTS),
    st.integers(0, len(PEOPLE) - 1),
    st.integers(1, BALANCE),
)
fees = st.integers(0, 400).map(Amount)
terms_drawn = st.builds(
    Terms,
    entry_fee=fees,
    period_fee=fees,
    period_rounds=st.integers(1, 6),
    deposit=fees,
    deposit_rounds=st.integers(1, 6),
    motion_rounds=st.just(20),
)


def recovered(state: State, seat: Identity, gone: Identity) -> State:
    """The round under a recovery that gives one member the only seat and declares another gone, if it may."""
    recovery = Recovery(
        chain=state.chain,
        round=state.round,
        epoch=Epoch(state.epoch + 1),
        parent=state.chain,
        committee=(seat.node_id,),
        retired=(gone.node_id,),
        prepared=None,
    )
    try:
        check_recovery(state, recovery)
    except PeerError:
        return state
    return apply_recovery(state, recovery.epoch, recovery.committee, recovery.retired)


def drawn(state: State, step: tuple[int, str, int, int]) -> Operation | None:
    author, act, whom, amount = PEOPLE[step[0]], step[1], PEOPLE[step[2]], step[3]
    match act:
        case "admit":
            return says(state, author, Admit, node=whom.node_id)
        case "kick":
            return says(state, author, Kick, node=whom.node_id, reason="")
        case "return":
            return says(state, author, Return, node=whom.node_id)
        case "leave":
            heir = whom if amount % 2 and whom is not author and member_of(state, whom.node_id) is not None else None
            return says(state, author, Leave, heir=None if heir is None else heir.node_id)
        case "give":
            return says(state, author, Transfer, to=whom.node_id, amount=Amount(amount))
        case "pay" if account_of(state, whom.node_id) is not None:
            return pays(state, author, whom)
        case "lie" if author not in MANAGERS:
            return lie(author)
    return None


@settings(max_examples=100, deadline=None)
@given(history=st.lists(st.lists(steps, max_size=3), max_size=25), terms=terms_drawn, present=st.sets(st.sampled_from(PEOPLE)))
def test_in_any_history_units_are_conserved_nothing_is_paid_twice_and_somebody_sits(
    history: list[list[tuple[int, str, int, int]]], terms: Terms, present: set[Identity]
) -> None:
    """Given any blocks of operations under any terms, then every block keeps what money and seats depend on."""
    state = with_terms(START.state, terms, availability=500_000)
    here = frozenset(one.node_id for one in present)
    for block in history:
        for author, act, whom, _ in block:
            state = recovered(state, PEOPLE[author], PEOPLE[whom]) if act == "recover" else state
        waiting = [one for step in block if (one := drawn(state, step)) is not None]
        chosen = select_operations(state, waiting)
        before, state = state, after(state, *chosen)
        check_conservation(state)
        paid = [(body.node, body.paid) for one in chosen if one.kind == "pay" for body in [kind_of(one).body(one)]]  # type: ignore[attr-defined]
        assert len(set(paid)) == len(paid), "nobody's period is paid twice"
        for one in members_of(state):
            earlier = account_of(before, one.node)
            assert one.paid_round < state.round + 2 * terms.period_rounds
            if earlier is not None and member_of(before, one.node) is not None and one.node not in {node for node, _ in paid}:
                assert (one.paid_round, one.deposit) >= (earlier.paid_round, 0)
        assert not any(is_pending(state, one) for one in chosen), "nothing is applied twice"
        able = [one for one in members_of(state) if one.punished_round == NEVER and one.retired_round == NEVER]
        sits = elect(START.params, at(state, state.round - 1), {}, here, seed_of(state)).committee
        assert bool(sits) is any(may_sit(one, here) for one in state.accounts), "somebody sits, whatever is owed"
        late = in_arrears(state, state.round)
        assert not able or {one.node for one in able} - late, "not all are left out"
        ever = [one for one in able if one.paid_round != NEVER and one.availability]
        if {one.node for one in ever} & late:
            assert len(ever) - len({one.node for one in ever} & late) >= quorum(len(ever)), "a quorum has paid"


def test_two_branches_of_one_history_never_mix() -> None:
    """Given two blocks that two leaders would have proposed, then each leaves a ledger of its own, and the one before as it was."""
    frozen = replace(LATE)
    one, other = after(LATE, pays(LATE, MEMBER)), after(LATE, pays(LATE, OTHER, MEMBER))
    assert frozen == LATE
    assert (account(one, OTHER).balance, account(other, OTHER).balance) == (BALANCE - 50, BALANCE - 60)
    assert all_units(one) == all_units(other) == STATE.supply
    with pytest.raises(PeerError, match="has paid through round"):
        check_operation(one, pays(LATE, OTHER, MEMBER))


def test_prices_follow_the_terms_and_nothing_else() -> None:
    prices = [price_of(replace(TERMS, period_fee=Amount(fee)), account(STATE, MEMBER)).total for fee in range(5)]
    assert all(low < high for low, high in pairwise(prices))
