"""How large an experiment is: a quarter of an hour on two cores, hours on them, or the paper's 900 devices on a GPU."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from bflcd.lab.config import SimulationConfig
from bflcd.learn.datasets.readers import open_images
from bflcd.learn.partition import TEST_PERCENT


class ScaleName(StrEnum):
    """The sizes."""

    small = "small"
    medium = "medium"
    full = "full"


DIGITS: Final = SimulationConfig(task="digits", devices=100, rounds=60, learning_rate=0.1, rate_decay=0.98, every=3)
"""Without data: the digits that scikit-learn ships, 15 rows a device. A look at how it works."""

BASES: Final = {
    ScaleName.small: SimulationConfig(devices=100, limit=50, local_epochs=2, rounds=30, rate_decay=0.96, every=5),
    ScaleName.medium: SimulationConfig(devices=300, limit=110, local_epochs=2, rounds=60, rate_decay=0.98, every=5),
    ScaleName.full: SimulationConfig(devices=900, local_epochs=2, rounds=150, rate_decay=0.985, every=5),
}

MODELS: Final = {ScaleName.small: "light", ScaleName.medium: "light", ScaleName.full: "alexnet"}

TEST_ROWS: Final = 4000
"""Test rows of the small scale, where measuring on all would take as long as training."""

AT_WORK: Final = {ScaleName.small: 0.3, ScaleName.medium: 0.2, ScaleName.full: 0.1}
"""Active share under attack: where the community is a hundred devices, a tenth would be a committee and six trainers."""

SCHEDULES: Final[dict[str, dict[str, Any]]] = {
    "light": {"learning_rate": 0.1},
    "cnn": {"learning_rate": 0.1},
    "alexnet": {"learning_rate": 0.02, "rounds": 100, "rate_decay": 0.975, "every": 4},
}
"""What each network needs otherwise than its scale says: AlexNet does not learn at five times its rate."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What all experiments of one call share: data, size, training (`base`: no attack, 10 % active) and seeds."""

    scale: ScaleName
    base: SimulationConfig
    seeds: tuple[int, ...]

    @property
    def under_attack(self) -> SimulationConfig:
        """`base` with enough devices at work for a committee."""
        scale = ScaleName.small if self.base.data is None else self.scale
        return msgspec.structs.replace(self.base, active=AT_WORK[scale])


def make_plan(
    scale: ScaleName,
    seeds: tuple[int, ...],
    *,
    data: Path | None = None,
    model: str | None = None,
    rounds: int | None = None,
    devices: int | None = None,
) -> Plan:
    """The common part of an experiment's simulations; `rounds` and `devices` replace those of the scale.

    Rows of known writers are dealt by writer; others by Dirichlet(0.5) with lognormal sizes, which is synthetic. Raises
    OperatorError (`missing_data`, `bad_data`).
    """
    changes: dict[str, Any] = {key: value for key, value in (("rounds", rounds), ("devices", devices)) if value is not None}
    if data is None:
        return Plan(scale, msgspec.structs.replace(DIGITS, **changes), seeds)
    source = open_images(str(data))
    network = model or MODELS[scale]
    given = {
        "data": str(data.absolute()),
        "options": _options(scale, int(source.labels.max()) + 1, network),
        "partition": "dirichlet" if source.writers is None else "writer",
    }
    changes = given | (SCHEDULES.get(network, {}) if scale is ScaleName.full else _rate(network)) | changes
    base = BASES[scale]
    if source.writers is not None and "devices" not in changes:
        changes["devices"] = min(base.devices, _writers(source.writers, source.split))
    return Plan(scale, msgspec.structs.replace(base, **changes), seeds)


def _options(scale: ScaleName, classes: int, network: str) -> tuple[tuple[str, str], ...]:
    options = {"classes": str(classes), "model": network}
    return tuple((options | ({"test_rows": str(TEST_ROWS)} if scale is ScaleName.small else {})).items())


def _rate(network: str) -> dict[str, Any]:
    """The learning rate alone: the smaller scales have rounds of their own."""
    return {key: value for key, value in SCHEDULES.get(network, {}).items() if key == "learning_rate"}


def _writers(writers: Any, split: Any) -> int:
    """How many writers have training rows: without those that are held out where the data set has no test rows."""
    training = writers if split is None else writers[split == 0]
    count = len(set(training.tolist()))
    return count if split is not None else count - count * TEST_PERCENT // 100
