"""The simulated devices: whose rows are whose, who lies, and all rows on the machine's device."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bflcd.errors import OperatorError
from bflcd.lab.config import SimulationConfig
from bflcd.lab.engine.sites import Sites, sites_of_classes, sites_of_writers
from bflcd.lab.rng import Draw, generator, number
from bflcd.learn.attacks import Attack, Backdoor
from bflcd.learn.partition import split_validation
from bflcd.learn.task import Community, Rows, Task
from bflcd.learn.training import DeviceRows

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Devices:
    """Positions are rows of `pool`.

    `all_rows`: what each device holds; `training`, `validation`: as a daemon would split it; `poisoned_rows`: what an adversary
    trains on, by device; `adversaries` sorted. `test`: rows that nobody holds; `triggered`: those of them that a backdoor should
    turn, with its trigger and their true classes, empty without one. `onset`: the first round in which adversaries train on
    `poisoned_rows`.
    """

    pool: DeviceRows
    all_rows: tuple[Positions, ...]
    training: tuple[Positions, ...]
    validation: tuple[Positions, ...]
    poisoned_rows: dict[int, Positions]
    adversaries: tuple[int, ...]
    test: DeviceRows
    triggered: DeviceRows | None
    sites: Sites | None = None
    """Of the test rows; all devices' or writers' true rows, whoever lies about them."""
    onset: int = 0

    def trained_on(self, device: int, *, split: bool, round_: int) -> Positions:
        """The rows that `device` trains on in a round; `split`: it holds some back for judging."""
        poisoned_rows = self.poisoned_rows.get(device)
        if poisoned_rows is not None and round_ >= self.onset:
            return poisoned_rows
        return self.training[device] if split else self.all_rows[device]


def load_devices(config: SimulationConfig, task: Task, device: torch.device) -> Devices:
    """Deal the rows, draw the adversaries, poison what they train on, and move all of it to `device` once.

    Raises OperatorError for data that is missing, bad, or too little for so many devices.
    """
    community = task.load_all(config.data_config())
    _check(config, community)
    adversaries = tuple(
        sorted(generator(config.seed, Draw.ADVERSARIES).permutation(config.devices)[: config.adversary_count].tolist())
    )
    attack = config.find_attack()
    rows, poisoned_rows = _with_poison(community, attack, adversaries)
    fraction = config.params().validation_fraction
    splits = [
        split_validation(len(part), fraction, number(config.seed, Draw.VALIDATION, device=i))
        for i, part in enumerate(community.parts)
    ]
    assert community.test is not None
    return Devices(
        pool=DeviceRows.of(rows, device),
        all_rows=community.parts,
        training=tuple(part[kept] for part, (kept, _) in zip(community.parts, splits, strict=True)),
        validation=tuple(part[held] for part, (_, held) in zip(community.parts, splits, strict=True)),
        poisoned_rows=poisoned_rows,
        adversaries=adversaries,
        test=DeviceRows.of(community.test, device),
        triggered=_triggered(attack, community.test, device),
        sites=_sites(community, community.test),
        onset=0 if attack is None else max(attack.onset, config.onset),
    )


def _sites(community: Community, test: Rows) -> Sites | None:
    if community.test_writers is not None:
        return sites_of_writers(community.test_writers)
    targets = community.rows.targets
    return sites_of_classes([targets[part] for part in community.parts], test.targets)


def _check(config: SimulationConfig, community: Community) -> None:
    empty = sum(len(part) == 0 for part in community.parts)
    if empty:
        raise OperatorError(
            f"{empty} of {config.devices} devices would hold no row of {len(community.rows)}",
            hint="simulate fewer devices (--devices)" + (", or raise --alpha" if config.partition == "dirichlet" else ""),
            code="bad_data",
        )
    if community.test is None or len(community.test) == 0:
        raise OperatorError(
            f"the task {config.task} has no test rows, so there is nothing to measure on",
            hint="use data with test rows, or a test_percent above 0",
            code="bad_data",
        )


def _with_poison(community: Community, attack: Attack | None, adversaries: tuple[int, ...]) -> tuple[Rows, dict[int, Positions]]:
    """All rows, those that adversaries have poisoned behind the others, and where each adversary's stand."""
    if attack is None or type(attack).poison is Attack.poison:
        return community.rows, {}
    rows, classes = community.rows, int(community.rows.targets.max()) + 1
    inputs, targets, poisoned_rows, end = [rows.inputs], [rows.targets], {}, len(rows)
    for adversary in adversaries:
        part = community.parts[adversary]
        poisoned, relabelled = attack.poison(rows.inputs[part], rows.targets[part], classes)
        inputs.append(poisoned)
        targets.append(relabelled)
        poisoned_rows[adversary] = np.arange(end, end + len(part))
        end += len(part)
    return Rows(np.concatenate(inputs), np.concatenate(targets)), poisoned_rows


def _triggered(attack: Attack | None, test: Rows, device: torch.device) -> DeviceRows | None:
    if not isinstance(attack, Backdoor):
        return None
    return DeviceRows.of(Rows(*attack.triggered(test.inputs, test.targets)), device)
