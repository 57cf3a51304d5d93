"""A sweep over what a community chooses for its size: committee, places, threshold, election; which defaults are right?"""

from itertools import product
from typing import Final

from bflcd.lab.experiments.trials import SCENARIOS, trial_report
from bflcd.lab.grid import Change, Grid, Results
from bflcd.lab.report import Report, share_of
from bflcd.lab.scale import Plan

COMMITTEES: Final = (0.1, 0.2, 0.4)
PLACES: Final = (0.5, 1.0)
MARGINS: Final = (0.1, 0.3)
ELECTIONS: Final = ("random", "score")

REFERENCE: Final = "20 %, all, 0.3, random"

_SWEPT: Final = ("no liars", "sign flip 30 %", "sleepers 30 %")


def sweep_grid(plan: Plan) -> Grid:
    """Every combination without adversaries, under flipped updates, and under sleepers."""
    variants = tuple(
        Change(
            f"{share_of(committee)}, {'all' if places == 1.0 else share_of(places)}, {margin:g}, {election}",
            rules={"committee": committee, "places": places, "score_margin": margin, "election": election},
        )
        for committee, places, margin, election in product(COMMITTEES, PLACES, MARGINS, ELECTIONS)
    )
    scenarios = tuple(change for change in SCENARIOS if change.label in _SWEPT)
    return Grid(plan.under_attack, variants, scenarios, plan.seeds)


def sweep_report(results: Results) -> Report:
    """Committee, k as a share of the trainers, margin in nats, election."""
    return trial_report("sweep", "Sweep: committee, places, margin, election", results, REFERENCE)
