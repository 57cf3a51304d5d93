"""What the commands `genesis` and `testnet` take from the command line, read into parameters, task and members."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final, cast

from typer import Option

from bflcd.crypto.identity import node_id_of
from bflcd.errors import UsageError
from bflcd.learn.data import DataConfig, PartitionKind, bad_data
from bflcd.learn.datasets.readers import open_images
from bflcd.learn.partition import TEST_PERCENT, deal_rows
from bflcd.limits import LARGEST_NUMBER
from bflcd.params import AGGREGATIONS, ELECTIONS, MILLION, SCORE_RULES, Params, Terms, default_committee
from bflcd.setup.genesis_plan import default_places
from bflcd.types import PUBLIC_KEY_BYTES, Millis, NodeId

_NAMED: Final = 8
"""Nodes that one message names."""

_TRAINING: Final = ("learning_rate", "rate_decay", "momentum", "batch_size", "local_epochs", "calibration")
"""Fields of `TaskSpec` that say how the task is trained."""

_OWN_FLAGS: Final = (
    "committee_size",
    "places",
    "small_community",
    "view_timeout",
    "score_rule",
    "election",
    "aggregation",
    "last_round",
)
"""Fields of `Params` that have flags of their own."""

_FREE: Final = tuple(field.name for field in fields(Params) if field.name not in _OWN_FLAGS)

_SWITCHES: Final = tuple(field.name for field in fields(Params) if field.type is bool and field.name in _FREE)
"""Of these, those that are on or off."""

_TERMS: Final = tuple(field.name for field in fields(Terms))
"""Fields of `Terms`, none of which is called as one of the others."""

_DEFAULTS: Final = Params()

HIGHEST_RATE: Final = 100.0
"""Learning rate that a genesis may name; the lowest is a millionth."""


def _one_of(names: tuple[str, ...]) -> str:
    """`a, b or c.`"""
    return f"{', '.join(names[:-1])} or {names[-1]}."


@dataclass(frozen=True, slots=True)
class CommunityOptions:
    """The flags that both commands share, each field with its own.

    `committee_size` 0: what `default_committee` says; `places` 0: one for each trainer.
    """

    committee_size: Annotated[
        int,
        Option(
            "--committee-size",
            min=0,
            max=LARGEST_NUMBER,
            help="Seats of the committee (M); 0: a fifth of those at work, 4 to 20.",
        ),
    ] = 0
    places: Annotated[
        int, Option("--places", min=0, max=LARGEST_NUMBER, help="Update blocks a round (k); 0: one for each trainer.")
    ] = 0
    rounds: Annotated[
        int, Option("--rounds", min=0, max=LARGEST_NUMBER, help="Rounds after which the community stops; 0: never.")
    ] = 0
    view_timeout: Annotated[
        int, Option("--view-timeout", max=LARGEST_NUMBER, help="T0, the first view's time, in milliseconds.")
    ] = _DEFAULTS.view_timeout
    aggregation: Annotated[str, Option("--aggregation", help=_one_of(AGGREGATIONS))] = _DEFAULTS.aggregation
    score_rule: Annotated[str, Option("--score-rule", help=_one_of(SCORE_RULES))] = _DEFAULTS.score_rule
    election: Annotated[str, Option("--election", help=_one_of(ELECTIONS))] = _DEFAULTS.election
    small_community: Annotated[bool, Option("--small-community", help="Allow N < M + 1 or M < 4; the committee trains too.")] = (
        False
    )
    learning_rate: Annotated[float, Option("--learning-rate", min=0.0, help="Learning rate of the first round; 0: 0.05.")] = 0.0
    extra: Annotated[list[str] | None, Option("--param", help="KEY=VALUE: any other parameter of the genesis.")] = None

    def params(self, members: int) -> Params:
        """The protocol's parameters for so many members. Raises UsageError."""
        given = {
            key: _switch(key, value) if key in _SWITCHES else _whole(key, value)
            for key, value in self._extra().items()
            if key in _FREE
        }
        at_work = members * given.get("active_fraction", MILLION) // MILLION
        seats = self.committee_size or default_committee(at_work)
        return Params(
            committee_size=seats,
            places=self.places or default_places(members, seats, small_community=self.small_community),
            small_community=self.small_community,
            view_timeout=Millis(self.view_timeout),
            score_rule=self.score_rule,
            election=self.election,
            aggregation=self.aggregation,
            last_round=self.rounds,
            **cast("dict[str, Any]", given),
        )

    def terms(self) -> Terms:
        """By which the community admits and puts out. Raises UsageError."""
        given = {key: _whole(key, value) for key, value in self._extra().items() if key in _TERMS}
        return Terms(**cast("dict[str, Any]", given))

    def training(self) -> dict[str, int]:
        """The fields of TaskSpec that were given. Raises UsageError."""
        given = {key: _whole(key, value) for key, value in self._extra().items() if key in _TRAINING}
        if self.learning_rate:
            given["learning_rate"] = _millionths("--learning-rate", self.learning_rate, 1 / MILLION, HIGHEST_RATE)
        return given

    def _extra(self) -> dict[str, str]:
        found = parse_options(self.extra or (), "--param")
        known = (*_FREE, *_TRAINING, *_TERMS)
        unknown = next((key for key in found if key not in known), None)
        if unknown is not None:
            raise UsageError(f"--param {unknown}: there is no such parameter", hint=f"known: {', '.join(sorted(known))}")
        return found


