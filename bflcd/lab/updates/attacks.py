"""All attacks on the updates of one community: what is found, to be told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bflcd.lab.updates.counts import Counted, attack_labels
from bflcd.lab.updates.inversion import Rebuilt, few_rows, rebuild
from bflcd.lab.updates.membership import Verdicts
from bflcd.lab.updates.references import attack_model
from bflcd.lab.updates.scene import Scene
from bflcd.lab.updates.shadows import attack_updates, draw_all
from bflcd.learn.training import DeviceRows

USUAL: Final = 0
"""As a number of rows: all that a device has."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is tried: `shadows` of each device; up to `records` of its rows that are asked about, each beside another; of how
    many rows updates are searched (`sizes`), beside the published ones."""

    shadows: int = 64
    records: int = 12
    sizes: tuple[int, ...] = (1, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search for the rows of an update came to; `size`: how many there were, `USUAL` for a published one."""

    round: int
    size: int
    rebuilt: Rebuilt


@dataclass(frozen=True, slots=True)
class Findings:
    """Of one community, whose devices trained as `training` says: by round, by all updates together, by the last model."""

    training: str
    by_round: dict[int, Verdicts]
    together: Verdicts
    model: Verdicts
    counted: dict[int, list[Counted]]
    searched: tuple[Searched, ...]
    accuracy: float
    """Of the last model, on the attacker's rows."""


def searched_rounds(rounds: Sequence[int]) -> tuple[int, ...]:
    """In which rows are searched for: the first and the last, a young model and an old one."""
    return tuple(sorted({rounds[0], rounds[-1]}))


def attack(training: str, scene: Scene, effort: Effort, progress: Callable[[], None]) -> Findings:
    """Try everything; `progress` is told of each round of updates that shadows were compared with, and of each search."""
    candidates = draw_all(scene, effort.records)
    by_round, together = attack_updates(scene, candidates, effort.shadows, progress)
    model, counted = attack_model(scene, candidates), attack_labels(scene)
    searched = _search(scene, effort.sizes, progress)
    accuracy = scene.engine.measure(scene.last, scene.engine.gather(scene.public)).accuracy
    return Findings(training, by_round, together, model, counted, searched, accuracy)


def _search(scene: Scene, sizes: Sequence[int], progress: Callable[[], None]) -> tuple[Searched, ...]:
    """Rows of one update of each round that is searched; nothing where what the model takes are no floats."""
    if not searchable(scene):
        return ()
    found = []
    for round_ in searched_rounds(scene.rounds):
        published = next(one for one in scene.updates if one.round == round_)
        for size in (*sizes, USUAL):
            few = (published, scene.parts[published.device]) if size == USUAL else few_rows(scene, published, size)
            found.append(Searched(round_, size, rebuild(scene, *few)))
            progress()
    return tuple(found)


def searchable(scene: Scene) -> bool:
    """Whether rows can be moved little by little, and have labels."""
    row: DeviceRows = scene.engine.gather(scene.public[:1])
    return scene.task.classifies and scene.task.transform(row.inputs).is_floating_point()
