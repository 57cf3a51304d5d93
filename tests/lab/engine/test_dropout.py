"""Dropout by a hash: of seed, step, layer and position, and of nothing else."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bflcd.lab.engine.dropout import SeededDropout, seed_dropout

WIDTH = 500


def masks(seeds, steps=1, *, p=0.5, layer=0, rows=4, width=WIDTH):
    """What is kept in each step, [steps, devices, rows * width]."""
    dropout = SeededDropout(p, layer)
    dropout.begin(torch.tensor(seeds))
    found = [dropout(torch.ones(len(seeds) * rows, width)) != 0 for _ in range(steps)]
    return torch.stack([mask.view(len(seeds), -1) for mask in found])


seeds = st.integers(0, 2**63 - 1)


@given(st.lists(seeds, min_size=2, max_size=5, unique=True), st.integers(0, 1023))
def test_a_device_drops_the_same_in_any_company(found, layer):
    together = masks(found, steps=3, layer=layer)
    for number, seed in enumerate(found):
        assert torch.equal(together[:, number], masks([seed], steps=3, layer=layer)[:, 0])


@given(seeds, st.integers(1, 4))
def test_fewer_rows_drop_as_the_first_of_more(seed, rows):
    assert torch.equal(masks([seed], rows=rows)[0, 0], masks([seed], rows=4)[0, 0, : rows * WIDTH])


@pytest.mark.parametrize(
    "other",
    [masks([8])[0], masks([7], steps=2)[1], masks([7], layer=1)[0], masks([7], rows=5)[0][:, WIDTH:]],
    ids=["seed", "step", "layer", "position"],
)
def test_seed_step_layer_and_position_each_matter(other):
    """Two independent masks of one half agree in one half of the places."""
    agree = (masks([7])[0] == other).double().mean()
    assert 0.44 < float(agree) < 0.56


def test_masks_of_neighbouring_seeds_steps_and_layers_all_differ():
    found = [mask for layer in range(3) for mask in masks(list(range(5)), steps=4, layer=layer).flatten(0, 1)]
    agree = torch.stack([(a == b).double().mean() for i, a in enumerate(found) for b in found[:i]])
    assert 0.42 < float(agree.min()) <= float(agree.max()) < 0.58


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_a_share_of_1_less_p_is_kept_and_the_expectation_too(p):
    dropout = SeededDropout(p, 0)
    dropout.begin(torch.arange(4))
    x = torch.full((40, 1000), 3.0)
    y = dropout(x)
    kept = y != 0
    assert float(kept.double().mean()) == pytest.approx(1 - p, abs=0.01)
    assert torch.unique(y[kept]).tolist() == pytest.approx([3.0 / (1 - p)])
    assert float(y.double().mean()) == pytest.approx(3.0, rel=0.05)


def test_evaluation_and_no_probability_change_nothing():
    x = torch.randn(3, 5)
    assert SeededDropout(0.5, 0).eval()(x) is x
    assert SeededDropout(0.0, 0)(x) is x


def test_gradients_pass_where_it_is_kept():
    dropout = SeededDropout(0.5, 0)
    dropout.begin(torch.tensor([3]))
    x = torch.ones(2, 50, requires_grad=True)
    y = dropout(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_those_that_go_on_after_the_others_have_ended_keep_their_masks():
    """Given three devices of which two go on, when the batch shrinks, then these two drop as they would alone."""
    dropout = SeededDropout(0.5, 0)
    dropout.begin(torch.tensor([1, 2, 3]))
    dropout(torch.ones(6, 10))
    dropout.narrow(2)
    found = dropout(torch.ones(4, 10)).view(2, 2, 10)
    alone = masks([2], steps=2, rows=2, width=10)[1, 0].view(2, 10)
    assert torch.equal(found[1] != 0, alone)


def test_a_new_training_begins_with_the_first_step():
    dropout = SeededDropout(0.5, 0)
    dropout.begin(torch.tensor([1]))
    first = dropout(torch.ones(1, 64))
    dropout(torch.ones(1, 64))
    dropout.begin(torch.tensor([1]))
    assert torch.equal(dropout(torch.ones(1, 64)), first)


def test_every_dropout_of_a_module_is_replaced_and_numbered_in_order():
    module = nn.Sequential(nn.Dropout(0.1), nn.Sequential(nn.ReLU(), nn.Dropout(0.2)), nn.Dropout2d(0.3))
    found = seed_dropout(module)
    assert [(layer.p, layer.layer) for layer in found] == [(0.1, 0), (0.2, 1)]
    assert module[0] is found[0]
    assert module[1][1] is found[1]
    assert isinstance(module[2], nn.Dropout2d)
