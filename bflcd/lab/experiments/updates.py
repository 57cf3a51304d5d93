"""What published updates tell of rows, without privacy and with it: membership, label counts, the rows themselves."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from bflcd.errors import UsageError
from bflcd.lab.config import SimulationConfig, check_config
from bflcd.lab.experiments.updates_pictures import draw_figures, draw_rows
from bflcd.lab.report import Drawing, Report, Table
from bflcd.lab.simulation import Machine
from bflcd.lab.updates.attacks import USUAL, Effort, Findings, Searched, attack, searched_rounds
from bflcd.lab.updates.counts import Counted
from bflcd.lab.updates.inversion import Rebuilt
from bflcd.lab.updates.membership import Verdicts, advantage, auc, rate_at_few_false
from bflcd.lab.updates.simulated import watch, watched_rounds

ROUNDS: Final = 30
WATCHED: Final = 6
"""Rounds whose updates are attacked."""

EPSILONS: Final = (8.0, 3.0, 1.0)
"""Budgets of a device's life that are compared with none."""

BASE: Final = SimulationConfig(
    task="digits",
    options=(("test_percent", "50"),),
    devices=10,
    active=1.0,
    rounds=ROUNDS,
    learning_rate=0.1,
    rate_decay=0.98,
    every=ROUNDS,
)
"""Four judges and six trainers, some 90 rows each; as many rows are the attacker's as are dealt."""

PRIVATE: Final[dict[str, Any]] = {"dp_lot": 4096, "learning_rate": 0.3}
"""How a device trains with a budget: on all of its rows in a step, one step a round (docs/measurements/privacy.md)."""

PLAIN: Final = "plain"
"""Training without privacy."""


def trainings(base: SimulationConfig, epsilons: Sequence[float]) -> dict[str, SimulationConfig]:
    """`base` as it is, and with each budget, by name. Raises UsageError for no budget, and for what can't be simulated."""
    if any(epsilon <= 0 for epsilon in epsilons):
        raise UsageError(
            f"--epsilon {min(epsilons):g} is no budget", hint="give a number above 0; plain training is always compared"
        )
    private = {f"epsilon {one:g}": msgspec.structs.replace(base, dp_epsilon=one, **PRIVATE) for one in dict.fromkeys(epsilons)}
    for config in (base, *private.values()):
        check_config(config)
    return {PLAIN: base, **private}


def steps_of(config: SimulationConfig, watched: int, effort: Effort) -> int:
    """How often progress is told of one community."""
    rounds = watched_rounds(config.rounds, watched)
    return config.rounds + len(rounds) + len(searched_rounds(rounds)) * (len(effort.sizes) + 1)


def find(
    configs: Sequence[tuple[str, SimulationConfig]], machine: Machine, watched: int, effort: Effort, progress: Callable[[], None]
) -> list[Findings]:
    """Simulate each community, named by its training, and attack it. Raises UsageError, OperatorError."""
    return [attack(name, watch(config, machine, watched, progress), effort, progress) for name, config in configs]


def updates_report(findings: Sequence[Findings]) -> Report:
    """Of one or several communities together, by training."""
    by_training = {
        name: [one for one in findings if one.training == name] for name in dict.fromkeys(f.training for f in findings)
    }
    tables = (_membership(by_training), _labels(by_training), _rows(by_training))
    accuracy = {name: float(np.mean([one.accuracy for one in found])) for name, found in by_training.items()}
    data = {
        name: {
            "communities": len(found),
            "accuracy": accuracy[name],
            "membership": {seen: _verdict_data(verdicts) for seen, verdicts in _seen(found)},
            "labels": {f"round {round_ + 1}": _count_data(counted) for round_, counted in _counted(found)},
            "rows": [_search_data(*key, rebuilt) for key, rebuilt in _searched(found)],
        }
        for name, found in by_training.items()
    }
    drawings = [Drawing("updates", lambda: draw_figures(by_training))]
    if any(one.rebuilt.rows.ndim > 2 for found in findings for one in found.searched):
        drawings.append(Drawing("updates_rows", lambda: draw_rows(by_training)))
    said = ", ".join(f"{name} {100 * value:.1f} %" for name, value in accuracy.items())
    notes = (f"The last model is right on so many of the attacker's rows: {said}.",)
    return Report(
        "updates", "What published updates tell of rows", tuple(t for t in tables if t.rows), data, tuple(drawings), notes
    )


