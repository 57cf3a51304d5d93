"""Trials of the validation rules, one thing changed at a time: damping, what is measured, margin, norms, rows, election."""

from typing import Final

from bflcd.lab.config import PAPER
from bflcd.lab.experiments.trials import SCENARIOS, trial_report
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
)


def validation_grid(plan: Plan) -> Grid:
    """Variants by scenarios."""
    return Grid(plan.under_attack, VARIANTS, SCENARIOS, plan.seeds)


def validation_report(results: Results) -> Report:
    """What each change costs and brings."""
    return trial_report("validation", "Validation rules, one changed at a time", results, REFERENCE)
