"""Parameters that managers set: which, within which bounds, from when on, and that everybody computes by the same ones."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.alliance.parameters import BOUNDS, SETTABLE, changes, in_force, value_of, with_value
from bflcd.ledger.operations.application import apply_operations, check_form, check_operation, is_pending, is_settled
from bflcd.ledger.operations.open_motions import describe_motion
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.state import MAX_CHANGED, State
from bflcd.params import Genesis, Params, Terms
from bflcd.types import Round
from bflcd.wire.alliance import Kick
from bflcd.wire.codec import decode, encode
from bflcd.wire.governance import SetParameter
from bflcd.wire.operation import Operation
from tests.helpers.ledger import make_genesis
from tests.ledger.operations.test_alliance import MANAGERS, MEMBER, STATE, after, all_say, says

GENESIS: Genesis = make_genesis()[0]


def sets(state: State, name: str, value: int, by: int = 0) -> Operation:
    return says(state, MANAGERS[by], SetParameter, name=name, value=value)


def is_set(name: str, value: int, state: State = STATE) -> State:
    return all_say(state, MANAGERS[:3], SetParameter, name=name, value=value)


def test_a_quorum_sets_a_parameter_of_the_genesis() -> None:
    state = STATE
    for count in range(3):
        assert in_force(GENESIS.params, state) == GENESIS.params, f"{count} of 3 managers are for it"
        state = after(state, sets(state, "reward_share", 5_000, by=count))
    assert (state.changed, state.motions) == ((("reward_share", 5_000),), ())
    assert in_force(GENESIS.params, state) == replace(GENESIS.params, reward_share=5_000)
    again = is_set("reward_share", 7_000, state)
    assert again.changed == (("reward_share", 7_000),), "the newest counts"


def test_terms_are_set_where_the_ledger_has_them() -> None:
    state = is_set("admission", 3)
    assert (state.terms, state.changed) == (Terms(admission=3), ())
    assert changes(state, GENESIS.terms) == (("admission", 3),)
    assert changes(is_set("reward_share", 5, state), GENESIS.terms) == (("admission", 3), ("reward_share", 5))


def test_what_has_run_out_by_new_terms_is_gone_with_the_block_that_sets_them() -> None:
    state = replace(after(STATE, says(STATE, MANAGERS[3], Kick, node=MEMBER.node_id, reason="")), round=Round(50))
    assert len(state.motions) == 1
    assert is_set("motion_rounds", 10, state).motions == ()


def test_another_value_is_another_motion_and_falls_when_one_is_done() -> None:
    state = after(STATE, sets(STATE, "score_rows", 64, by=3))
    state = after(state, sets(state, "reward_share", 5, by=3))
    assert [describe_motion(state, one) for one in state.motions] == [(None, 3, "score_rows = 64"), (None, 3, "reward_share = 5")]
    state = is_set("score_rows", 128, state)
    assert [describe_motion(state, one)[2] for one in state.motions] == ["reward_share = 5"], "of other parameters they stand"


def test_applied_twice_it_changes_nothing() -> None:
    state = is_set("view_timeout", 2_000, is_set("score_rows", 64))
    once = in_force(GENESIS.params, state)
    assert in_force(once, state) == once == replace(GENESIS.params, view_timeout=2_000, score_rows=64)


def test_nothing_that_sizes_rules_or_training_follow_from_is_settable() -> None:
    """Given all fields of the genesis' parameters and terms, then these can be set, within the annotations' own limits, and no others."""
    others = {field.name for field in fields(Params)} - set(SETTABLE)
    assert others == {
        "committee_size",
        "places",
        "small_community",
        "score_damping",
        "score_rule",
        "sealed_cards",
        "late_serving",
        "validation_fraction",
        "aggregation",
        "election",
        "odd_limit",
        "idle_weight",
        "fresh_gains",
        "balanced_gains",
        "reputation_rounds",
        "score_noise",
        "canary_share",
        "card_share",
        "doubts",
    }
    assert set(BOUNDS) == set(SETTABLE) | {field.name for field in fields(Terms)}
    assert tuple(sorted(SETTABLE)) == SETTABLE
    assert len(SETTABLE) <= MAX_CHANGED


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_the_bounds_are_those_that_a_genesis_has(name: str) -> None:
    """Given the lowest and the highest value, then a genesis with it has an encoding, and the operation passes; one beyond has neither."""
    bounds = BOUNDS[name]
    for value, holds in ((bounds.low, True), (bounds.high, True), (bounds.low - 1, False), (bounds.high + 1, False)):
        part = "params" if name in SETTABLE else "terms"
        genesis = replace(GENESIS, **{part: replace(getattr(GENESIS, part), **{name: value})})  # type: ignore[arg-type]
        if holds:
            assert decode(encode(genesis), Genesis) == genesis
        else:
            with pytest.raises(ValueError, match=name):
                encode(genesis)
        if 0 <= value <= 2**53:
            operation = sets(STATE, name, value)
            if holds:
                check_form(STATE, operation)
            else:
                with pytest.raises(PeerError, match=f"set: {name} is {value}, it must be from {bounds.low} to {bounds.high}"):
                    check_form(STATE, operation)


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (sets(STATE, "places", 9), "set: places can't be set, only active_fraction, admission"),
        (sets(STATE, "validation_fraction", 9), "validation_fraction can't be set"),
        (sets(STATE, "changed", 9), "changed can't be set"),
        (sets(STATE, "view_timeout", 49), "view_timeout is 49, it must be from 50 to 3600000"),
        (sets(STATE, "admission", STATE.terms.admission), "admission is 1 already"),
        (says(STATE, MEMBER, SetParameter, name="score_rows", value=64), "is no manager"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(operation: Operation, why: str) -> None:
    with pytest.raises(PeerError, match=why) as caught:
        check_operation(STATE, operation)
    assert caught.value.rejection is Rejection.BAD_OPERATION
    with pytest.raises(PeerError, match=why):
        apply_operations(STATE, [operation])


def test_a_last_round_is_one_that_comes() -> None:
    later = replace(STATE, round=Round(20))
    with pytest.raises(PeerError, match="set: round 20 can't be the last, we are in round 20"):
        check_operation(later, sets(later, "last_round", 20))
    assert in_force(GENESIS.params, is_set("last_round", 24, later)).last_round == 24
    assert in_force(GENESIS.params, is_set("last_round", 0, is_set("last_round", 99))).last_round == 0


def test_what_holds_already_is_settled_and_people_read_what_it_does() -> None:
    done = is_set("score_rows", 64)
    late = sets(done, "score_rows", 64, by=3)
    assert is_settled(done, late)
    assert not is_pending(done, late)
    assert kind_of(late).describe(late).endswith("sets score_rows to 64")


@given(st.lists(st.tuples(st.sampled_from(sorted(BOUNDS)), st.integers(0, 2**53)), max_size=20))
def test_whatever_is_set_each_name_stands_once_in_order_and_reads_as_it_was_set(pairs: list[tuple[str, int]]) -> None:
    state, last = STATE, {}
    for name, value in pairs:
        bounds = BOUNDS[name]
        clipped = min(max(value, bounds.low), bounds.high)
        state, last[name] = with_value(state, name, clipped), clipped
    assert state.changed == tuple(sorted((name, value) for name, value in last.items() if name in SETTABLE))
    assert {name: value_of(state, name) for name in last} == last
    assert decode(encode(state), State) == state
    assert all(getattr(in_force(GENESIS.params, state), name) == value for name, value in last.items() if name in SETTABLE)
