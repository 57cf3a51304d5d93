"""What one simulation is about: everything that its result depends on, and nothing else."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from bflcd.errors import UsageError
from bflcd.lab.disclosures import BEFORE, DISCLOSURES, HERE
from bflcd.lab.rules_version import rules_version
from bflcd.learn.attacks import Attack, find_attack
from bflcd.learn.data import DataConfig, PartitionKind, check_data_config
from bflcd.learn.lies.cards import Lies
from bflcd.params import (
    AGGREGATIONS,
    ELECTIONS,
    LEAST_COMMITTEE,
    MILLION,
    NOISE_UNIT,
    SCORE_RULES,
    Params,
    TaskSpec,
    TensorSpec,
    default_committee,
)
from bflcd.types import MAX_MEMBERS, MAX_PLACES, MicroNats, PartsPerMillion
from bflcd.wire.privacy import LEAST_EXPONENT, MOST_EXPONENT

Framework = Literal[
    "bflc",
    "fedavg",
    "cwmed",
    "trimmed-mean",
    "multi-krum",
    "geometric-median",
    "fltrust",
    "centered-clipping",
    "stand-alone",
]
"""`bflc`: this project; `stand-alone`: one machine that holds everybody's rows; all others: a server with that rule."""

Mixing = Literal["none", "nnm", "bucketing"]
"""What a server does with the updates before its rule sees them (`bflcd.lab.mixing`)."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """How a rule's number counts `here`; in a genesis it counts in whole `parts` of that, of which one has `scale`."""

    here: str
    parts: str
    scale: int


_SHARE: Final = _Unit("as a share, 0 to 1,", "in millionths", MILLION)

_UNITS: Final[Mapping[str, _Unit]] = {
    "score_noise": _Unit("in what one row changes an answer by", "in thousandths of that", NOISE_UNIT),
    "score_margin": _Unit("in nats", "in millionths of one", MILLION),
    "norm_clip": _Unit("in usual norms", "in millionths of one", MILLION),
    "odd_limit": _Unit("in spreads of what usual offers cost", "in millionths of one", MILLION),
    **dict.fromkeys(("idle_weight", "copy_likeness", "calibration", "canary_share", "card_share"), _SHARE),
}
"""The rules that daemons know by the same name, and by another number."""

_DIGITS: Final = 16
"""Of a number that is repeated with the unit that it was meant in."""

_ID_DIGITS: Final = 12
"""Hexadecimal digits of a configuration's id: with 10^6 of them two collide once in 10^2 laboratories."""


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """BFLC's own rules, as far as learning depends on them; see `bflcd.params.Params` for what each means."""

    committee: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """Share of a round's active devices that judge, at least 4; the rest trains. None: as many as a genesis gives by default."""
    places: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    """k as a share of the trainers, at least M."""
    small_community: bool = False
    """Whether those that judge train too."""
    score_rule: str = "gain"
    score_damping: Annotated[int, Meta(ge=1, le=1024)] = 4
    score_margin: Annotated[float, Meta(ge=0.0, le=1e7)] = 0.3
    """In nats, for a model that is always right."""
    score_rows: Annotated[int, Meta(ge=1, le=2**20)] = 256
    score_noise: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.0
    """In what one row changes an answer by; only where the disclosure is this project's own."""
    validation: Annotated[float, Meta(ge=0.0, le=0.9)] = 0.0
    """Share of a device's rows that is never trained on."""
    election: str = "random"
    aggregation: str = "fedavg"
    norm_clip: Annotated[float, Meta(ge=0.0, le=64.0)] = 2.0
    """In usual norms; 0: norms don't weigh."""
    idle_weight: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5
    """Of few packed updates: what those by which no more than f cards gain weigh together, at most, of what the others weigh."""
    norm_band: bool = True
    """Whether norms are looked at; without it every card says that all are alike, and nothing is clipped."""
    reputation_rounds: Annotated[int, Meta(ge=0, le=1024)] = 8
    """Offers that a member's gains are averaged over; 0: what it offered before counts for nothing."""
    copy_likeness: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.99
    """Cosine from which on an update is a copy; 0: none is."""
    fresh_gains: bool = True
    """Whether what an update repeats of the last step is left out of what judges measure."""
    balanced_gains: bool = True
    """Whether a judge says the less of what its rows and its classes gain, these counting alike."""
    calibration: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    """How much of its labels' shares a device takes out of what it learns at first."""
    odd_limit: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.0
    """In spreads of what usual offers cost one class; 0: no offer is odd."""
    disclosure: str = HERE
    """How much a card says (`bflcd.lab.disclosures`)."""
    canary_share: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.0
    """Share of the trainers that offer -4 times what they trained, to find out who measures."""
    card_share: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.1
    """Share of a round's reward that is for its cards."""
    doubts: bool = False
    """Whether judges whose words can't come from measuring lose seat and pay."""
    sealed_cards: bool = True
    """Whether nobody sees a card before a quorum of judges is bound to theirs: decides what judges that copy can say."""


