"""The rows of an update, searched for: dummies that would have brought about the same one (Zhu et al. 2019; Geiping et al. 2020).

Dummies are trained in thought as the device trained, and moved by Adam so that what comes out points where the update points: one
less the cosine, and a little total variation where rows are images. Number and labels of the rows are given, the order in
which the device took them is not.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from bflcd.lab.engine.base import Positions
from bflcd.lab.rng import Draw, generator
from bflcd.lab.updates.likeness import Array, Nearness, match, nearness, squares
from bflcd.lab.updates.network import Course, Network
from bflcd.lab.updates.scene import Published, Scene
from bflcd.learn.labels.calibration import log_shares
from bflcd.learn.training import batches

TURNS: Final = 1000
RATE: Final = 0.3
"""Of Adam, in the deviations of the model's input; a tenth of it after each of `_SLOWER`."""

_SLOWER: Final = (0.375, 0.625, 0.875)
"""Shares of the turns, as Geiping et al. have them."""

SMOOTH: Final = 1e-4
"""What total variation counts with."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Guessed rows beside the true ones, as the model takes them, and how near each is; `public`: the public row that is nearest
    to each true one (`nearest`), found by who knows the truth; `usual`: the mean public row of its class."""

    device: int
    rows: Array
    guesses: Array
    nearest: Array
    found: tuple[Nearness, ...]
    public: tuple[Nearness, ...]
    usual: tuple[Nearness, ...]

    @property
    def nearer(self) -> float:
        """The share of the rows to which the guess is nearer than any public row."""
        pairs = zip(self.found, self.public, strict=True)
        return float(np.mean([found.decibels > public.decibels for found, public in pairs]))


def course_of(published: Published, labels: Tensor, classes: int) -> Course:
    """How the attacker thinks that the update was trained: rows in the order in which it has them."""
    pace, rows = published.pace, len(labels)
    mechanism = published.mechanism
    if mechanism is not None:
        everything = torch.arange(rows)
        return Course(pace.rate, pace.momentum, (everything,) * mechanism.steps, clip=mechanism.clip)
    steps = tuple(torch.from_numpy(one) for one in batches(np.arange(rows), pace.batch_size)) * pace.epochs
    added = pace.calibration * log_shares(labels, classes) if pace.calibration > 0 else None
    return Course(pace.rate, pace.momentum, steps, added)


def invert(
    network: Network, published: Published, labels: Tensor, public: Tensor, course: Course, *, rng: np.random.Generator
) -> Tensor:
    """Rows [rows, ...] of `labels` that bring about the update; `public`: rows of the same kind, by which the search begins and
    which say what values there are."""
    low, high, mean, spread = float(public.min()), float(public.max()), float(public.mean()), float(public.std())
    drawn = rng.standard_normal((len(labels), *public.shape[1:]))
    rows = torch.from_numpy(drawn).to(public).mul_(spread).add_(mean).clamp_(low, high).requires_grad_()
    target = published.update / torch.linalg.vector_norm(published.update).clamp(min=torch.finfo(torch.float32).tiny)
    optimizer = torch.optim.Adam([rows], lr=RATE * spread)
    slower = torch.optim.lr_scheduler.MultiStepLR(optimizer, [int(share * TURNS) for share in _SLOWER], gamma=0.1)
    for _ in range(TURNS):
        optimizer.zero_grad()
        update = network.train(published.model, rows, labels, course)
        norm = torch.linalg.vector_norm(update).clamp(min=torch.finfo(torch.float32).tiny)
        loss = 1 - (update @ target) / norm + SMOOTH * variation(rows)
        loss.backward()
        optimizer.step()
        slower.step()
        with torch.no_grad():
            rows.clamp_(low, high)
    return rows.detach()


def variation(rows: Tensor) -> Tensor:
    """The mean difference of neighbouring pixels; 0 for what is no image."""
    if rows.dim() < 3:
        return torch.zeros((), device=rows.device)
    down, across = rows.diff(dim=-2), rows.diff(dim=-1)
    return down.abs().mean() + across.abs().mean()


def few_rows(scene: Scene, published: Published, count: int) -> tuple[Published, Positions]:
    """What a device of so few rows would have published in this one's place: some of its rows, with the same training and, where
    it is private, the same noise."""
    rng = generator(scene.seed, Draw.DUMMIES, 1 + published.round, published.device)
    rows = np.sort(rng.permutation(scene.parts[published.device])[:count])
    trainee = published.trainee(rows, int(rng.integers(2**53)))
    update = scene.engine.train(published.model, [trainee], published.pace)[0]
    return replace(published, update=update), rows


def rebuild(scene: Scene, published: Published, rows: Positions) -> Rebuilt:
    """Search for the `rows` of an update, and hold what is found against them."""
    network, engine = Network(scene.task, scene.engine.device), scene.engine
    own, public = engine.gather(rows), engine.gather(scene.public)
    classes = int(scene.labels.max()) + 1
    rng = generator(scene.seed, Draw.DUMMIES, published.round, len(rows))
    order = torch.from_numpy(rng.permutation(len(rows)))
    labels = own.targets[order]
    inputs = network.inputs(public)
    guessed = invert(network, published, labels, inputs, course_of(published, labels, classes), rng=rng)
    return beside(
        published.device, _array(network.inputs(own)), own.targets, (_array(guessed), labels), (_array(inputs), public.targets)
    )


def beside(device: int, rows: Array, targets: Tensor, guessed: tuple[Array, Tensor], public: tuple[Array, Tensor]) -> Rebuilt:
    """What was guessed beside what is true and what anybody could guess; rows and their labels each."""
    guesses, labels = guessed
    span = float(public[0].max() - public[0].min())
    distances = squares(guesses, rows)
    distances[labels[:, None].numpy() != targets[None].numpy()] = np.inf
    matched = guesses[match(distances)]
    nearest = public[0][np.argmin(squares(public[0], rows), axis=0)]
    means = np.stack([_mean_of(*public, int(label)) for label in targets])
    found, known, usual = (
        tuple(nearness(guess, row, span) for guess, row in zip(side, rows, strict=True)) for side in (matched, nearest, means)
    )
    return Rebuilt(device, rows, matched, nearest, found, known, usual)


def _mean_of(rows: Array, targets: Tensor, label: int) -> Array:
    of_class = rows[targets.numpy() == label]
    return np.asarray((of_class if len(of_class) else rows).mean(0))


def _array(rows: Tensor) -> Array:
    return np.asarray(rows.detach().double().cpu().numpy())
