"""The device that is computed on, by the name that a configuration gives it."""

from typing import Final, Literal

import torch

from bflcd.errors import OperatorError

DeviceName = Literal["auto", "cpu", "cuda"]

DEVICES: Final[tuple[DeviceName, ...]] = ("auto", "cpu", "cuda")


def find_device(name: str) -> torch.device:
    """`cpu`, `cuda`, or for `auto` cuda where there is one. Raises OperatorError (`bad_device`)."""
    if name not in DEVICES:
        raise OperatorError(f"device {name!r} is unknown", hint="use auto, cpu or cuda", code="bad_device")
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise OperatorError("device cuda: torch finds no usable GPU here", hint="use --device auto or cpu", code="bad_device")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")
