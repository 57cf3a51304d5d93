"""The laboratory's aggregate is the daemons', byte for byte."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import InvariantError
from bflcd.lab import exact
from bflcd.lab.exact import RULES
from bflcd.learn.aggregate import RULES as DAEMONS_RULES
from bflcd.learn.aggregate import WeightedUpdate
from bflcd.learn.aggregate import aggregate as daemons
from bflcd.params import TensorSpec
from bflcd.types import MAX_WEIGHT
from bflcd.wire.tensors import split_payload
from tests.helpers.tensors import encode_tensors

STEP = 2.0**-24

values = st.one_of(
    st.sampled_from([0.0, -0.0, 1024.0, -1024.0, 1023.99993896484375, STEP, -STEP, STEP / 2, -STEP / 2, 1.5 * STEP, -2.5 * STEP]),
    st.integers(-9, 9).map(lambda steps: steps * STEP),
    st.floats(-1024, 1024, width=32),
    st.floats(-2, 2, width=32),
)
vectors = st.lists(values, min_size=3, max_size=3)
limits = st.one_of(st.none(), st.integers(-(2**28), 2**28), st.integers(1, 2**14), st.integers(-(2**14), -1))
packed = st.lists(st.tuples(st.one_of(st.integers(1, 5), st.integers(1, MAX_WEIGHT)), vectors), max_size=8)


def both(rule, model, updates, weights, limit=None):
    """Bytes of the next model, by the laboratory and by a daemon."""
    spec = (TensorSpec("w", (len(model),), "F32"),)
    payloads = [WeightedUpdate(w, "u", encode_tensors({"w": u}, spec, label="u")) for w, u in zip(weights, updates, strict=True)]
    theirs = daemons(rule, encode_tensors({"w": model}, spec, label=None), payloads, spec, limit)
    ours = exact.aggregate(rule, torch.from_numpy(model), torch.from_numpy(updates), weights, limit)
    assert ours.dtype == torch.float32
    return ours.numpy().tobytes(), split_payload(theirs, spec, label=None)[1].tobytes()


@pytest.mark.parametrize("rule", RULES)
@given(model=vectors, entries=packed, limit=limits)
def test_the_bytes_are_those_of_a_daemon(rule, model, entries, limit):
    updates = np.array([update for _, update in entries], dtype=np.float32).reshape(len(entries), 3)
    ours, theirs = both(rule, np.array(model, dtype=np.float32), updates, [weight for weight, _ in entries], limit)
    assert ours == theirs


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_sum_is_exact(rule, sign):
    updates = np.full((2**11, 2), sign * 1024.0, dtype=np.float32)
    updates[:, 1] = sign * 1023.0
    ours, theirs = both(rule, np.array([sign * 1024.0, 0.0], dtype=np.float32), updates, [MAX_WEIGHT] * 2**11)
    assert ours == theirs == np.array([sign * 1024.0, sign * 1023.0], dtype=np.float32).tobytes()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("limit", [None, 2**12, 2**20])
@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_more_coordinates_than_one_slice(rule, count, limit, monkeypatch):
    monkeypatch.setattr(exact, "_COLUMNS", 100)
    rng = np.random.default_rng(count)
    ours, theirs = both(
        rule,
        rng.normal(size=1037).astype(np.float32),
        rng.normal(size=(count, 1037)).astype(np.float32),
        rng.integers(1, 300, count).tolist(),
        limit,
    )
    assert ours == theirs


@pytest.mark.parametrize("rule", RULES)
def test_without_updates_the_model_itself(rule):
    model = torch.tensor([2.0**-30, 5.0])
    assert exact.aggregate(rule, model, torch.zeros((0, 2)), [], None) is model


def test_nothing_that_came_in_is_changed():
    model, updates = torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])
    kept = model.clone(), updates.clone()
    for rule in RULES:
        exact.aggregate(rule, model, updates, [1, 2], None)
    assert torch.equal(model, kept[0])
    assert torch.equal(updates, kept[1])


def test_the_rules_are_the_daemons():
    assert tuple(RULES) == tuple(DAEMONS_RULES)


@pytest.mark.parametrize(
    ("rule", "weights", "words"), [("mean", [1], "'mean'"), ("fedavg", [], "weights"), ("median", [1, 2], "weights")]
)
def test_what_the_ledger_rules_out_is_our_bug(rule, weights, words):
    with pytest.raises(InvariantError, match=words):
        exact.aggregate(rule, torch.zeros(2), torch.zeros((1, 2)), weights, None)
