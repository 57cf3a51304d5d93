"""How often devices that watch their models alarm for nothing, and what of the harm by liars they see (ADR 39)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bflcd.lab.config import PAPER, SimulationConfig
from bflcd.lab.grid import Change
from bflcd.lab.report import Report, Table
from bflcd.lab.simulation import Machine
from bflcd.lab.watching.trail import Trail, follow
from bflcd.learn.watching.errors import ClassErrors
from bflcd.learn.watching.verdict import LOOKED_BACK, Memory, take

BASE: Final = SimulationConfig(task="digits", devices=10, active=1.0, rounds=60, learning_rate=0.1, rate_decay=0.98, every=60)
"""Ten devices, four of them judges, some 150 rows each."""

ONSET: Final = 30
"""The first round in which liars lie who come late: watchers know by then what is usual."""

HARM: Final = 0.05
"""A round does harm if the model is right on so much less of the test rows after it than before."""

TURNED: Final = 0.2
"""A round plants a backdoor if so many more of the rows with the trigger are turned by it."""


def _late(attack: str, liars: float) -> dict[str, Any]:
    return {"attack": attack, "liars": liars, "onset": ONSET}


SCENARIOS: Final = (
    Change("no liars"),
    Change("no liars, Dirichlet(0.1)", {"alpha": 0.1}),
    Change("sleepers 30 %", {"attack": "sleeper", "liars": 0.3}),
    Change("sleepers 50 %", {"attack": "sleeper", "liars": 0.5}),
    Change("label flip 30 %", {"attack": "label-flip", "liars": 0.3}),
    Change("sign flip 30 %", {"attack": "sign-flip", "liars": 0.3}),
    Change("backdoor 30 %", {"attack": "backdoor", "liars": 0.3}),
    Change("edge backdoor 30 %, from round 10 on", {"attack": "edge-backdoor", "liars": 0.3}),
    Change(f"backdoor 30 %, from round {ONSET} on", _late("backdoor", 0.3)),
    Change(f"label flip 30 %, from round {ONSET} on", _late("label-flip", 0.3)),
    Change(f"sign flip 30 %, from round {ONSET} on", _late("sign-flip", 0.3)),
    Change(f"label flip 50 %, from round {ONSET} on", _late("label-flip", 0.5)),
    Change(f"sign flip 50 %, from round {ONSET} on", _late("sign-flip", 0.5)),
    Change(f"the paper's rules, sign flip 30 %, from round {ONSET} on", _late("sign-flip", 0.3), whole=PAPER),
)

WITHIN: Final = 3
"""Rounds from the first that does harm on, that one of this included, within which an alarm is in time."""

HONEST: Final = "honest"
LIED: Final = "lied"
HARMED: Final = "harmed"
PLANTED: Final = "planted"
KINDS: Final = (HONEST, LIED, HARMED, PLANTED)
"""What a round was: nobody lied; liars did, and nothing came of it; the model lost by it; a backdoor came by it."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A round that was watched by devices that know what is usual: what it was, how many watched, by what signs some alarmed."""

    model: int
    kind: str
    watchers: int
    signs: tuple[str, ...]

    @property
    def by_most(self) -> bool:
        """Whether more than half alarmed."""
        return 2 * len(self.signs) > self.watchers


@dataclass(frozen=True, slots=True)
class Found:
    """One simulation: its watched rounds, and, where liars did harm, how right the model was before they began, and the one that
    the first alarm of rounds with liars names, 0 to 1; None without such an alarm."""

    rounds: tuple[Watched, ...]
    honest: float | None
    named: float | None


def alarms_report(seeds: Sequence[int], rounds: int | None, machine: Machine, progress: Callable[[], None]) -> Report:
    """Simulate every scenario for every seed; `progress` is told of each round. Raises UsageError, OperatorError."""
    changed = {} if rounds is None else {"rounds": rounds}
    base = msgspec.structs.replace(BASE, **changed)
    found = {
        scenario.label: [
            watched(follow(msgspec.structs.replace(scenario.apply(base), seed=seed), machine, progress)) for seed in seeds
        ]
        for scenario in SCENARIOS
    }
    version = base.rules_version
    tables = (_false(found), _seen(found))
    data = {name: [_data(one) for one in runs] for name, runs in found.items()}
    return Report("alarms", "Watching models on one's own rows", tables, data, rules_version=version)