def parse_options(pairs: Iterable[str], flag: str) -> dict[str, str]:
    """KEY=VALUE pairs as a dictionary. Raises UsageError for anything else, and for a key given twice."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"{flag} {pair}: not of the form KEY=VALUE", hint=f"write {flag} KEY=VALUE")
        if key in found:
            raise UsageError(f"{flag} {key} is given twice", hint="give it once")
        found[key] = value
    return found


def node_ids(texts: Iterable[str], flag: str) -> tuple[NodeId, ...]:
    """Node ids in hexadecimal, or peer ids (12D3KooW...). Raises UsageError naming the one that is neither, or comes twice."""
    found: list[NodeId] = []
    for text in texts:
        try:
            node = node_id_of(text) if text.startswith("12D3KooW") else NodeId(bytes.fromhex(text))
        except ValueError:
            node = NodeId(b"")
        if len(node) != PUBLIC_KEY_BYTES:
            raise UsageError(
                f"{flag} {text}: no node id",
                hint=f"use the {2 * PUBLIC_KEY_BYTES} hexadecimal digits, or the peer id, that `bflcd init` printed",
            )
        if node in found:
            raise UsageError(f"{flag} {text} is given twice", hint="name each node once")
        found.append(node)
    return tuple(found)


def default_partition(factory: str, path: str | None) -> PartitionKind:
    """By writer where the data names its writers, else with label skew. Raises OperatorError if the data can't be opened."""
    if factory == "femnist" and open_images(path).writers is not None:
        return "writer"
    return "dirichlet"


def check_deal(factory: str, data: DataConfig, test_percent: int = TEST_PERCENT) -> None:
    """Raise OperatorError (`bad_data`) with the numbers if a shipped reader's data leave a node without a row."""
    if factory != "femnist" or data.path is None:
        return  # the others' rows are known to their own code alone, which each node asks at its start
    source = open_images(data.path)
    deal = deal_rows(data, source.labels, writers=source.writers, split=source.split, test_percent=test_percent)
    empty = [index for index, part in enumerate(deal.parts) if part.size == 0]
    if empty:
        named = ", ".join(f"node{index}" for index in empty[:_NAMED]) + (", ..." if len(empty) > _NAMED else "")
        total = len(source.labels) - deal.test.size
        hint = "use fewer nodes, or --partition equal" + (", or a larger --alpha" if data.partition == "dirichlet" else "")
        raise bad_data(
            f"{data.path}: {total} training rows, dealt by {data.partition} to {data.count} nodes, leave {len(empty)} of them "
            f"without any ({named})",
            hint,
        )


def data_for_describing(data: DataConfig) -> DataConfig | None:
    """What a task may infer its options from: the data, if a path is given."""
    return data if data.path is not None else None


def _millionths(flag: str, value: float, low: float, high: float) -> int:
    """A number from `low` to `high` in millionths. Raises UsageError, for NaN and infinity too."""
    if not low <= value <= high:
        raise UsageError(f"{flag} {value:g}: out of range", hint=f"use {low:.6f} to {high:g}, or leave it out")
    return round(value * MILLION)


def _switch(key: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise UsageError(f"--param {key}={text}: neither 1 nor 0", hint="1 switches the rule on, 0 off")
    return text == "1"


def _whole(key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(2**63))):
        raise UsageError(
            f"--param {key}={text}: not a whole number", hint="shares and rates are millionths, durations milliseconds"
        )
    return int(text)
