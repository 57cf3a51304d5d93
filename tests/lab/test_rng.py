"""Streams of random numbers: each of its own, the same for ever."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from bflcd.lab.rng import Draw, generator, number

keys = st.tuples(st.integers(0, 2**53), st.sampled_from(Draw), st.integers(0, 10**5), st.integers(0, 2**14))


@given(keys)
def test_a_stream_is_the_same_again_and_its_number_is_a_seed(key):
    assert generator(*key).integers(2**62, size=4).tolist() == generator(*key).integers(2**62, size=4).tolist()
    assert 0 <= number(*key) < 2**63
    assert number(*key) == number(*key)


@given(keys, keys)
def test_other_keys_are_other_streams(one, other):
    same = one == other
    assert (number(*one) == number(*other)) is same
    assert (generator(*one).integers(2**62, size=2).tolist() == generator(*other).integers(2**62, size=2).tolist()) is same


def test_what_is_drawn_has_a_number_of_its_own_that_never_changes():
    """Published results were drawn by these numbers, and are to be had again by whoever runs them."""
    assert {draw.name: draw.value for draw in Draw} == {
        "ADVERSARIES": 1,
        "FIRST_COMMITTEE": 2,
        "TRAINING": 3,
        "VALIDATION": 4,
        "SCORING": 5,
        "LIES": 6,
        "FORGERY": 7,
        "SHARED_FORGERY": 8,
        "CARDS": 9,
        "ROOT_ROWS": 10,
        "CENTRAL": 11,
        "LINKS": 12,
        "SERVER": 13,
        "QUESTIONS": 14,
        "NOISE": 15,
        "BUCKETS": 16,
        "LIKENESS": 17,
        "PRIVACY": 18,
        "OWN_ROWS": 19,
        "CANARIES": 20,
        "SHADOWS": 21,
        "REFERENCES": 22,
        "DUMMIES": 23,
        "SHOWN": 24,
        "WATCHING": 25,
    }
    assert all(number(0, one) != number(0, other) for one, other in combinations(Draw, 2))
    assert number(1, Draw.TRAINING, 2, 3) == 6551370354936743380
