"""Aggregation against a reference in exact fractions, over extremes, ties and orders."""

from fractions import Fraction
from math import floor, isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import InvariantError, PeerError
from bflcd.learn.aggregate import RULES, WeightedUpdate, aggregate
from bflcd.params import AGGREGATIONS, TensorSpec
from bflcd.types import MAX_WEIGHT
from bflcd.wire.tensors import split_payload
from tests.helpers.learning import SPEC, payload
from tests.helpers.tensors import decode_tensors, encode_tensors

ONE = (TensorSpec("w", (2,), "F32"),)
STEP = 2.0**-24

values = st.one_of(
    st.sampled_from([0.0, -0.0, 1024.0, -1024.0, STEP, -STEP, STEP / 2, -STEP / 2, 1.5 * STEP, 2.0**-149]),
    st.floats(-1024, 1024, width=32),
    st.floats(-2, 2, width=32),
)
pairs = st.tuples(values, values)
updates = st.lists(st.tuples(st.one_of(st.integers(1, 5), st.integers(1, MAX_WEIGHT)), pairs), min_size=1, max_size=7)


def one(pair, label=None):
    return encode_tensors({"w": np.array(pair, dtype=np.float32)}, ONE, label=label)


def weighted(entries):
    return [WeightedUpdate(weight, "u", one(pair, "u")) for weight, pair in entries]


def fixed(x):
    return round(Fraction(float(np.float32(x))) * 2**24)  # Fraction rounds ties to even


def back(x):
    clamped = max(-(2**34), min(2**34, x))
    return np.float32(clamped / 2**24)  # exact in float64, then one rounding


def mean_by_hand(weights, column):
    return round(Fraction(sum(w * f for w, f in zip(weights, column, strict=True)), sum(weights)))


def median_by_hand(_weights, column):
    ranked = sorted(column)
    return round(Fraction(ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2], 2))


BY_HAND = {"fedavg": mean_by_hand, "median": median_by_hand}


def step_by_hand(rule, entries):
    weights = [weight for weight, _ in entries]
    return [BY_HAND[rule](weights, [fixed(pair[place]) for _, pair in entries]) for place in range(2)]


def test_every_rule_of_genesis_is_there_and_no_other():
    assert tuple(RULES) == AGGREGATIONS


def held_to(bound, vector):
    norm = isqrt(sum(value**2 for value in vector))
    scale = Fraction(floor(Fraction(bound, norm + 1) * 2**24), 2**24) if norm > bound else 1
    return [round(value * scale) for value in vector]


