"""Dealing rows: disjoint, complete, the same on every node."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import OperatorError
from bflcd.learn.data import PARTITIONS, DataConfig
from bflcd.learn.partition import DEALS, select_rows, split_validation

ROWS = 600
LABELS = np.arange(ROWS) % 10
WRITERS = np.sort((np.arange(ROWS) * 7) % 24) + 100
SPLIT = (np.arange(ROWS) >= 500).astype(np.int64)


def parts(kind, count, *, split=None, seed=3, alpha=0.5, limit=0):
    return [
        select_rows(DataConfig("p", kind, index, count, seed, alpha, limit), LABELS, writers=WRITERS, split=split)
        for index in range(count)
    ]


def test_every_partition_of_a_configuration_is_there_and_no_other():
    assert tuple(DEALS) == PARTITIONS


@pytest.mark.parametrize("split", [None, SPLIT], ids=["held out", "own test rows"])
@pytest.mark.parametrize("kind", PARTITIONS)
@given(seed=st.integers(0, 2**63 - 1), count=st.integers(1, 6))
def test_every_row_is_in_one_part_or_in_the_common_test_rows(kind, split, seed, count):
    selections = parts(kind, count, split=split, seed=seed, alpha=5.0)
    test = selections[0].test
    assert all(np.array_equal(selection.test, test) for selection in selections)
    everything = np.concatenate([test, *(selection.own for selection in selections)])
    assert np.array_equal(np.sort(everything), np.arange(ROWS))
    assert all(np.all(np.diff(selection.own) > 0) for selection in selections)
    for first, second in zip(selections, parts(kind, count, split=split, seed=seed, alpha=5.0), strict=True):
        assert np.array_equal(first.own, second.own)


def test_by_writer_part_i_has_the_writers_whose_rank_modulo_count_is_i():
    for index, selection in enumerate(parts("writer", 8, split=SPLIT)):
        ranks = np.unique(WRITERS[SPLIT == 0], return_inverse=True)[1]
        assert np.array_equal(selection.own, np.flatnonzero(SPLIT == 0)[ranks % 8 == index])


def test_by_writer_without_test_rows_whole_writers_are_held_out():
    selection = parts("writer", 1)[0]
    assert not set(WRITERS[selection.own]) & set(WRITERS[selection.test])
    assert len(set(WRITERS[selection.test])) == 24 * 15 // 100


def test_the_limit_takes_the_first_rows_in_file_order():
    assert np.array_equal(parts("writer", 2, split=SPLIT, limit=7)[1].own, parts("writer", 2, split=SPLIT)[1].own[:7])


def test_equal_parts_differ_by_one_row_at_most():
    sizes = [len(selection.own) for selection in parts("equal", 7)]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == ROWS * 85 // 100


def test_a_smaller_alpha_skews_labels_more():
    def skew(alpha):
        mixes = [np.bincount(LABELS[part.own], minlength=10) / len(part.own) for part in parts("dirichlet", 5, alpha=alpha)]
        return np.mean([np.abs(mix - 0.1).sum() for mix in mixes])

    assert skew(0.1) > 2 * skew(100.0)


def test_dirichlet_sizes_differ():
    sizes = [len(part.own) for part in parts("dirichlet", 6, alpha=1e6)]
    assert max(sizes) > 1.5 * min(sizes)


@pytest.mark.parametrize(
    ("config", "writers", "words"),
    [
        (DataConfig(partition="random"), WRITERS, "random"),
        (DataConfig(partition="writer"), None, "no writers"),
        (DataConfig(count=0), WRITERS, "count"),
        (DataConfig(index=3, count=3), WRITERS, "index"),
        (DataConfig(index=-1), WRITERS, "index"),
        (DataConfig(seed=-1), WRITERS, "seed"),
        (DataConfig(alpha=0.0), WRITERS, "alpha"),
        (DataConfig(alpha=float("nan")), WRITERS, "alpha"),
        (DataConfig(limit=-1), WRITERS, "limit"),
        (DataConfig(partition="writer", index=30, count=40), WRITERS, "empty"),
        (DataConfig(partition="equal", index=599, count=600), WRITERS, "empty"),
    ],
)
def test_senseless_configurations_are_named(config, writers, words):
    with pytest.raises(OperatorError, match=words) as caught:
        select_rows(config, LABELS, writers=writers)
    assert caught.value.code == "bad_data"
    assert caught.value.hint


@given(rows=st.integers(2, 500), fraction=st.integers(1, 900_000), seed=st.integers(0, 2**63 - 1))
def test_validation_rows_are_never_trained_on(rows, fraction, seed):
    training, validation = split_validation(rows, fraction, seed)
    assert np.array_equal(np.sort(np.concatenate([training, validation])), np.arange(rows))
    assert len(training) > 0
    assert len(validation) == min(max(1, rows * fraction // 1_000_000), rows - 1)


@pytest.mark.parametrize(("rows", "fraction"), [(10, 0), (1, 500_000)])
def test_without_a_fraction_all_rows_serve_both(rows, fraction):
    training, validation = split_validation(rows, fraction, 1)
    assert training.tolist() == validation.tolist() == list(range(rows))


def test_the_validation_rows_depend_on_the_private_seed():
    assert split_validation(100, 200_000, 1)[1].tolist() != split_validation(100, 200_000, 2)[1].tolist()
