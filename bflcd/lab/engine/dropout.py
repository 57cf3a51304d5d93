"""Dropout whose masks depend on the device's seed, the step and the position alone.

torch's generator hands out numbers in the order in which they are asked for, so a stack of other models would get other masks.
Here each number is a hash of where it is used (the finaliser of SplitMix64, Steele et al. 2014, in wrapping int64): any grouping
of devices, on any kind of machine, drops the same activations.
"""

from typing import Final

import torch
from torch import Tensor, nn

_GAMMA: Final = -7046029254386353131
_MIX_1: Final = -4658895280553007687
_MIX_2: Final = -7723592293110705685
"""0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB as signed numbers."""

_BITS: Final = 24
"""Bits of a hash that are compared with the probability: what float32 resolves."""


class SeededDropout(nn.Module):
    """Stands for a `nn.Dropout` of probability `p`; `layer` numbers those of one model.

    The rows of a batch may be those of several devices, one device's after the other, each device with the same number; `seeds`
    [devices] then names them.
    """

    def __init__(self, p: float, layer: int) -> None:
        super().__init__()
        self.p, self.layer = p, layer
        self.seeds = torch.zeros(1, dtype=torch.int64)
        self._step = 0

    def begin(self, seeds: Tensor) -> None:
        """A training begins: `seeds` int64 [devices]."""
        self.seeds, self._step = seeds, 0

    def forward(self, x: Tensor) -> Tensor:
        """x / (1 - p) where it is kept, 0 elsewhere; in evaluation x itself."""
        if not self.training or self.p == 0.0:
            return x
        self._step += 1
        devices = len(self.seeds)
        spread = x.reshape(devices, -1)
        place = torch.arange(spread.shape[1], device=x.device)
        stream = self.seeds[:, None] + _signed((self._step * 1024 + self.layer) * _GAMMA)
        keep = _hash(place + 1, stream) >= int(self.p * 2**_BITS)
        kept: Tensor = spread * keep * (1.0 / (1.0 - self.p))
        return kept.view_as(x)

    def narrow(self, devices: int) -> None:
        """From here on only the first `devices` go on training."""
        self.seeds = self.seeds[:devices]


def seed_dropout(module: nn.Module) -> list[SeededDropout]:
    """Replace every `nn.Dropout` in `module`, and return what stands there now, in order."""
    found: list[SeededDropout] = []
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout:
                found.append(SeededDropout(child.p, len(found)))
                setattr(parent, name, found[-1])
    return found


def _hash(place: Tensor, seed: Tensor) -> Tensor:
    """Uniform integers below 2^24, of `place` [n] and `seed` [devices, 1]."""
    x = place * _GAMMA + seed
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    mixed: Tensor = (x ^ _shift(x, 31)) & (2**_BITS - 1)
    return mixed


def _signed(value: int) -> int:
    """A number as it stands in an int64 that has run over."""
    return (value + 2**63) % 2**64 - 2**63


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right of int64."""
    shifted: Tensor = (x >> bits) & (2 ** (64 - bits) - 1)
    return shifted
