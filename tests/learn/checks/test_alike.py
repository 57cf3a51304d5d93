"""Which updates are one: cosines in whole numbers, the same whatever computes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bflcd.learn.checks.alike import BITS, LEAST_WEIGHTS, MOST_NAMED, SAMPLE, Comparison, Direction, Likeness, alike, product
from bflcd.types import Digest, PartsPerMillion
from bflcd.wire.tensors import VALUE_LIMIT

LIMIT = PartsPerMillion(990_000)
vectors = arrays(np.float32, 300, elements=st.floats(-VALUE_LIMIT, VALUE_LIMIT, width=32))


def key(number: int) -> Digest:
    return Digest(number.to_bytes(32, "big"))


def drawn(seed: int, size: int = 1000) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def is_like(a: np.ndarray, b: np.ndarray, limit: int = LIMIT) -> bool:
    one, other = Direction.of(a), Direction.of(b)
    return alike(product(one.values, other.values), one.squares * other.squares, PartsPerMillion(limit))


@given(vectors, vectors, st.integers(1, 1_000_000))
def test_likeness_is_mutual_and_hangs_on_no_scale_and_no_order(a, b, limit):
    said = is_like(a, b, limit)
    assert is_like(b, a, limit) is said
    assert is_like(a[::-1].copy(), b[::-1].copy(), limit) is said
    if np.abs(a).max() >= 2**-60:  # below, halves of the smallest floats are lost before this sees them
        assert is_like(a / 8, b, limit) is said
    assert not is_like(a, -a, limit)
    assert not is_like(a * 0, b, limit)
    assert is_like(a, a, limit) is bool(a.any())


@given(vectors, vectors)
def test_products_are_those_of_unbounded_integers(a, b):
    """Given any two vectors that may travel, then their whole numbers are below the bound, and no sum of products was rounded."""
    one, other = Direction.of(a), Direction.of(b)
    whole = [[int(value) for value in direction.values] for direction in (one, other)]
    assert all(float(value).is_integer() and abs(value) <= 2**BITS for value in (*one.values, *other.values))
    assert product(one.values, other.values) == sum(x * y for x, y in zip(*whole, strict=True))
    assert one.squares == sum(x * x for x in whole[0])


def test_the_largest_sums_there_can_be_are_exact():
    full = np.full(SAMPLE, VALUE_LIMIT, dtype=np.float32)
    odd = np.full(SAMPLE, np.nextafter(np.float32(VALUE_LIMIT), np.float32(0)), dtype=np.float32)
    assert SAMPLE * 2 ** (2 * BITS) < 2**53
    for vector in (full, odd, -odd):
        found = Direction.of(vector)
        assert found.squares == SAMPLE * int(found.values[0]) ** 2


@pytest.mark.parametrize(("noise", "like"), [(0.0, True), (0.1, True), (0.13, True), (0.16, False), (0.5, False)])
def test_noise_of_a_seventh_makes_it_another(noise, like):
    """The cosine of a copy with noise of s deviations is 1 / sqrt(1 + s^2)."""
    assert is_like(drawn(1, SAMPLE), drawn(1, SAMPLE) + np.float32(noise) * drawn(2, SAMPLE)) is like


def test_the_limit_itself_is_alike():
    """Given vectors whose cosine is three fifths to the last digit, then that is alike, and a millionth more is not."""
    a, b = np.array([3, 4], np.float32), np.array([1, 0], np.float32)
    assert is_like(a, b, 600_000)
    assert not is_like(a, b, 600_001)


def test_each_is_held_against_those_before_it_and_the_last_step():
    honest, step = drawn(1), drawn(2)
    comparison = Comparison(1000, 5, LIMIT)
    assert comparison.look([key(1), key(2)], [honest, drawn(3)]) == [Likeness(), Likeness()]
    comparison.last_step(step)
    found = comparison.look([key(3), key(4), key(5)], [honest * 2, -honest, step / 3])
    assert found == [Likeness((key(1),)), Likeness(), Likeness(repeats=True)]
    assert comparison.look([key(3)], [honest]) == [Likeness((key(1),))], "never like itself"


@pytest.mark.parametrize(("weights", "limit", "found"), [(LEAST_WEIGHTS, LIMIT, 1), (LEAST_WEIGHTS - 1, LIMIT, 0), (1000, 0, 0)])
def test_small_models_and_communities_that_want_none_compare_nothing(weights, limit, found):
    same = drawn(1, weights)
    comparison = Comparison(weights, 5, PartsPerMillion(limit))
    comparison.last_step(same)
    likes = comparison.look([key(1), key(2)], [same, same])
    assert ([len(like.others) for like in likes], likes[0].repeats) == ([0, found], bool(found))


def test_of_many_the_first_are_named():
    same = drawn(1)
    likes = Comparison(1000, 5, LIMIT).look([key(number) for number in range(MOST_NAMED + 9)], [same] * (MOST_NAMED + 9))
    assert likes[-1].others == tuple(key(number) for number in range(MOST_NAMED))


def test_of_a_large_model_each_judge_looks_at_places_of_its_own():
    """Given noise that a copier puts where one judge looks, then that one is deceived, and no other."""
    weights = SAMPLE * 32
    known, other = (Comparison(weights, seed, LIMIT) for seed in (1, 2))
    honest = drawn(1, weights)
    copied = honest.copy()
    copied[known.places] += drawn(2, SAMPLE) / 2
    answers = [
        comparison.look([key(1), key(2)], [comparison.gather(update) for update in (honest, copied)])[1]
        for comparison in (known, other, Comparison(weights, 2, LIMIT))
    ]
    assert [len(answer.others) for answer in answers] == [0, 1, 1]
    assert len(set(known.places) & set(other.places)) < SAMPLE // 4
    assert answers[1] == answers[2], "one seed, one answer"


def test_a_model_of_the_samples_size_is_looked_at_whole():
    assert Comparison(SAMPLE, 1, LIMIT).places is None
    places = Comparison(SAMPLE + 1, 1, LIMIT).places
    assert len(set(places)) == SAMPLE
    assert list(places) == sorted(places)
