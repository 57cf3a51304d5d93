"""Tasks that misbehave, for the tests of the compute worker; their option `mode` says how."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from bflcd.learn.data import DataConfig
from bflcd.learn.task import Dataset, Rows, Task

GENERATOR_SEED = 5


class LineTask(Task):
    """Which side of a line a point lies on; 64 own rows, 32 test rows.

    `mode` goes wrong in a forward pass, once a file `flag` exists; `hole` puts NaN into a row as it is loaded, while it exists.
    """

    OPTIONS: ClassVar[Mapping[str, str]] = {"mode": "", "flag": ""}

    def build_model(self) -> nn.Module:
        return Guarded(self.options["mode"], self.options["flag"])

    def load(self, data: DataConfig) -> Dataset:
        if self.options["mode"] == "bad load":
            raise ValueError("no such luck")
        points = np.random.default_rng(GENERATOR_SEED).normal(size=(96, 2)).astype(np.float32)
        labels = (points[:, 0] > points[:, 1]).astype(np.int64)
        if self.options["mode"] == "hole" and Path(self.options["flag"]).exists():
            points[17, 1] = np.nan
        return Dataset(Rows(points[:64], labels[:64]), Rows(points[64:], labels[64:]))


class WordlessError(Exception):
    """Raises when it is asked what it says."""

    def __str__(self) -> str:
        raise RuntimeError


class Guarded(nn.Module):
    """A linear model with a counter that fails on demand."""

    def __init__(self, mode: str, flag: str) -> None:
        super().__init__()
        self.line = nn.Linear(2, 2)
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.mode, self.flag = mode, flag
        self.poisoned = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.batches += 1
        if self.mode and Path(self.flag).exists():
            self.misbehave()
        if self.poisoned:
            raise RuntimeError("this process is past help")
        return self.line(x)

    def misbehave(self) -> None:
        match self.mode:
            case "exit":
                os._exit(3)
            case "torch memory":
                raise torch.OutOfMemoryError("pretended")
            case "raise in training" if self.training:
                raise RuntimeError("torch is unhappy")
            case "sys.exit":
                sys.exit(0)
            case "interrupt":
                raise KeyboardInterrupt
            case "no UTF-8":
                raise ValueError("rows-\udcff.npz is damaged")
            case "no words":
                raise WordlessError
            case "poison":
                self.poisoned = True
            case "print":
                print("stray words on standard output", flush=True)  # noqa: T201 - what the worker must survive
            case "slow":
                time.sleep(0.1)
            case "stuck":
                time.sleep(30)
