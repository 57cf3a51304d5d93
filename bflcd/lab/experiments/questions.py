"""What cards tell of their authors' rows: class counts and membership by the best questions, over rules of disclosure."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from bflcd.errors import UsageError
from bflcd.lab.config import SimulationConfig
from bflcd.lab.disclosures import DISCLOSURES
from bflcd.lab.questions.interrogation import LEAST_SITTINGS, Interrogation, Learned, Record
from bflcd.lab.report import Report, Table
from bflcd.lab.simulation import Machine, Simulation

DEVICES: Final = 20
ROUNDS: Final = 100

BASE: Final = SimulationConfig(
    task="digits", devices=DEVICES, active=1.0, rounds=ROUNDS, learning_rate=0.1, rate_decay=0.98, every=ROUNDS
)
"""Four judges and sixteen trainers, some 76 rows each."""


def questions_report(
    configs: Sequence[SimulationConfig], machine: Machine, rules: Sequence[str], progress: Callable[[], None]
) -> Report:
    """Simulate each of `configs` with askers beside it; `progress` is told of each round. Raises UsageError, OperatorError."""
    learned: list[Learned] = []
    records: list[Record] = []
    for config in configs:
        asked = Interrogation(Simulation(config, machine), rules)
        while asked.ask():
            progress()
        learned += asked.learned()
        records += asked.asked_enough()
    return Report("questions", "What cards tell of their authors' rows", *known_of(learned, records, rules))


def distance(guess: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> float:
    """Half of the sum of differences of two distributions over classes: 0 where they are the same, at most 1."""
    return float(np.abs(guess - true).sum() / 2)


def exact_counts(guess: np.ndarray[Any, Any], one: Learned) -> float:
    """The share of a judge's classes whose number of rows is guessed to the row."""
    return float(np.mean(np.round(guess * one.rows) == np.round(one.true * one.rows)))


def advantage(records: Sequence[Record], rule: str) -> tuple[float, float]:
    """Rate of true less rate of false "it holds it", where the odds are better than even; and its standard error."""
    said = np.array([record.odds[rule] > 0 for record in records])
    held = np.array([record.held for record in records])
    rates = [(said[part].mean(), part.sum()) for part in (held, ~held)]
    error = np.sqrt(sum(rate * (1 - rate) / count for rate, count in rates))
    return float(rates[0][0] - rates[1][0]), float(error)


def known_of(
    learned: Sequence[Learned], records: Sequence[Record], rules: Sequence[str]
) -> tuple[tuple[Table, ...], dict[str, Any]]:
    """What askers know of judges under each rule of disclosure, and what guessing comes to: for people, and for programs.

    Raises UsageError (`bad_setting`) if they heard too little.
    """
    if not learned:
        raise UsageError(
            f"no judge sat in {LEAST_SITTINGS} rounds, so nobody knows it well",
            hint="more rounds are needed, or fewer devices",
            code="bad_setting",
        )
    data: dict[str, Any] = {"judges": len(learned), "records": len(records), "rules": {}}
    rows = []
    public = float(np.mean([distance(one.public, one.true) for one in learned]))
    known = float(np.mean([exact_counts(one.public, one) for one in learned]))
    for rule in rules:
        far = float(np.mean([distance(one.guessed[rule], one.true) for one in learned]))
        exact = float(np.mean([exact_counts(one.guessed[rule], one) for one in learned]))
        data["rules"][rule] = {"distance": far, "exact": exact}
        told = "-"
        if records:
            gained, error = advantage(records, rule)
            data["rules"][rule] |= {"advantage": gained, "error": error}
            told = f"{gained:+.3f} ± {error:.3f}"
        rows.append((rule, f"{far:.3f}", f"{100 * exact:.0f}", told))
    data["public"] = {"distance": public, "exact": known}
    rows.append(("guessed by the public label distribution", f"{public:.3f}", f"{100 * known:.0f}", "0"))
    header = ("what a card says", "distance of the class shares", "class counts exact, per cent", "membership advantage")
    table = Table(f"What askers know of {len(learned)} judges and {len(records)} records", header, tuple(rows))
    return (table,), data


ALL: Final = tuple(DISCLOSURES)
"""Every rule of disclosure."""
