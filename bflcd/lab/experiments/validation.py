"""Trials of the validation rules, one thing changed at a time: damping, what is measured, margin, norms, rows, election, repute.

Rules against flipped updates and captured committees are tried under `trials.SCENARIOS`. A rule against one attack is tried
without liars, under flipped updates, and under that attack.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from bflcd.lab.config import PAPER
from bflcd.lab.disclosures import SIX_LEVELS
from bflcd.lab.experiments.trials import CLEAN, SCENARIOS, trial_report
from bflcd.lab.grid import Change, Grid, Results
from bflcd.lab.report import Report
from bflcd.lab.scale import Plan

REFERENCE: Final = "defaults"

VARIANTS: Final = (
    Change(REFERENCE),
    Change("the paper's rules", whole=PAPER, rules={"committee": 0.2}),
    Change("no damping", rules={"score_damping": 1}),
    Change("damping 2", rules={"score_damping": 2}),
    Change("damping 8", rules={"score_damping": 8}),
    Change("ranked by accuracy", rules={"score_rule": "accuracy"}),
    Change("margin 0", rules={"score_margin": 0.0}),
    Change("margin 0.1", rules={"score_margin": 0.1}),
    Change("margin 1", rules={"score_margin": 1.0}),
    Change("no norm band", rules={"norm_band": False}),
    Change("no clip", rules={"norm_clip": 0.0}),
    Change("clipped to the usual norm", rules={"norm_clip": 1.0}),
    Change("validation 5 %", rules={"validation": 0.05}),
    Change("validation 20 %", rules={"validation": 0.2}),
    Change("seats by score", rules={"election": "score"}),
    Change("seats to the top half, drawn", rules={"election": "top-half"}),
    Change("seats by many factors", rules={"election": "multi-factor"}),
    Change("no reputations", rules={"reputation_rounds": 0}),
    Change("judges' noise 4", rules={"score_noise": 4.0}),
    Change("canaries and doubts", rules={"canary_share": 0.0625, "doubts": True}),
    Change("copies allowed", rules={"copy_likeness": 0.0}),
    Change("odd offers refused from 2 on", rules={"odd_limit": 2.0}),
    Change("repeated steps count", rules={"fresh_gains": False}),
    Change("idle updates weigh in full", rules={"idle_weight": 0.0}),
    Change("gains by rows alone", rules={"balanced_gains": False}),
    Change("no calibration", rules={"calibration": 0.0}),
    Change("six levels", rules={"disclosure": SIX_LEVELS}),
)

FLIPPED: Final = SCENARIOS[1]

MORE: Final = (
    Change("copycats 30 %", {"attack": "copycat", "liars": 0.3}),
    Change("noisy replay 30 %", {"attack": "noisy-replay", "liars": 0.3}),
    Change("ALIE to the margin 30 %", {"attack": "alie-margin", "liars": 0.3}),
    Change("lazy judges 30 %", {"attack": "lazy-judge", "liars": 0.3}),
)
"""What some rules are there for, beside `trials.SCENARIOS`."""

_LABELS: Final = {change.config["attack"]: change.label for change in (*SCENARIOS[1:], *MORE)}

_AGAINST: Final[Mapping[str, Sequence[str]]] = {
    "judges' noise 4": ("label-flip",),
    "canaries and doubts": ("lazy-judge",),
    "copies allowed": ("copycat",),
    "odd offers refused from 2 on": ("label-flip",),
    "repeated steps count": ("noisy-replay",),
    "idle updates weigh in full": ("alie-margin",),
    "gains by rows alone": ("label-flip",),
    "no calibration": ("label-flip",),
    "six levels": ("label-flip",),
}
"""By which attack a rule is tried beside flipped updates, where that is not each of `trials.SCENARIOS`."""

TRIALS: Final = tuple(change.label for change in VARIANTS if change.label != REFERENCE)
"""What can be tried by itself, beside the reference."""


def validation_grid(plan: Plan, names: Sequence[str] = ()) -> Grid:
    """The reference and the variants of these `names`, of `TRIALS`, all without any; by the scenarios that one of them needs."""
    chosen = [change for change in VARIANTS if change.label == REFERENCE or not names or change.label in names]
    tried = [change.label for change in chosen if change.label != REFERENCE]
    scenarios = [one for one in (*SCENARIOS, *MORE) if any(_wanted(label, one.label) for label in tried)]
    return Grid(plan.under_attack, tuple(chosen), tuple(scenarios), plan.seeds, _wanted)


def _wanted(variant: str, scenario: str) -> bool:
    if variant == REFERENCE:
        return True
    if variant in _AGAINST:
        return scenario in (CLEAN.label, FLIPPED.label, *(_LABELS[attack] for attack in _AGAINST[variant]))
    return scenario in [change.label for change in SCENARIOS]


def validation_report(results: Results) -> Report:
    """What each change costs and brings."""
    return trial_report("validation", "Validation rules, one changed at a time", results, REFERENCE)
