"""Tasks that go wrong inside a simulation, for the tests of those that run side by side."""

import os
import signal

from torch import Tensor, nn

from bflcd.learn.tasks.digits import DigitsTask


class Killed(DigitsTask):
    """Ends its process as a kernel short of memory would."""

    def build_model(self) -> nn.Module:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Lossless(DigitsTask):
    """Its loss is none."""

    def row_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return "none"