def reference(rule, model, entries, limit=None):
    bound = None if limit is None else abs(limit) * 2**12
    pairs_ = [[fixed(value) for value in pair] for _, pair in entries]
    if limit is not None and limit < 0:
        pairs_ = [held_to(bound, pair) for pair in pairs_]
        norm = isqrt(sum(fixed(base) ** 2 for base in model))
        bound = min(bound, max(norm // 2, bound // 64, 1)) if norm else bound
    weights = [weight for weight, _ in entries]
    steps = [BY_HAND[rule](weights, [pair[place] for pair in pairs_]) for place in range(2)]
    if bound is not None:
        steps = held_to(bound, steps)
    return np.array([back(fixed(base) + step) for base, step in zip(model, steps, strict=True)], dtype=np.float32)


limits = st.one_of(st.none(), st.integers(-(2**28), 2**28), st.integers(1, 2**14), st.integers(-(2**14), -1))


@pytest.mark.parametrize("rule", RULES)
@given(model=pairs, entries=updates, limit=limits, data=st.data())
def test_equals_exact_fractions_in_any_order(rule, model, entries, limit, data):
    result = aggregate(rule, one(model), weighted(entries), ONE, limit)
    np.testing.assert_array_equal(decode_tensors(result, ONE, label=None)["w"], reference(rule, model, entries, limit))
    shuffled = data.draw(st.permutations(entries))
    assert aggregate(rule, one(model), iter(weighted(shuffled)), ONE, limit) == result


@pytest.mark.parametrize("rule", RULES)
@given(entries=updates, limit=st.integers(1, 2**23))
def test_a_step_keeps_its_direction_and_to_the_limit(rule, entries, limit):
    steps = np.array(step_by_hand(rule, entries), dtype=np.float64) * STEP
    found = decode_tensors(aggregate(rule, one((0.0, 0.0)), weighted(entries), ONE, limit), ONE, label=None)["w"].astype(
        np.float64
    )
    norm, bound = np.linalg.norm(steps), limit * 2.0**-12
    assert np.linalg.norm(found) <= bound * (1 + 2.0**-22) + STEP
    np.testing.assert_allclose(found, steps * min(1.0, bound / norm) if norm else steps, rtol=0, atol=norm * 2.0**-23 + 2 * STEP)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, (3.0, -4.0)),
        (5 * 2**12, (3.0, -4.0)),  # as long as it may be
        (5 * 2**11, (1.5, -2.0)),
        (5, (3 * 2.0**-12, -4 * 2.0**-12)),
    ],
)
def test_a_step_of_norm_five(limit, expected):
    result = aggregate("fedavg", one((0.0, 0.0)), weighted([(7, (3.0, -4.0))]), ONE, limit)
    np.testing.assert_allclose(decode_tensors(result, ONE, label=None)["w"], expected, rtol=2.0**-11)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ((0.0, 0.0), (3.0, -4.0)),  # nothing to hold it to
        ((0.0, 10.0), (3.0, 6.0)),
        ((0.0, 5.0), (1.5, 3.0)),
        ((-3.0, 4.0), (-1.5, 2.0)),  # whatever is packed, half of the model is left
        ((0.0, 2.0**-23), (3 / 64, -4 / 64)),  # what is next to nothing is moved by a 64th of what is usual
        ((0.0, 1.0), (0.3, 0.6)),
    ],
)
def test_a_young_models_step_is_no_longer_than_half_of_it(model, expected):
    result = aggregate("fedavg", one(model), weighted([(7, (3.0, -4.0))]), ONE, -5 * 2**12)
    np.testing.assert_allclose(decode_tensors(result, ONE, label=None)["w"], expected, atol=2.0**-20)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, {"fedavg": (-24.0, 0.0), "median": (1.0, 0.0)}),
        (2**20, {"fedavg": (-24.0, 0.0), "median": (1.0, 0.0)}),
        (-(2**12), {"fedavg": (1 / 3, 0.0), "median": (1.0, 0.0)}),  # the longest counts as one of them
        (-(2**11), {"fedavg": (1 / 6, 0.0), "median": (0.5, 0.0)}),
        (-(2**20), {"fedavg": (-24.0, 0.0), "median": (1.0, 0.0)}),
    ],
)
def test_a_young_models_updates_count_no_more_than_the_limit_each(rule, limit, expected):
    entries = [(5, (1.0, 0.0)), (5, (1.0, 0.0)), (5, (-74.0, 0.0))]
    result = aggregate(rule, one((0.0, 0.0)), weighted(entries), ONE, limit)
    np.testing.assert_allclose(decode_tensors(result, ONE, label=None)["w"], expected[rule], rtol=2.0**-10)


def test_a_young_models_step_is_no_longer_than_an_update_may_be_where_their_median_is():
    """Given three updates of norm 1 whose median by coordinates is longer than each of them, then it is scaled down to 1 too."""
    spec, side = (TensorSpec("w", (3,), "F32"),), np.float32(0.5**0.5)
    model = encode_tensors({"w": np.full(3, 100.0, dtype=np.float32)}, spec, label=None)
    entries = []
    for place in range(3):
        update = np.full(3, side, dtype=np.float32)
        update[place] = 0.0
        entries.append(WeightedUpdate(1, "u", encode_tensors({"w": update}, spec, label="u")))
    found = split_payload(aggregate("median", model, entries, spec, -(2**12)), spec, label=None)[1] - np.float32(100.0)
    np.testing.assert_allclose(found, np.full(3, 3**-0.5), rtol=1e-3)


def test_the_largest_step_of_more_coordinates_than_one_slice():
    """Given a million and more coordinates at +-2^10, then the sum of squares, near 2^89, is exact, and so is the step."""
    width = 2**20 + 3
    spec = (TensorSpec("w", (width,), "F32"),)
    update = np.where(np.arange(width) % 2, np.float32(1024), np.float32(-1024)).astype(np.float32)
    zero = encode_tensors({"w": np.zeros(width, dtype=np.float32)}, spec, label=None)
    entries = [WeightedUpdate(1, "u", encode_tensors({"w": update}, spec, label="u"))]
    norm = isqrt(width * 2**68)
    whole = split_payload(aggregate("fedavg", zero, entries, spec, (norm >> 12) + 1), spec, label=None)[1]
    np.testing.assert_array_equal(whole, update)
    half = split_payload(aggregate("fedavg", zero, entries, spec, norm >> 13), spec, label=None)[1]
    np.testing.assert_allclose(half, update / 2, rtol=2.0**-20)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sum_is_exact(sign):
    entry = (MAX_WEIGHT, (sign * 1024.0, sign * 1023.0))
    entries = [entry] * 2**11
    result = aggregate("fedavg", one((sign * 1024.0, 0.0)), weighted(entries), ONE, None)
    assert decode_tensors(result, ONE, label=None)["w"].tolist() == [sign * 1024.0, sign * 1023.0]


