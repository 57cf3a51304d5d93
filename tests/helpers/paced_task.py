"""The task `digits` on a device that needs a while for each batch, so that communities of tests leave the machine some air."""

import time
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from bflcd.learn.tasks.digits import DigitsTask


class PacedDigits(DigitsTask):
    """Digits whose option `pace` is the milliseconds that every training batch takes longer."""

    OPTIONS: ClassVar[Mapping[str, str]] = {**DigitsTask.OPTIONS, "pace": "40"}

    def __init__(self, options: Mapping[str, str]) -> None:
        super().__init__(options)
        self._pace = self.integer("pace", 0, 10_000) / 1000

    def row_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.requires_grad:
            time.sleep(self._pace)
        return super().row_loss(outputs, targets)
