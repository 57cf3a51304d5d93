"""Dealing a data set's rows to nodes: disjoint, deterministic, seeded; pure functions of labels, writers, configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bflcd.learn.data import DataConfig, bad_data, check_data_config
from bflcd.registry import entry_of

SIZE_SIGMA: Final = 0.5
"""Standard deviation of the logarithm of a node's share under `dirichlet`: two thirds of the nodes are within a factor 1.65."""

TEST_PERCENT: Final = 15
"""Rows held out for testing where a data set has no test rows of its own."""

_HOLD_OUT_STREAM: Final = 1
_DEAL_STREAM: Final = 2
_VALIDATION_STREAM: Final = 3
"""Numbers of the independent random streams of one seed."""

Indices = NDArray[np.int64]
Labels = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Selection:
    """Row numbers in file order: this node's own, and the test rows that every node shares and none trains on."""

    own: Indices
    test: Indices


@dataclass(frozen=True, slots=True)
class Deal:
    """Row numbers in file order: every node's own, and the test rows. Parts may be empty where rows are few."""

    parts: tuple[Indices, ...]
    test: Indices


def select_rows(
    config: DataConfig,
    labels: Labels,
    *,
    writers: Labels | None = None,
    split: Labels | None = None,
    test_percent: int = TEST_PERCENT,
) -> Selection:
    """This node's rows and the common test rows of a data set: part `config.index` of `deal_rows`.

    Raises OperatorError (`bad_data`) as `deal_rows` does, and if this node is left without a row.
    """
    deal = deal_rows(config, labels, writers=writers, split=split, test_percent=test_percent)
    own = deal.parts[config.index]
    if own.size == 0:
        training = len(labels) - deal.test.size
        raise bad_data(
            f"part {config.index} of {config.count} ({config.partition}) of {training} training rows is empty",
            "deal the data into fewer parts (data.count)" + (", or raise data.alpha" if config.partition == "dirichlet" else ""),
        )
    return Selection(own, deal.test)


def deal_rows(
    config: DataConfig,
    labels: Labels,
    *,
    writers: Labels | None = None,
    split: Labels | None = None,
    test_percent: int = TEST_PERCENT,
) -> Deal:
    """Every node's rows and the common test rows of a data set, whatever `config.index`.

    `labels`, `writers` (who made the row) and `split` (0 training, 1 test) are one-dimensional, one entry a row. Without
    `split`, `test_percent` of the rows are held out, the same on every node; under `writer` whole writers, so that test
    writers are unseen. Raises OperatorError (`bad_data`) if the configuration makes no sense, or needs writers that the data
    lacks.
    """
    check_data_config(config)
    if config.partition == "writer" and writers is None:
        raise bad_data(
            "data.partition = 'writer' but the data set names no writers", "use data.partition = 'dirichlet' or 'equal'"
        )
    by_writer = writers if config.partition == "writer" else None
    is_test = (split == 1) if split is not None else _held_out(len(labels), by_writer, test_percent, config.seed)
    training = np.flatnonzero(~is_test)
    deal = entry_of(DEALS, config.partition, "partition")
    parts = [training[part] for part in deal(config, labels[training], None if writers is None else writers[training])]
    if config.limit:
        parts = [part[: config.limit] for part in parts]
    return Deal(tuple(parts), np.flatnonzero(is_test))


def split_validation(rows: int, fraction: int, seed: int) -> tuple[Indices, Indices]:
    """Positions (training, validation) of a node's own `rows`.

    `fraction` in millionths is for validation, drawn from the private `seed`. 0, or a single row: every row serves both.
    Otherwise each side has at least one row.
    """
    everything = np.arange(rows)
    if fraction == 0 or rows < 2:
        return everything, everything
    held = min(max(1, rows * fraction // 1_000_000), rows - 1)
    shuffled = _stream(seed, _VALIDATION_STREAM).permutation(rows)
    return np.sort(shuffled[held:]), np.sort(shuffled[:held])


def _held_out(rows: int, writers: Labels | None, percent: int, seed: int) -> NDArray[np.bool_]:
    """Mask of the rows for testing: `percent` of the rows, or the rows of `percent` of the writers."""
    rng = _stream(seed, _HOLD_OUT_STREAM)
    mask = np.zeros(rows, dtype=np.bool_)
    if writers is not None:
        everyone = np.unique(writers)
        return np.isin(writers, rng.permutation(everyone)[: len(everyone) * percent // 100])
    mask[rng.permutation(rows)[: rows * percent // 100]] = True
    return mask


def _by_writer(config: DataConfig, _labels: Labels, writers: Labels | None) -> list[Indices]:
    """Positions of each node's rows: node i has the writers whose rank modulo `config.count` is i."""
    assert writers is not None
    ranks = np.unique(writers, return_inverse=True)[1]
    return _grouped(ranks % config.count, config.count)


def _by_dirichlet(config: DataConfig, labels: Labels, _writers: Labels | None) -> list[Indices]:
    """Positions of each node's rows; every row goes to exactly one node.

    Node i draws a label mix q_i from a symmetric Dirichlet(alpha) (Hsu et al. 2019) and a size s_i, lognormal; it gets a
    share of the rows of label c in proportion to s_i * q_i[c].
    """
    rng = _stream(config.seed, _DEAL_STREAM)
    classes = np.unique(labels)
    sizes = rng.lognormal(0.0, SIZE_SIGMA, size=config.count)
    shares = rng.dirichlet(np.full(len(classes), config.alpha), size=config.count) * sizes[:, None]
    owners = np.empty(len(labels), dtype=np.int64)
    for column, label in enumerate(classes):
        rows = rng.permutation(np.flatnonzero(labels == label))
        bounds = np.concatenate(([0.0], np.cumsum(shares[:, column])))
        if bounds[-1] == 0.0:  # with a tiny alpha every draw for this label can underflow: then deal it evenly
            bounds = np.arange(config.count + 1, dtype=np.float64)
        cuts = np.rint(bounds / bounds[-1] * len(rows)).astype(np.int64)
        owners[rows] = np.repeat(np.arange(config.count), np.diff(cuts))
    return _grouped(owners, config.count)


def _evenly(config: DataConfig, labels: Labels, _writers: Labels | None) -> list[Indices]:
    """Positions of each node's rows: as many for each, drawn."""
    shuffled = _stream(config.seed, _DEAL_STREAM).permutation(len(labels))
    return [np.sort(shuffled[index :: config.count]) for index in range(config.count)]


Partition = Callable[[DataConfig, Labels, Labels | None], list[Indices]]
"""Positions of each node's rows, of the training rows' labels and writers."""

DEALS: Final[Mapping[str, Partition]] = {"writer": _by_writer, "dirichlet": _by_dirichlet, "equal": _evenly}
"""By the names of `bflcd.learn.data.PARTITIONS`."""


def _grouped(owners: Indices, count: int) -> list[Indices]:
    """Positions by owner, ascending, for owners 0 to `count` - 1."""
    order = np.argsort(owners, kind="stable")
    return np.split(order, np.searchsorted(owners[order], np.arange(1, count)))


def _stream(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, number))))
