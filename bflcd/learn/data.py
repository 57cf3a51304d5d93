"""Which rows of a data set are this node's: the configuration, without a line of torch."""

from dataclasses import dataclass
from typing import Final, Literal

from bflcd.errors import OperatorError, UsageError

PartitionKind = Literal["writer", "dirichlet", "equal"]

PARTITIONS: Final[tuple[PartitionKind, ...]] = ("writer", "dirichlet", "equal")

MAX_PARTS: Final = 2**20
"""Parts that one data set may be dealt into."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """This node's share of a data set: part `index` of `count`, dealt by `partition` from `seed`.

    `path`: file or folder, None for tasks that bring their data. `partition`: `writer` (whole writers), `dirichlet` (label skew
    `alpha`, lognormal sizes), `equal` (same size, no skew). `limit`: at most this many training rows, the first in the
    order of the file; 0 for all. Machines that hold data of their own set count = 1.
    """

    path: str | None = None
    partition: PartitionKind = "equal"
    index: int = 0
    count: int = 1
    seed: int = 0
    alpha: float = 0.5
    limit: int = 0


def check_data_config(config: DataConfig) -> None:
    """Raise UsageError (code `bad_data`) naming the first setting that makes no sense."""
    if config.partition not in PARTITIONS:
        raise _bad_setting(f"data.partition = {config.partition!r} is unknown", f"use one of {', '.join(PARTITIONS)}")
    if not 1 <= config.count <= MAX_PARTS:
        raise _bad_setting(f"data.count = {config.count} parts", f"deal the data into 1 to {MAX_PARTS} parts")
    if not 0 <= config.index < config.count:
        raise _bad_setting(
            f"data.index = {config.index} is no part of data.count = {config.count}", f"use 0 to {config.count - 1}"
        )
    if not 0 <= config.seed < 2**63:
        raise _bad_setting(f"data.seed = {config.seed} is out of range", "use 0 to 2^63 - 1, the same on every node")
    if not 1e-3 <= config.alpha <= 1e6:
        raise _bad_setting(
            f"data.alpha = {config.alpha} is out of range", "use 0.001 (each node few labels) to 1000000 (no skew)"
        )
    if config.limit < 0:
        raise _bad_setting(f"data.limit = {config.limit} is negative", "use 0 for all rows")


def _bad_setting(message: str, hint: str) -> UsageError:
    return UsageError(message, hint=hint, code="bad_data")


def bad_data(message: str, hint: str) -> OperatorError:
    """The error for data that is there but cannot be used."""
    return OperatorError(message, hint=hint, code="bad_data")


def missing_data(message: str, hint: str) -> OperatorError:
    """The error for data that is not there."""
    return OperatorError(message, hint=hint, code="missing_data")