def _seen(found: Sequence[Findings]) -> Iterator[tuple[str, Verdicts]]:
    """What the attacker looked at, and its verdicts in all communities; of single rounds the first, the middle and the last."""
    rounds = sorted({round_ for one in found for round_ in one.by_round})
    shown = sorted({rounds[0], rounds[len(rounds) // 2], rounds[-1]})
    for round_ in shown:
        yield (
            f"an update, round {round_ + 1}",
            Verdicts.together([one.by_round[round_] for one in found if round_ in one.by_round]),
        )
    if len(rounds) > 1:
        yield f"updates of {len(rounds)} rounds", Verdicts.together([one.together for one in found])
    yield "the last model", Verdicts.together([one.model for one in found])


def _membership(by_training: dict[str, list[Findings]]) -> Table:
    rows = []
    for name, found in by_training.items():
        for seen, verdicts in _seen(found):
            few = rate_at_few_false(verdicts)
            held = int(verdicts.held.sum())
            told = "-" if few is None else few.text()
            asked = f"{held} / {len(verdicts.held) - held}"
            rows.append((f"{name}: {seen}", auc(verdicts).text(), advantage(verdicts).text(sign=True), told, asked))
    header = ("training: what is looked at", "AUC", "advantage", "true positives at 1 % false", "held / not")
    return Table("Membership of records, ± standard error", header, tuple(rows))


def _counted(found: Sequence[Findings]) -> Iterator[tuple[int, list[Counted]]]:
    """By round, of all communities; the same rounds as of verdicts."""
    rounds = sorted({round_ for one in found for round_, counted in one.counted.items() if counted})
    for round_ in sorted({rounds[0], rounds[len(rounds) // 2], rounds[-1]}) if rounds else ():
        yield round_, [each for one in found for each in one.counted.get(round_, [])]


def _labels(by_training: dict[str, list[Findings]]) -> Table:
    rows = []
    for name, found in by_training.items():
        for round_, counted in _counted(found):
            data = _count_data(counted)
            by = [f"{data[key]:.3f}" for key in ("distance", "public_distance")]
            exact = [f"{100 * data[key]:.0f}" for key in ("exact", "public_exact")]
            rows.append((f"{name}: an update, round {round_ + 1}", by[0], by[1], *exact, str(data["updates"])))
    header = ("training: update", "distance", "by public shares", "exact, per cent", "by public shares", "updates")
    return Table(
        "Class counts from the last layer: half the sum of differences of the shares, and counts that are exact",
        header,
        tuple(rows),
    )


def _searched(found: Sequence[Findings]) -> Iterator[tuple[tuple[int, int], list[Rebuilt]]]:
    """By round and number of rows, of all communities."""
    every: list[Searched] = [each for one in found for each in one.searched]
    for round_ in sorted({one.round for one in every}):
        sizes = {one.size for one in every if one.round == round_}
        for size in sorted(sizes - {USUAL}) + ([USUAL] if USUAL in sizes else []):
            yield (round_, size), [one.rebuilt for one in every if (one.round, one.size) == (round_, size)]


def _rows(by_training: dict[str, list[Findings]]) -> Table:
    rows = []
    for name, found in by_training.items():
        for (round_, size), rebuilt in _searched(found):
            data = _search_data(round_, size, rebuilt)
            held = f"{data['rows']:.0f} row{'' if size == 1 else 's'}" + (" (all)" if size == USUAL else "")
            cells = [f"{data[key]['decibels']:.1f}{_structure(data[key])}" for key in ("found", "public", "usual")]
            rows.append((f"{name}: round {round_ + 1}, {held}", *cells, f"{100 * data['nearer']:.0f}"))
    header = ("training: update", "rebuilt", "nearest public row", "mean of the class", "rebuilt is nearer than public, per cent")
    return Table("Rows rebuilt from an update: decibels (PSNR) to the true row / structural similarity", header, tuple(rows))


def _structure(data: dict[str, Any]) -> str:
    return "" if data["structure"] is None else f" / {data['structure']:.2f}"


# -- for programs -----------------------------------------------------------------------------------------------


def _verdict_data(verdicts: Verdicts) -> dict[str, Any]:
    figures = {"auc": auc(verdicts), "advantage": advantage(verdicts), "true_at_few_false": rate_at_few_false(verdicts)}
    told = {name: None if one is None else {"value": one.value, "error": one.error} for name, one in figures.items()}
    return told | {"held": int(verdicts.held.sum()), "others": int((~verdicts.held).sum())}


def _count_data(counted: Sequence[Counted]) -> dict[str, Any]:
    def distance(guess: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> float:
        return float(np.abs(guess - true).sum() / 2 / true.sum())

    return {
        "updates": len(counted),
        "distance": float(np.mean([distance(one.guessed, one.true) for one in counted])),
        "public_distance": float(np.mean([distance(one.public, one.true) for one in counted])),
        "exact": float(np.mean([np.mean(one.guessed == one.true) for one in counted])),
        "public_exact": float(np.mean([np.mean(one.public == one.true) for one in counted])),
    }


def _search_data(round_: int, size: int, rebuilt: Sequence[Rebuilt]) -> dict[str, Any]:
    def mean(side: str) -> dict[str, Any]:
        near = [each for one in rebuilt for each in getattr(one, side)]
        kinds = [each.structure for each in near if each.structure is not None]
        return {
            "decibels": float(np.mean([each.decibels for each in near])),
            "structure": float(np.mean(kinds)) if kinds else None,
        }

    told = {side: mean(side) for side in ("found", "public", "usual")}
    nearer = float(np.average([one.nearer for one in rebuilt], weights=[len(one.rows) for one in rebuilt]))
    rows = float(np.mean([len(one.rows) for one in rebuilt]))
    return {"round": round_ + 1, "published": size == USUAL, "rows": rows, "updates": len(rebuilt), "nearer": nearer, **told}
