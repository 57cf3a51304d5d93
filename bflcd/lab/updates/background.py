"""What a row does to an update that other rows of its kind don't do by chance: the matched filter of its gradient.

An update is a mean of gradients. Those of rows that the attacker can't know scatter as public rows' gradients do, and noise
scatters evenly; against that a record shows best along (covariance of both)^-1 times its gradient (Turin 1960).
"""

from typing import Final

import torch
from torch import Tensor

from bflcd.lab.updates.network import Network
from bflcd.learn.private.mechanism import THOUSAND, Mechanism
from bflcd.learn.training import DeviceRows

MOST_ROWS: Final = 512
"""Public rows whose gradients are held beside each other."""

REST: Final = 0.01
"""Of the mean square of a gradient: what goes in directions that no public row shows."""


class Background:
    """The gradients [rows, weights] of rows of the same kind, at one model."""

    def __init__(self, network: Network, model: Tensor, rows: DeviceRows, clip: float | None) -> None:
        """`clip`: the norm that a row's gradient is cut to; None: it is not."""
        kept = rows.part(0, MOST_ROWS)
        found = network.row_gradients(model, network.inputs(kept), kept.targets)
        if clip is not None:
            found *= (clip / torch.linalg.vector_norm(found, dim=1).clamp(min=clip))[:, None]
        self._gradients = found - found.mean(0)
        self._products = (self._gradients @ self._gradients.T).double()

    def filtered(self, gradients: Tensor, mechanism: Mechanism | None, rows: int) -> Tensor:
        """The directions [records, weights], each of length 1, along which records with such `gradients` show in an update of so
        many `rows`, made by that `mechanism`."""
        count = len(self._gradients)
        even = REST * float(self._products.trace()) / count
        if mechanism is not None:
            even += count * (mechanism.noise / THOUSAND * mechanism.clip) ** 2 * mechanism.lots / rows
        weighed = self._products + max(even, 1e-30) * torch.eye(count, dtype=torch.float64, device=self._products.device)
        usual = torch.linalg.solve(weighed, (self._gradients @ gradients.T).double()).to(gradients)
        return torch.nn.functional.normalize(gradients - usual.T @ self._gradients, dim=1, eps=torch.finfo(torch.float32).tiny)