def watched(trail: Trail) -> Found:
    """What the honest devices of a simulation say of its rounds, as `learn.watching.verdict` has it."""
    alarms = [signs_of([model[device] for model in trail.errors]) for device in range(len(trail.errors[0]))]
    rounds = tuple(
        Watched(model, _kind(trail, model), len(alarms), tuple(one[model] for one in alarms if one[model]))
        for model in range(LOOKED_BACK + 1, len(trail.errors))
    )
    harmed = any(one.kind == HARMED for one in rounds)
    begun = next((model for model, lying in enumerate(trail.lying) if lying), 0)
    first = next((one.model for one in rounds if one.kind != HONEST and one.signs), None)
    honest = trail.accuracy[begun - 1] if harmed and begun > LOOKED_BACK else None
    return Found(rounds, honest, None if honest is None or first is None else trail.accuracy[first - 1])


def signs_of(models: Sequence[ClassErrors]) -> list[str]:
    """By what sign each model of one device alarms it, empty where it does not."""
    memory, signs = Memory(), []
    for errors in models:
        memory, alarm = take(memory, errors)
        signs.append("" if alarm is None else alarm.sign.value)
    return signs


def _kind(trail: Trail, model: int) -> str:
    if not trail.lying[model]:
        return HONEST
    if trail.accuracy[model - 1] - trail.accuracy[model] >= HARM:
        return HARMED
    if trail.success and trail.success[model] - trail.success[model - 1] >= TURNED:
        return PLANTED
    return LIED


def _of(runs: Sequence[Found], *kinds: str) -> list[Watched]:
    return [one for run in runs for one in run.rounds if one.kind in kinds]


def _false(found: dict[str, list[Found]]) -> Table:
    """Alarms where nothing was to be seen."""
    header = ("", "rounds", "alarms a device, per cent", "by one, per cent", "by most, per cent", "signs")
    rows = [
        (f"{name}: {what}", *_rates(rounds))
        for name, runs in found.items()
        for what, rounds in (("nobody lied", _of(runs, HONEST)), ("lies without harm", _of(runs, LIED)))
        if rounds
    ]
    return Table("Rounds that did no harm", header, tuple(rows))


def _rates(rounds: Sequence[Watched]) -> tuple[str, ...]:
    signs = [sign for one in rounds for sign in one.signs]
    devices = sum(one.watchers for one in rounds)
    shares = (len(signs) / devices, sum(bool(one.signs) for one in rounds) / len(rounds), sum(map(_most, rounds)) / len(rounds))
    counted = ", ".join(f"{signs.count(sign)} {sign}" for sign in sorted(set(signs)))
    return (f"{len(rounds)}", *(f"{100 * share:.2f}" for share in shares), counted or "-")


def _most(one: Watched) -> bool:
    return one.by_most


def _seen(found: dict[str, list[Found]]) -> Table:
    """What of the harm was seen."""
    header = (
        "", "rounds with harm / seen by one / by most", f"runs with harm / first seen in {WITHIN} rounds by one / by most",
        "rounds that plant / seen by one / by most", "before liars, per cent", "named by the first alarm",
    )  # fmt: skip
    rows = [(name, *_seen_of(runs)) for name, runs in found.items() if _of(runs, LIED, HARMED, PLANTED)]
    title = f"Rounds that cost {100 * HARM:g} points or more, and that turn {100 * TURNED:g} points more of the triggered rows"
    return Table(title, header, tuple(rows))


def _seen_of(runs: Sequence[Found]) -> tuple[str, ...]:
    harmed, planted = _of(runs, HARMED), _of(runs, PLANTED)
    firsts = [early for run in runs if (early := _early(run))]
    by_one = sum(any(one.signs for one in early) for early in firsts)
    by_most = sum(any(one.by_most for one in early) for early in firsts)
    pairs = [(run.honest, run.named) for run in runs if run.honest is not None and run.named is not None]
    means = [f"{100 * sum(part) / len(pairs):.1f}" for part in zip(*pairs, strict=True)] or ["-", "-"]
    return (_counts(harmed), f"{len(firsts)} / {by_one} / {by_most}", _counts(planted), *means)


def _early(run: Found) -> list[Watched]:
    """The first round that did harm, and the next ones."""
    first = next((place for place, one in enumerate(run.rounds) if one.kind == HARMED), None)
    return [] if first is None else list(run.rounds[first : first + WITHIN])


def _counts(rounds: Sequence[Watched]) -> str:
    return f"{len(rounds)} / {sum(bool(one.signs) for one in rounds)} / {sum(map(_most, rounds))}"


def _data(run: Found) -> dict[str, Any]:
    rounds = [{"model": one.model, "kind": one.kind, "watchers": one.watchers, "signs": one.signs} for one in run.rounds]
    return {"rounds": rounds, "honest": run.honest, "named": run.named}
