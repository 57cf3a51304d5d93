"""Membership by shadow updates: who knows the base model, the training and rows of the same kind trains what the device might
have published, with a record and without it, and compares (Shokri et al. 2017; LiRA, Carlini et al. 2022).

The attacker knows how many rows of each class the device has. Candidates are pairs of one class, a row that the device holds and
one that nobody does; a shadow holds one of each pair, and beside them public rows in the device's numbers. So shadows differ from
the device in nothing but which rows these are, and no class tells which of a pair is held. What is looked at is how sure the
updated model is of a record, and how far the update goes along the record's gradient, as it is and filtered of what others do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bflcd.lab.engine.base import Positions
from bflcd.lab.rng import Draw, generator, number
from bflcd.lab.updates.background import Background
from bflcd.lab.updates.membership import Flags, Floats, Likelihoods, Verdicts, best_threshold
from bflcd.lab.updates.network import Network
from bflcd.lab.updates.scene import Published, Scene
from bflcd.learn.training import DeviceRows

HELD_BACK: Final = 4
"""One shadow in so many tells where the threshold is best; the others tell what a record does."""

LEAST_LOSS: Final = 1e-7
"""In nats: below it a float32 loss tells nothing."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Records that are asked about: `held` by the device, and as many of the same classes that are not. Positions in the pool."""

    held: Positions
    others: Positions

    @property
    def records(self) -> Positions:
        """All, those held first."""
        return np.concatenate([self.held, self.others])

    @property
    def truth(self) -> Flags:
        """Which of `records` are held."""
        return np.arange(2 * len(self.held)) < len(self.held)


def draw_candidates(
    labels: NDArray[np.int64], own: Positions, public: Positions, count: int, rng: np.random.Generator
) -> Candidates:
    """Up to `count` of a device's `own` rows, each with a public one of its class; no row twice."""
    held: list[int] = []
    others: list[int] = []
    left = rng.permutation(public)
    for position in rng.permutation(own):
        alike = left[labels[left] == labels[position]]
        if alike.size and len(held) < count:
            held.append(int(position))
            others.append(int(alike[0]))
            left = left[left != alike[0]]
    return Candidates(np.array(held, dtype=np.int64), np.array(others, dtype=np.int64))


def shadow_rows(
    labels: NDArray[np.int64],
    own: Positions,
    public: Positions,
    candidates: Candidates,
    shadows: int,
    *,
    rng: np.random.Generator,
) -> tuple[list[Positions], Flags]:
    """What so many shadows train on, and which records each holds, [shadows, records]; every record is in half of them.

    The rest of a shadow are public rows that are no candidates, as many of each class as the device has; where there are too
    few, some come twice.
    """
    pairs = len(candidates.held)
    first = np.stack([rng.permutation(np.arange(shadows) % 2 == 0) for _ in range(pairs)], axis=1)
    inside = np.concatenate([first, ~first], axis=1)
    fillers = np.setdiff1d(public, candidates.others)
    kinds, counts = np.unique(labels[np.setdiff1d(own, candidates.held)], return_counts=True)
    of_kind = [fillers[labels[fillers] == kind] for kind in kinds]
    drawn = []
    for flags in inside:
        rest = [
            rng.choice(rows, count, replace=count > len(rows)) for rows, count in zip(of_kind, counts, strict=True) if rows.size
        ]
        drawn.append(np.sort(np.concatenate([candidates.records[flags], *rest])))
    return drawn, inside


def confidence(losses: Tensor) -> Tensor:
    """The logarithm of the odds that a model gives to the true class, by its loss: nearer to normal than the loss itself."""
    held = losses.double().clamp(min=LEAST_LOSS)
    return -held - torch.log(-torch.expm1(-held))


