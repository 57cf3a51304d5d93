"""Label counts from the last layer of an update.

The gradient of a cross entropy by the last layer's biases is the mean over rows of (what the model says - the label), so of
one row its only negative entry is the label (iDLG, Zhao et al. 2020). Of many rows it is a mix: what those of class y do to the
biases on average is known from public rows, so the shares of the classes solve a linear system (as in LLG, Wainakh et al. 2022).
Where an update is of several steps the system is not quite linear: then public rows are trained on in the guessed numbers, and
by what that comes to otherwise than the system says the guess is mended.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bflcd.lab.engine.base import Positions
from bflcd.lab.rng import Draw, generator
from bflcd.lab.updates.network import Network
from bflcd.lab.updates.scene import Published, Scene
from bflcd.learn.labels.calibration import log_shares
from bflcd.learn.private.mechanism import THOUSAND
from bflcd.learn.training import DeviceRows, epochs_of

Shares = NDArray[np.float64]

SPREAD: Final = 0.1
"""By how much a device's share of a class is expected to differ from everybody's."""

UNSURE: Final = 0.1
"""Of the size of what is seen: by how much public rows differ from the device's, and several steps from one."""

TURNS: Final = 8
"""Of solving for shares and training on public rows by them, where an update is no single step; each counts by half."""

TRAINED: Final = 4
"""Devices of public rows that are trained in a turn."""

MOST_ROWS: Final = 512
"""Public rows that tell what a class does."""

_PROJECTIONS: Final = 2000


@dataclass(frozen=True, slots=True)
class Counted:
    """A device's class counts: guessed from its update, true, and as everybody's shares would have them."""

    guessed: NDArray[np.int64]
    true: NDArray[np.int64]
    public: NDArray[np.int64]


def steps_of(published: Published, rows: int) -> int:
    """How many steps an update is made of."""
    if published.mechanism is not None:
        return published.mechanism.steps
    return sum(1 for epoch in epochs_of(rows, published.pace.descent(0)) for _ in epoch)


def reach(steps: int, momentum: float) -> float:
    """How many times its rate so many steps of one gradient move a weight."""
    velocity = total = 0.0
    for _ in range(steps):
        velocity = momentum * velocity + 1.0
        total += velocity
    return total


def rounded(shares: Shares, rows: int) -> NDArray[np.int64]:
    """Whole numbers that add up to `rows`, by the largest remainders."""
    exact = shares * rows
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: rows - int(counts.sum())]] += 1
    return counts


def solve(effects: Shares, seen: Shares, usual: Shares, unsure: float) -> Shares:
    """The shares that explain what is `seen` [classes] by `effects` [classes, classes], a column what one class does, and that
    are near the `usual` ones: least squares on the simplex, by projected gradients."""
    by = (unsure / SPREAD) ** 2
    product, target = effects.T @ effects + by * np.eye(len(usual)), effects.T @ seen + by * usual
    step = 1 / np.linalg.eigvalsh(product)[-1]
    shares = usual.copy()
    for _ in range(_PROJECTIONS):
        shares = on_simplex(shares - step * (product @ shares - target))
    return shares


def on_simplex(values: Shares) -> Shares:
    """The nearest shares: none negative, together 1 (Duchi et al. 2008)."""
    ordered = np.sort(values)[::-1]
    excess = (np.cumsum(ordered) - 1) / np.arange(1, len(values) + 1)
    return np.asarray(np.maximum(values - excess[np.flatnonzero(ordered > excess)[-1]], 0.0))


