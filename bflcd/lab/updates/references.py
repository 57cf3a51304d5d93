"""Membership in the model that everybody holds: a record is thought to have been trained on if the model is surer of it than
models are that never saw it (difficulty calibration, Watson et al. 2022).

References are models that the attacker trains, from the same first model, by the same pace and with the same noise, on halves of
its own rows. Of those rows it knows which reference saw which, so they tell it the threshold too.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from bflcd.lab.engine.base import Positions
from bflcd.lab.rng import Draw, generator, number
from bflcd.lab.updates.membership import Flags, Floats, Verdicts, best_threshold
from bflcd.lab.updates.scene import Scene
from bflcd.lab.updates.shadows import Candidates, confidence

REFERENCES: Final = 8
"""Models that a record is compared with; a public row with the half of them that did not see it."""


def attack_model(scene: Scene, candidates: dict[int, Candidates]) -> Verdicts:
    """Of all candidates of all devices: are they rows of any device?"""
    held = np.concatenate([one.held for one in candidates.values()])
    others = np.unique(np.concatenate([one.others for one in candidates.values()]))
    known = np.setdiff1d(scene.public, others)
    rng = generator(scene.seed, Draw.REFERENCES)
    inside = np.stack([rng.permutation(np.arange(len(known)) % 2 == 0) for _ in range(REFERENCES)])
    models = torch.stack([_trained(scene, known[flags], place) for place, flags in enumerate(inside)])
    records = np.concatenate([held, others])
    sure = _sure(scene, torch.cat([models, scene.last[None]]), np.concatenate([known, records]))
    of_known, of_records = sure[:REFERENCES, : len(known)], sure[:, len(known) :]
    threshold = best_threshold(calibrated(of_known, inside), inside)
    scores = of_records[-1] - of_records[:-1].mean(0)
    return Verdicts(scores, scores > threshold, np.arange(len(records)) < len(held))


def calibrated(sure: Floats, inside: Flags) -> Floats:
    """How much surer each reference is of each row than the other references are that did not see it; both [references, rows]."""
    absent = ~inside
    total, count = np.where(absent, sure, 0.0).sum(0), absent.sum(0)
    others = np.maximum(1, count - absent)
    return np.asarray(sure - (total - np.where(absent, sure, 0.0)) / others)


def _trained(scene: Scene, rows: Positions, place: int) -> Tensor:
    """A reference after all rounds."""
    model, published = scene.first, scene.updates[0]
    for round_, pace in enumerate(scene.paces):
        trainee = published.trainee(rows, number(scene.seed, Draw.REFERENCES, 1 + round_, place))
        model = model + scene.engine.train(model, [trainee], pace)[0]
    return model


def _sure(scene: Scene, models: Tensor, records: Positions) -> Floats:
    return np.asarray(confidence(scene.engine.losses(models, scene.engine.gather(records))[0]).cpu().numpy())
