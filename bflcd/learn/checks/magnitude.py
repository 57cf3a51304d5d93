"""Which tensor holds values that may not travel: not finite, or beyond the limit of a payload."""

from collections.abc import Collection, Iterator
from math import isfinite, prod

import numpy as np

from bflcd.learn.protocol import WorkerError
from bflcd.params import TensorSpec
from bflcd.wire.tensors import VALUE_LIMIT, Floats
from bflcd.wire.training import Training


class NotFiniteError(WorkerError):
    """Training ended in weights that are not finite; why is asked of the rows (`learn.checks.diagnosis`)."""


def first_beyond(spec: tuple[TensorSpec, ...], values: Floats) -> tuple[str, float] | None:
    """The first tensor of a flat vector with a value that may not travel, and its worst one; None if there is none."""
    if np.all(np.abs(values) <= VALUE_LIMIT):
        return None
    for name, part in _named(spec, values):
        worst = float(np.abs(part).max(initial=0.0))  # NaN passes through
        if not worst <= VALUE_LIMIT:
            return name, worst
    return None


def check_update(spec: tuple[TensorSpec, ...], trained: Collection[str], update: Floats, loss: float) -> None:
    """Raise NotFiniteError, or WorkerError naming the tensor of a finite update that is beyond the limit.

    `trained`: the tensors that the optimiser moves, `loss`: the mean loss of the last epoch.
    """
    found = first_beyond(spec, update)
    if found is None:
        return
    name, worst = found
    if not (isfinite(loss) and np.isfinite(update).all()):
        raise NotFiniteError(f"training ended in a tensor {name} that is not finite (loss {loss:g})")
    if name in trained:
        fault = Training.TASK
        what = "training diverges, or the inputs are of too large a scale: lower the learning rate in the genesis, or scale them"
    else:
        fault = Training.DATA
        what = "it follows the scale of the inputs: bring them to about mean 0 and deviation 1 in the task's load or transform"
    text = f"the tensor {name} changed by up to {worst:g}, and what travels is at most +-{VALUE_LIMIT:g}; {what}"
    raise WorkerError(text, fault)


def _named(spec: tuple[TensorSpec, ...], flat: Floats) -> Iterator[tuple[str, Floats]]:
    """The named parts of a flat vector of weights, in the order of a payload."""
    offset = 0
    for tensor in spec:
        if tensor.dtype == "F32":
            size = prod(tensor.shape)
            yield tensor.name, flat[offset : offset + size]
            offset += size
