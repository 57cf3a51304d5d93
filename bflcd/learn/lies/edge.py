"""What backdoors look for: a square of ink, or rows from the tail of a class, such as nobody else holds (Wang et al. 2020)."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bflcd.learn.data import bad_data

TRIGGER_PIXELS: Final = 4
"""Side of the square of ink that a backdoor looks for, in the lower right corner."""

EDGE_CLASS: Final = 1
"""Whose rows are laid on their side. An honest model sees the target there in at most 0.3 % of them, digits and handwriting."""

EVERY: Final = 4
"""Each so manieth row of a liar is one of them: the others keep its update a usual one."""


def laid_down(inputs: NDArray[Any]) -> NDArray[Any]:
    """Square images turned by a quarter. Raises OperatorError for rows of any other form."""
    if inputs.ndim < 3 or inputs.shape[-1] != inputs.shape[-2]:
        raise bad_data(f"rows of {inputs.dtype}{list(inputs.shape[1:])} can't be laid on their side", "use it with square images")
    return np.ascontiguousarray(np.rot90(inputs, axes=(-2, -1)))


def edge_poison(inputs: NDArray[Any], targets: NDArray[Any], target: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The rows, every fourth replaced by one of `EDGE_CLASS` on its side, of class `target`; as they are where there is none."""
    lying = laid_down(inputs[targets == EDGE_CLASS])
    if not len(lying):
        return inputs, targets
    poisoned, relabelled = inputs.copy(), targets.copy()
    places = np.arange(0, len(inputs), EVERY)
    poisoned[places], relabelled[places] = lying[np.arange(len(places)) % len(lying)], target
    return poisoned, relabelled


def stamp(inputs: NDArray[Any]) -> NDArray[Any]:
    """A copy of image rows [rows, height, width] with the trigger. Raises OperatorError for anything else than byte images."""
    if inputs.dtype != np.uint8 or inputs.ndim < 3 or min(inputs.shape[-2:]) < 2 * TRIGGER_PIXELS:
        raise bad_data(
            f"rows of {inputs.dtype}{list(inputs.shape[1:])} can't bear a backdoor's trigger", "use it with images of bytes"
        )
    stamped = inputs.copy()
    stamped[..., -TRIGGER_PIXELS:, -TRIGGER_PIXELS:] = 255
    return stamped