class ShadowAttack:
    """On all updates of one device, each with shadows that hold the same rows in every round."""

    def __init__(self, scene: Scene, device: int, candidates: Candidates, shadows: int) -> None:
        self._scene, self._device, self._candidates = scene, device, candidates
        rng = generator(scene.seed, Draw.SHADOWS, device=device)
        self._rows, self._inside = shadow_rows(scene.labels, scene.parts[device], scene.public, candidates, shadows, rng=rng)
        self._fitted = shadows - shadows // HELD_BACK

    def on(self, published: Published, network: Network, background: Background) -> tuple[Floats, Floats]:
        """Scores of the records by this update, [records], and by the shadows that were held back, [shadows, records]."""
        engine = self._scene.engine
        trainees = [
            published.trainee(rows, number(self._scene.seed, Draw.SHADOWS, 1 + published.round, self._device * 2**12 + place))
            for place, rows in enumerate(self._rows)
        ]
        updates = torch.cat([engine.train(published.model, trainees, published.pace), published.update[None]])
        records = engine.gather(self._candidates.records)
        sure = confidence(engine.losses(updates + published.model, records)[0])
        along = directions(network, background, published, records, len(self._scene.parts[self._device]))
        features = torch.stack([sure, *(-(updates @ of_records.T).double() for of_records in along)], dim=-1).cpu().numpy()
        fitted = Likelihoods.of(features[: self._fitted], self._inside[: self._fitted])
        scores = fitted.scores(features[self._fitted :])
        return scores[-1], scores[:-1]

    def verdicts(self, scored: Sequence[tuple[Floats, Floats]]) -> Verdicts:
        """By one update's scores, or by those of several together."""
        own, shadows = (np.sum([one[side] for one in scored], axis=0) for side in (0, 1))
        threshold = best_threshold(shadows, self._inside[self._fitted :])
        return Verdicts(own, own > threshold, self._candidates.truth)


def directions(
    network: Network, background: Background, published: Published, records: DeviceRows, rows: int
) -> tuple[Tensor, Tensor]:
    """Along which records show in an update of so many `rows`: their gradients, and these filtered; of length 1."""
    gradients = network.row_gradients(published.model, network.inputs(records), records.targets)
    plain = torch.nn.functional.normalize(gradients, dim=1, eps=torch.finfo(torch.float32).tiny)
    return plain, background.filtered(gradients, published.mechanism, rows)


def attack_updates(
    scene: Scene, candidates: dict[int, Candidates], shadows: int, progress: Callable[[], None]
) -> tuple[dict[int, Verdicts], Verdicts]:
    """Verdicts by round, and by all updates of each device together."""
    others = np.concatenate([one.others for one in candidates.values()])
    public, network = scene.engine.gather(np.setdiff1d(scene.public, others)), Network(scene.task, scene.engine.device)
    attacks = {device: ShadowAttack(scene, device, asked, shadows) for device, asked in candidates.items()}
    scored: dict[int, list[tuple[Floats, Floats]]] = {device: [] for device in candidates}
    by_round: dict[int, list[Verdicts]] = {}
    for round_ in scene.rounds:
        backgrounds: dict[float | None, Background] = {}
        for published in scene.updates:
            attack, clip = attacks.get(published.device), published.clip
            if attack is None or published.round != round_:
                continue
            if clip not in backgrounds:
                backgrounds[clip] = Background(network, published.model, public, clip)
            scored[published.device].append(attack.on(published, network, backgrounds[clip]))
            by_round.setdefault(round_, []).append(attack.verdicts(scored[published.device][-1:]))
        progress()
    together = [attack.verdicts(scored[device]) for device, attack in attacks.items()]
    return {round_: Verdicts.together(many) for round_, many in by_round.items()}, Verdicts.together(together)


def draw_all(scene: Scene, count: int) -> dict[int, Candidates]:
    """Candidates of every device that published something, up to `count` pairs each; no public row is asked about twice."""
    rng, left, found = generator(scene.seed, Draw.SHADOWS), scene.public, {}
    for device in scene.devices:
        drawn = draw_candidates(scene.labels, scene.parts[device], left, count, rng)
        left = np.setdiff1d(left, drawn.others)
        if len(drawn.held):
            found[device] = drawn
    return found