def count_labels(scene: Scene, network: Network, published: Published) -> NDArray[np.int64] | None:
    """How many of a device's rows are of each class, by its update and rows of the same kind; None where the network does not end
    with biases, one a class."""
    labels, own = scene.labels, scene.parts[published.device]
    head, classes, rows = network.head(), int(labels.max()) + 1, len(own)
    if head is None or head.stop - head.start != classes:
        return None
    steps = steps_of(published, rows)
    moved = max(reach(steps, published.pace.momentum) * published.pace.rate, 1e-12)
    seen = _biases(published.update, head, moved)
    unsure = UNSURE * float(np.sqrt((seen**2).mean())) + _noise(published, rows)
    usual = shares = np.bincount(labels[scene.public], minlength=classes) / len(scene.public)
    public, rng = (
        scene.engine.gather(scene.public[:MOST_ROWS]),
        generator(scene.seed, Draw.SHADOWS, 1 + published.round, published.device),
    )
    if published.mechanism is not None or (steps == 1 and not published.pace.calibration):
        return rounded(solve(_effects(network, published, public, classes, None), seen, usual, unsure), rows)
    for turn in range(TURNS):
        counts = rounded(shares, rows)
        known = torch.from_numpy(np.repeat(np.arange(classes), counts))
        effects = _effects(network, published, public, classes, published.pace.calibration * log_shares(known, classes))
        trained = _trained(scene, published, counts, rng)
        biases = np.stack([_biases(one, head, moved) for one in trained])
        unsure = float(np.sqrt(biases.var(0, ddof=1).mean()))
        found = solve(effects, seen - biases.mean(0) + effects @ (counts / rows), usual, unsure)
        shares = found if turn == 0 else (shares + found) / 2
    return rounded(shares, rows)


def _biases(update: Tensor, head: slice, moved: float) -> Shares:
    """The mean gradient by the last layer's biases, as an update that moved a weight by so many of its gradients shows it."""
    return np.asarray(-update[head].double().cpu().numpy() / moved)


def _trained(scene: Scene, published: Published, counts: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    """Updates of devices that hold public rows in such numbers."""
    labels, trainees = scene.labels[scene.public], []
    for _ in range(TRAINED):
        drawn = [_some(scene.public[labels == label], int(count), rng) for label, count in enumerate(counts)]
        trainees.append(published.trainee(np.sort(np.concatenate(drawn)), int(rng.integers(2**53))))
    return scene.engine.train(published.model, trainees, published.pace)


def _some(positions: Positions, count: int, rng: np.random.Generator) -> Positions:
    """So many of some positions, some of them twice where there are too few; none where there are none."""
    return rng.choice(positions, count if len(positions) else 0, replace=count > len(positions))


def _noise(published: Published, rows: int) -> float:
    """The deviation of the noise in the mean gradient of a weight."""
    mechanism = published.mechanism
    if mechanism is None:
        return 0.0
    deviation: float = mechanism.noise / THOUSAND * mechanism.clip * mechanism.lots / rows / mechanism.steps**0.5
    return deviation


def _effects(network: Network, published: Published, public: DeviceRows, classes: int, added: Tensor | None) -> Shares:
    """What the mean row of each class does to the biases, a column a class; of a class without public rows what one does to a
    model that knows nothing."""
    inputs, targets = network.inputs(public), public.targets
    found = network.output_gradients(published.model, inputs, targets, added).double()
    if published.mechanism is not None:
        norms = torch.linalg.vector_norm(network.row_gradients(published.model, inputs, targets), dim=1)
        found *= (published.mechanism.clip / norms.clamp(min=published.mechanism.clip))[:, None]
    columns = 1 / classes - torch.eye(classes, dtype=torch.float64)
    for label in np.unique(targets.cpu().numpy()).tolist():
        columns[:, label] = found[targets == label].mean(0)
    return np.asarray(columns.cpu().numpy())


def attack_labels(scene: Scene) -> dict[int, list[Counted]]:
    """What each update tells of its device's label counts, by round; nothing for tasks without classes."""
    found: dict[int, list[Counted]] = {round_: [] for round_ in scene.rounds}
    if not scene.task.classifies:
        return found
    labels, network = scene.labels, Network(scene.task, scene.engine.device)
    classes = int(labels.max()) + 1
    usual = np.bincount(labels[scene.public], minlength=classes) / len(scene.public)
    for published in scene.updates:
        own = scene.parts[published.device]
        guessed = count_labels(scene, network, published)
        if guessed is not None:
            found[published.round].append(Counted(guessed, np.bincount(labels[own], minlength=classes), rounded(usual, len(own))))
    return found
