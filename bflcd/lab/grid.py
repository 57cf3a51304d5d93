"""An experiment as a grid: variants (what is compared) by scenarios (under what) by seeds, and the statistics over its cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import nan, sqrt
from operator import methodcaller
from statistics import fmean, stdev
from typing import Any

import msgspec

from bflcd.lab.config import Rules, SimulationConfig
from bflcd.lab.engine.sites import SITE_FIGURES
from bflcd.lab.runs.records import Run


@dataclass(frozen=True, slots=True)
class Change:
    """What makes a variant or a scenario: fields of `SimulationConfig`, fields of its `Rules`, and a name for people.

    `whole` replaces the rules before `rules` change single ones.
    """

    label: str
    config: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    whole: Rules | None = None

    def apply(self, config: SimulationConfig) -> SimulationConfig:
        """`config` with the changes."""
        rules = msgspec.structs.replace(self.whole or config.rules, **self.rules)
        return msgspec.structs.replace(config, rules=rules, **self.config)


@dataclass(frozen=True, slots=True)
class Grid:
    """`base` with every variant under every scenario for every seed; `wanted` leaves combinations out."""

    base: SimulationConfig
    variants: tuple[Change, ...]
    scenarios: tuple[Change, ...]
    seeds: tuple[int, ...]
    wanted: Callable[[str, str], bool] = lambda _variant, _scenario: True

    def configs(self) -> list[SimulationConfig]:
        """Every simulation, each once, all of the first seed before the second: an interrupted experiment has whole tables."""
        found = {
            self.config(variant.label, scenario.label, seed): None
            for seed in self.seeds
            for scenario in self.scenarios
            for variant in self.variants
            if self.wanted(variant.label, scenario.label)
        }
        return list(found)

    def config(self, variant: str, scenario: str, seed: int) -> SimulationConfig:
        """The simulation of one cell and seed; the variant's changes come last."""
        changed = _named(self.variants, variant).apply(_named(self.scenarios, scenario).apply(self.base))
        return msgspec.structs.replace(changed, seed=seed)


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation of a sample, and of how many; the deviation of one is NaN."""

    mean: float
    deviation: float
    count: int

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.deviation / sqrt(self.count) if self.count else nan

    def text(self, digits: int = 2) -> str:
        """`mean ± deviation`, or the mean alone."""
        if self.count == 0:
            return "-"
        shown = f"{self.mean:.{digits}f}"
        return shown if self.count < 2 else f"{shown} ± {self.deviation:.{digits}f}"


def difference(found: Spread) -> str:
    """A mean difference with its sign and standard error."""
    if found.count == 0:
        return "-"
    return f"{found.mean:+.2f}" + (f" ± {found.error:.2f}" if found.count > 1 else "")


def mean_curve(runs: Sequence[Run]) -> list[tuple[float, float]]:
    """(round, mean accuracy) where every run was measured."""
    curves = [dict(run.curve()) for run in runs]
    common = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    return [(round_, fmean(curve[round_] for curve in curves)) for round_ in common]


def spread(values: Sequence[float]) -> Spread:
    """Of a sample of any size."""
    if not values:
        return Spread(nan, nan, 0)
    return Spread(fmean(values), stdev(values) if len(values) > 1 else nan, len(values))


class Results:
    """The finished runs of a grid."""

    def __init__(self, grid: Grid, runs: Sequence[Run]) -> None:
        self.grid = grid
        self._runs = {run.config: run for run in runs}

    def runs(self, variant: str, scenario: str) -> list[Run]:
        """Of one cell, in the order of the seeds; those that have ended."""
        if not self.grid.wanted(variant, scenario):
            return []
        configs = (self.grid.config(variant, scenario, seed) for seed in self.grid.seeds)
        return [self._runs[config] for config in configs if config in self._runs]

    def spread(self, variant: str, scenario: str, value: Callable[[Run], float] = Run.last) -> Spread:
        """Of a value of each run of a cell: by default its accuracy in per cent; `Run.end`: that at the end, in per cent too."""
        scale = 100.0 if value in (Run.last, Run.end) else 1.0
        return spread([scale * value(run) for run in self.runs(variant, scenario)])

    def paired(self, variant: str, against: str, scenario: str) -> Spread:
        """Of the differences in accuracy, in points, seed by seed."""
        first = {run.config.seed: run.last() for run in self.runs(variant, scenario)}
        second = {run.config.seed: run.last() for run in self.runs(against, scenario)}
        return spread([100.0 * (first[seed] - second[seed]) for seed in sorted(first.keys() & second.keys())])

    @property
    def rules_version(self) -> str:
        """Of the rules that decided the runs."""
        return self.grid.base.rules_version

    def data(self) -> dict[str, Any]:
        """In per cent by variant and scenario, one a seed, and the version of the rules that decided them.

        `accuracy`: the mean of a run's last measurements; `end`: the last alone, at the end of training; of the sites as
        `accuracy`: the worst, the worst tenth, the mean.
        """
        sites = {name: self._values(methodcaller("last", name), name) for name in SITE_FIGURES}
        return {"rules_version": self.rules_version, "accuracy": self._values(Run.last), "end": self._values(Run.end), **sites}

    def _values(self, value: Callable[[Run], float], measured: str = "accuracy") -> dict[str, dict[str, list[float]]]:
        """Of the runs in which `measured` was recorded."""
        return {
            variant.label: {
                scenario.label: [
                    round(100 * value(run), 4) for run in self.runs(variant.label, scenario.label) if run.curve(measured)
                ]
                for scenario in self.grid.scenarios
            }
            for variant in self.grid.variants
        }

    @property
    def seconds(self) -> float:
        """Computing time of all runs."""
        return sum(run.seconds for run in self._runs.values())


def _named(changes: Sequence[Change], label: str) -> Change:
    return next(change for change in changes if change.label == label)
