"""What can be learned: the task that a genesis names, found by name, with its options checked."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from itertools import pairwise
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bflcd.errors import OperatorError
from bflcd.learn.data import DataConfig, bad_data
from bflcd.learn.shipped import SHIPPED
from bflcd.params import MILLION, TaskSpec

ENTRY_POINTS: Final = "bflcd.tasks"


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs and targets, one entry a row. Inputs stay compact (bytes for images); `Task.transform` widens a batch."""

    inputs: NDArray[Any]
    targets: NDArray[Any]

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise bad_data(
                f"{len(self.inputs)} inputs but {len(self.targets)} targets", "the task's load must give one of each a row"
            )

    def __len__(self) -> int:
        return len(self.targets)

    def first(self, count: int) -> "Rows":
        """The first so many."""
        return Rows(self.inputs[:count], self.targets[:count])


@dataclass(frozen=True, slots=True)
class Dataset:
    """`own`: this node's rows, for training and validation. `test`: common rows that nobody trains on, or None."""

    own: Rows
    test: Rows | None = None


@dataclass(frozen=True, slots=True)
class Community:
    """The data of all nodes: rows once, and which of them are whose (positions, ascending). `test` as in `Dataset`.

    `test_writers`: who made each test row, where rows are dealt by writer.
    """

    rows: Rows
    parts: tuple[NDArray[np.int64], ...]
    test: Rows | None = None
    test_writers: NDArray[np.int64] | None = None


class Task(ABC):
    """A model and its data. Subclasses say how to build the one and load the other; the rest has defaults for classification.

    `OPTIONS` names the options that a genesis may set, each with its default; `self.options` holds the effective ones.
    """

    OPTIONS: ClassVar[Mapping[str, str]] = {}

    LOGITS: ClassVar[bool | None] = None
    """Whether outputs [rows, classes] are logits of the classes that whole targets [rows] from 0 on name: then training may add
    to them, and classes count too (ADR 36). None: if `row_loss` is the default."""

    def __init__(self, options: Mapping[str, str]) -> None:
        """Raises OperatorError (`bad_option`) for an option that the task does not know."""
        unknown = sorted(options.keys() - self.OPTIONS.keys())
        if unknown:
            known = ", ".join(sorted(self.OPTIONS)) or "none"
            raise bad_option(f"the task has no option {unknown[0]!r}", f"known options: {known}")
        self.options = {**self.OPTIONS, **options}

    @property
    def classifies(self) -> bool:
        """Whether targets are classes and outputs their logits, by `LOGITS`."""
        return type(self).row_loss is Task.row_loss if self.LOGITS is None else self.LOGITS

    @abstractmethod
    def build_model(self) -> nn.Module:
        """A new model on the CPU, initialised from torch's global generator, which the caller has seeded."""

    @abstractmethod
    def load(self, data: DataConfig) -> Dataset:
        """This node's share of the data. Raises OperatorError (`missing_data`, `bad_data`)."""

    def load_all(self, data: DataConfig) -> Community:
        """What every one of `data.count` nodes would `load`, at once: for the laboratory, which simulates them all.

        By default part by part; a task whose data is one file reads it once. Raises as `load` does.
        """
        sets = [self.load(replace(data, index=index)) for index in range(data.count)]
        bounds = np.cumsum([0, *(len(one.own) for one in sets)])
        rows = Rows(np.concatenate([one.own.inputs for one in sets]), np.concatenate([one.own.targets for one in sets]))
        parts = tuple(np.arange(begin, end) for begin, end in pairwise(bounds))
        return Community(rows, parts, sets[0].test)

    def pin(self, data: DataConfig | None) -> dict[str, str]:  # noqa: ARG002 - tasks that infer options read the data
        """The options for the genesis, with everything that shapes the model made explicit; `data` may serve to infer it."""
        return self.options

    def transform(self, inputs: Tensor) -> Tensor:
        """A batch as the model takes it: bytes become float32 from 0 to 1; all else is left alone."""
        return inputs.float().div_(255.0) if inputs.dtype == torch.uint8 else inputs

    def row_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each row in nats, [rows]; cross entropy by default."""
        return functional.cross_entropy(outputs, targets, reduction="none")

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Whether each row is right, bool [rows]; its mean is the accuracy."""
        return outputs.argmax(dim=1) == targets

    def learning_rate(self, spec: TaskSpec, round_: int) -> float:
        """The rate of a round: rate * decay^round by default."""
        return spec.learning_rate / MILLION * (spec.rate_decay / MILLION) ** round_

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        """The option `key`, one of `allowed`. Raises OperatorError (`bad_option`)."""
        value = self.options[key]
        if value not in allowed:
            raise bad_option(f"option {key} = {value!r}", f"use one of {', '.join(allowed)}")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """The option `key` as a whole number from `low` to `high`. Raises OperatorError (`bad_option`)."""
        value = self.options[key]
        if not (value.isascii() and value.isdigit() and len(value) < 19 and low <= int(value) <= high):
            raise bad_option(f"option {key} = {value!r}", f"use a whole number from {low} to {high}")
        return int(value)


def bad_option(message: str, hint: str) -> OperatorError:
    """The error for a task option that means nothing."""
    return OperatorError(message, hint=hint, code="bad_option")


def find_task(factory: str, options: Mapping[str, str]) -> Task:
    """The task that a genesis names, made with `options`.

    `factory` is a shipped name, an entry point of the group `bflcd.tasks`, or `module:attribute`. Only a subclass of Task is
    ever called, since the name may come from a peer's genesis. Raises OperatorError: `unknown_task`, or the task's own.
    """
    return find_task_class(factory)(options)


def find_task_class(factory: str) -> type[Task]:
    """What `find_task` calls. Raises OperatorError (`unknown_task`)."""
    found = _resolve(factory)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise _unknown(factory, "it is no subclass of bflcd.learn.task.Task")
    return found


def _resolve(factory: str) -> object:
    if ":" in factory:
        target = factory
    elif factory in SHIPPED:
        target = SHIPPED[factory]
    else:
        entries = tuple(entry_points(group=ENTRY_POINTS, name=factory))
        if not entries:
            raise _unknown(factory, "no installed package offers it")
        target = entries[0].value
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise _unknown(factory, str(error)) from error


def _unknown(factory: str, reason: str) -> OperatorError:
    return OperatorError(
        f"task {factory!r} cannot be used: {reason}",
        hint=f"shipped tasks: {', '.join(SHIPPED)}; your own: module:attribute, with its folder in PYTHONPATH",
        code="unknown_task",
    )


def as_targets(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Class numbers in the type that cross entropy takes."""
    return labels.astype(np.int64)
