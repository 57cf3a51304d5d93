"""Testnet plans with a task that was described beforehand, so that no worker has to start."""

from pathlib import Path
from typing import Any

from bflcd.learn.messages import TaskDescription
from bflcd.params import Params, TensorSpec
from bflcd.setup.genesis_plan import TaskPlan
from bflcd.setup.testnet import TestnetPlan
from bflcd.types import Millis
from bflcd.wire.tensors import header_bytes

TENSORS = (TensorSpec("bias", (2,), "F32"), TensorSpec("weight", (4, 2), "F32"))

DESCRIPTION = TaskDescription((("test_percent", "15"),), TENSORS, header_bytes(TENSORS, None) + bytes(40))


def make_plan(output: Path, nodes: int = 6, **changes: Any) -> TestnetPlan:
    """A plan with seeded keys, a committee of four and places for all trainers."""
    settings = {
        "task": TaskPlan("digits", seed=7),
        "params": Params(committee_size=4, places=max(4, nodes - 4), last_round=3, small_community=nodes < 5),
        "time": Millis(0),
        "seeded_keys": True,
    }
    return TestnetPlan(nodes=nodes, output=output, **{**settings, **changes})