@pytest.mark.parametrize(
    ("base", "update", "weights", "expected"),
    [
        (0, 1, (1, 1), 0),  # one half: to even
        (1, 1, (1, 1), 1),  # of the step, whatever the model
        (0, 3, (1, 1), 2),  # three halves
        (0, -1, (1, 1), 0),
        (-1, -1, (1, 1), -1),
        (0, -3, (1, 1), -2),
        (0, 5, (1, 1), 2),  # five halves
        (0, 1, (2, 1), 1),
        (0, 1, (1, 2), 0),
    ],
)
def test_ties_go_to_the_even_integer(base, update, weights, expected):
    entries = [(weights[0], (update * STEP, 0.0)), (weights[1], (0.0, 0.0))]
    result = aggregate("fedavg", one((base * STEP, 0.0)), weighted(entries), ONE, None)
    assert decode_tensors(result, ONE, label=None)["w"][0] == expected * STEP


@pytest.mark.parametrize("rule", RULES)
def test_without_updates_the_model_is_its_own_successor(rule):
    model = one((2.0**-30, 5.0))  # would be rounded away by fixed point
    assert aggregate(rule, model, [], ONE, None) == model


@pytest.mark.parametrize("rule", RULES)
def test_counters_come_from_the_parent(rule):
    model = payload(range(9), count=41)
    result = aggregate(rule, model, [WeightedUpdate(3, "u", payload([1.0] * 9, label="u", count=99))], SPEC, None)
    assert result == payload(range(1, 10), count=41)


def test_the_median_of_more_columns_than_one_chunk():
    spec = (TensorSpec("w", (70_000,), "F32"),)
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(3, 70_000)).astype(np.float32)
    zero = encode_tensors({"w": np.zeros(70_000, dtype=np.float32)}, spec, label=None)
    entries = [WeightedUpdate(1, "u", encode_tensors({"w": array}, spec, label="u")) for array in arrays]
    floats = split_payload(aggregate("median", zero, entries, spec, None), spec, label=None)[1]
    np.testing.assert_allclose(floats, np.median(arrays, axis=0), atol=STEP)


def test_each_update_is_used_up_before_the_next_is_fetched():
    """Given one buffer that each next update overwrites, When fedavg takes them, Then the mean is that of all."""

    def stream():
        buffer = bytearray(one((0.0, 0.0), "u"))
        for value in (1.0, 2.0, 3.0):
            buffer[:] = one((value, -value), "u")
            yield WeightedUpdate(1, "u", memoryview(buffer))

    result = aggregate("fedavg", one((0.0, 0.0)), stream(), ONE, None)
    assert decode_tensors(result, ONE, label=None)["w"].tolist() == [2.0, -2.0]


@pytest.mark.parametrize(
    ("rule", "entries", "error"),
    [
        ("mean", [(1, (0.0, 0.0))], InvariantError),
        ("fedavg", [(0, (0.0, 0.0))], InvariantError),
        ("fedavg", [(MAX_WEIGHT + 1, (0.0, 0.0))], InvariantError),
        ("fedavg", [(1, (0.0, 0.0))] * (2**11 + 1), InvariantError),
        ("median", [(1, (0.0, 0.0))] * (2**11 + 1), InvariantError),
    ],
)
def test_what_the_ledger_rules_out_is_our_bug(rule, entries, error):
    with pytest.raises(error):
        aggregate(rule, one((0.0, 0.0)), weighted(entries), ONE, None)


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_payload_is_the_peers_fault(rule):
    with pytest.raises(PeerError, match="label"):
        aggregate(rule, one((0.0, 0.0)), [WeightedUpdate(1, "v", one((0.0, 0.0), "u"))], ONE, None)