PAPER: Final = Rules(
    committee=0.4,
    places=0.6,
    score_rule="accuracy",
    score_damping=1,
    score_margin=1e7,
    score_rows=2**20,
    validation=0.0,
    election="score",
    norm_clip=0.0,
    norm_band=False,
    idle_weight=0.0,
    reputation_rounds=0,
    copy_likeness=0.0,
    fresh_gains=False,
    balanced_gains=False,
    calibration=0.0,
    odd_limit=0.0,
    disclosure=BEFORE,
    score_noise=0.0,
    canary_share=0.0,
    card_share=0.0,
    doubts=False,
    sealed_cards=False,
)
"""The paper's rules: the median accuracy of the whole update on all of a member's rows ranks, and nothing else decides.

Six places for ten trainers, as in its authors' program; the paper gives no number.
"""


class SimulationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One simulation. Shares are from 0 to 1; the seed draws the partition, the first model, and everything else."""

    framework: Framework = "bflc"
    rules: Rules = Rules()
    mixing: Mixing = "none"
    bucket: Annotated[int, Meta(ge=1, le=MAX_MEMBERS)] = 2
    """Updates of one bucket, where they are mixed by bucketing."""
    clip_radius: Annotated[float, Meta(gt=0.0, le=1e9)] = 1.0
    """How far from the last step centred clipping lets an update pull, in the norm of the weights."""
    task: str = "femnist"
    options: tuple[tuple[str, str], ...] = ()
    data: str | None = None
    partition: PartitionKind = "dirichlet"
    alpha: Annotated[float, Meta(ge=1e-3, le=1e6)] = 0.5
    limit: Annotated[int, Meta(ge=0)] = 0
    """At most so many rows a device; 0 for all."""
    devices: Annotated[int, Meta(ge=2, le=MAX_MEMBERS)] = 900
    active: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.1
    """Share of the devices at work in a round, judges included."""
    rounds: Annotated[int, Meta(ge=1, le=100_000)] = 100
    learning_rate: Annotated[float, Meta(gt=0.0, le=100.0)] = 0.05
    rate_decay: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    """The rate of round t is learning_rate * rate_decay^t."""
    momentum: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.9
    batch_size: Annotated[int, Meta(ge=1, le=65_536)] = 32
    local_epochs: Annotated[int, Meta(ge=1, le=1000)] = 1
    attack: str = ""
    strength: Annotated[float, Meta(ge=0.0, le=1e9)] | None = None
    lies: Lies | None = None
    liars: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """Share of the devices that lie."""
    onset: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """The first round in which they do: before it they are honest, whatever the attack."""
    dp_epsilon: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.0
    """What all updates of a device may tell of a row of its own (`bflcd.lab.engine.privacy`); 0: it trains as it is."""
    dp_exponent: Annotated[int, Meta(ge=LEAST_EXPONENT, le=MOST_EXPONENT)] = 5
    """The delta beside it is 10^-dp_exponent."""
    dp_clip: Annotated[float, Meta(gt=0.0, le=1e6)] = 1.0
    """L2 norm that a row's gradient has at most."""
    dp_lot: Annotated[int, Meta(ge=0, le=2**31)] = 0
    """Rows of a noisy step, on average; 0: batch_size."""
    every: Annotated[int, Meta(ge=1)] = 5
    """Rounds between two measurements on the test rows."""
    seed: Annotated[int, Meta(ge=0, le=2**53)] = 0

    @property
    def at_work(self) -> int:
        """A: devices at work in a round, on average."""
        return max(1, round(self.active * self.devices))

    @property
    def seats(self) -> int:
        """M."""
        share = self.rules.committee
        return default_committee(self.at_work) if share is None else max(LEAST_COMMITTEE, round(self.at_work * share))

    @property
    def adversary_count(self) -> int:
        """Devices that lie."""
        return round(self.liars * self.devices) if self.attack else 0

    @property
    def id(self) -> str:
        """Of this setting under the rules in force; a data file counts by its name, not by where it lies.

        The same for equal ones on every machine, another after a change of what decides a run. Raises OperatorError as
        `rules_version` does.
        """
        named = msgspec.to_builtins(self) | {"data": None if self.data is None else Path(self.data).name}
        if self.framework != "bflc":
            del named["rules"]  # nobody follows them
        named["rules_version"] = self.rules_version
        return hashlib.sha256(msgspec.json.encode(named, order="deterministic")).hexdigest()[:_ID_DIGITS]

    @property
    def rules_version(self) -> str:
        """The version of the rules that decide it now (`bflcd.lab.rules_version`)."""
        return rules_version(self.task)

    def find_attack(self) -> Attack | None:
        """The attack, if there is one. Raises UsageError (`unknown_attack`)."""
        return find_attack(self.attack, strength=self.strength, lies=self.lies) if self.attack else None

    def data_config(self) -> DataConfig:
        """How the rows are dealt: what `bflcd testnet` would write for as many nodes."""
        return DataConfig(self.data, self.partition, 0, self.devices, self.seed, self.alpha, self.limit)

    def task_spec(self, tensors: tuple[TensorSpec, ...]) -> TaskSpec:
        """What a genesis would fix of the task."""
        return TaskSpec(
            factory=self.task,
            options=self.options,
            tensors=tensors,
            learning_rate=round(self.learning_rate * MILLION),
            rate_decay=round(self.rate_decay * MILLION),
            momentum=round(self.momentum * MILLION),
            batch_size=self.batch_size,
            local_epochs=self.local_epochs,
            calibration=_millionths(self.rules.calibration),
        )

    def params(self) -> Params:
        """The protocol's parameters: M seats, and of the others as many active that A are at work."""
        rules, seats = self.rules, self.seats
        trainers = self.at_work - seats
        others = trainers / (self.devices - seats) if self.devices > seats else float(rules.small_community)
        return Params(
            committee_size=seats,
            places=min(MAX_PLACES, self.devices if rules.places == 1.0 else max(seats, round(rules.places * trainers))),
            small_community=rules.small_community,
            score_rows=rules.score_rows,
            score_noise=round(rules.score_noise * NOISE_UNIT),
            score_damping=rules.score_damping,
            score_margin=MicroNats(round(rules.score_margin * MILLION)),
            norm_clip=PartsPerMillion(round(rules.norm_clip * MILLION) if rules.norm_band else 0),
            idle_weight=_millionths(rules.idle_weight),
            copy_likeness=_millionths(rules.copy_likeness),
            score_rule=rules.score_rule,
            validation_fraction=_millionths(rules.validation),
            active_fraction=_millionths(min(1.0, max(0.0, others))),
            aggregation=rules.aggregation,
            election=rules.election,
            reputation_rounds=rules.reputation_rounds,
            fresh_gains=rules.fresh_gains,
            balanced_gains=rules.balanced_gains,
            odd_limit=PartsPerMillion(round(rules.odd_limit * MILLION)),
            canary_share=_millionths(rules.canary_share),
            card_share=_millionths(rules.card_share),
            doubts=int(rules.doubts),
            sealed_cards=rules.sealed_cards,
        )


def changed(config: SimulationConfig, assignments: Sequence[str]) -> SimulationConfig:
    """`config` with each KEY=VALUE applied; keys of the rules too. Raises UsageError (`bad_setting`) naming what is wrong."""
    mine, rules = dict.fromkeys(config.__struct_fields__), set(config.rules.__struct_fields__)
    values: dict[str, Any] = {}
    inner: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or (key not in mine and key not in rules) or key in ("rules", "options"):
            known = ", ".join(sorted({*mine, *rules} - {"rules", "options"}))
            raise _bad(f"{assignment!r} sets nothing", f"write KEY=VALUE with a key of {known}")
        (inner if key in rules else values)[key] = None if value == "" else value
    try:
        old = msgspec.to_builtins(config)
        return msgspec.convert({**old, **values, "rules": {**old["rules"], **inner}}, SimulationConfig, strict=False)
    except msgspec.ValidationError as error:
        raise _out_of_bounds(error, {**values, **inner}) from error


def check_config(config: SimulationConfig) -> None:
    """Raise UsageError (`bad_setting`) naming the first thing that makes no sense."""
    rules = config.rules
    try:
        msgspec.convert(msgspec.to_builtins(config), SimulationConfig)  # a constructor checks no limits
    except msgspec.ValidationError as error:
        raise _out_of_bounds(error, msgspec.to_builtins(config) | msgspec.to_builtins(rules)) from error
    check_data_config(config.data_config())
    attack = config.find_attack()
    if attack is not None and attack.asks:
        raise _bad(
            f"attack {config.attack!r} chooses its offers by what each judge would say, which no simulation lets it see",
            "measure what it learns with bflc-cli lab questions, or play it on a testnet (docs/attacks.md)",
        )
    for name, value, known in (
        ("score_rule", rules.score_rule, SCORE_RULES),
        ("election", rules.election, ELECTIONS),
        ("aggregation", rules.aggregation, AGGREGATIONS),
        ("disclosure", rules.disclosure, tuple(DISCLOSURES)),
    ):
        if value not in known:
            raise _bad(f"{name} is {value!r}", f"use one of {', '.join(known)}")
    if rules.odd_limit and rules.score_noise:
        raise _bad(
            "odd_limit looks at single classes of a judge's rows, which score_noise does not blur",
            "set one of the two to 0, as a genesis has to",
        )
    everybody_judges = rules.small_community and config.devices <= config.seats
    if config.framework == "bflc" and config.at_work <= config.seats and not everybody_judges:
        without = "without a seat ever " if rules.small_community else ""
        raise _bad(
            f"{config.at_work} devices at work, of which {config.seats} judge: nobody {without}trains",
            "raise the share of active devices, or lower the committee's",
        )
    if config.mixing != "none" and config.framework in ("bflc", "stand-alone"):
        raise _bad(f"{config.framework} mixes no updates", "leave out mixing, or choose a server's rule as the framework")
    if config.dp_epsilon and config.framework == "stand-alone":
        raise _bad("stand-alone training has no privacy to lose", "leave out dp_epsilon")
    if config.liars > 0 and not config.attack:
        raise _bad(f"{config.liars:.0%} of the devices lie, but there is no attack", "name one with --attack")


def _out_of_bounds(error: msgspec.ValidationError, given: Mapping[str, Any]) -> UsageError:
    """Of a value that a field does not take. Who gives a genesis' number for one that counts otherwise here is told so."""
    name = str(error).rpartition(".")[2].rstrip("`")
    unit = _UNITS.get(name)
    if unit is None:
        return _bad(str(error), "see docs/lab.md for what each key takes")
    value, hint = given.get(name), f"{name} counts {unit.here} here, and {unit.parts} in a genesis"
    if isinstance(value, str | int | float) and len(str(value)) <= _DIGITS and str(value).isdecimal():
        hint += f": --param {name}={value} there is --set {name}={int(value) / unit.scale:g} here"
    return _bad(f"{name}: {error}", hint)


def _bad(message: str, hint: str) -> UsageError:
    return UsageError(f"this can't be simulated: {message}", hint=hint, code="bad_setting")


def _millionths(share: float) -> PartsPerMillion:
    return PartsPerMillion(max(1, round(share * MILLION)) if share > 0 else 0)
