"""What somebody decides about a new community, and the genesis that follows from it (design 4)."""

from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from bflcd.errors import UsageError
from bflcd.learn.client import describe_task
from bflcd.learn.data import DataConfig
from bflcd.learn.messages import TaskDescription
from bflcd.params import MILLION, Genesis, GenesisMember, Params, TaskSpec, Terms, check_genesis
from bflcd.types import Amount, Millis, NodeId, PartsPerMillion
from bflcd.wire.codec import encode
from bflcd.wire.tensors import blob_ref

FIRST_BALANCE: Final = Amount(1_000)
"""Units that each first member gets."""

FIRST_POOL: Final = Amount(1_000_000)
"""Units that the rewards are paid from; a thousandth of the rest goes out each round by default."""


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """The task by name, its options, how it is trained. `training`: fields of `TaskSpec` that differ from its defaults."""

    factory: str
    options: dict[str, str] = field(default_factory=dict)
    training: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    """Draws model 0."""
    data: DataConfig | None = None
    """Where options are inferred from, if the task does that."""
    trial: bool = False
    """Whether a step of it is tried before anything is written."""

    def describe(self) -> TaskDescription:
        """What the genesis fixes of it. Raises as `describe_task` does."""
        return describe_task(self.factory, self.options, seed=self.seed, data=self.data, trial=self.trial)


@dataclass(frozen=True, slots=True)
class GenesisPlan:
    """A community to be. `members` in the order given; `committee` and `managers` default to the first M of them."""

    name: str
    time: Millis
    params: Params
    members: tuple[NodeId, ...]
    committee: tuple[NodeId, ...] = ()
    managers: tuple[NodeId, ...] = ()
    balance: Amount = FIRST_BALANCE
    pool: Amount = FIRST_POOL
    testnet: bool = False
    """Its nodes may play attacks."""
    terms: Terms = Terms()


def default_places(members: int, committee_size: int, *, small_community: bool) -> int:
    """k: a place for each trainer, so that every good update is packed (design 5), and never fewer than the committee's seats."""
    trainers = members if small_community else members - committee_size
    return max(committee_size, trainers)


def fair_card_share(params: Params) -> PartsPerMillion:
    """The share of a reward by which a card is worth as much as a packed update: M / (M + k), if all places are filled."""
    return PartsPerMillion(MILLION * params.committee_size // (params.committee_size + params.places))


def notes_of(params: Params) -> list[str]:
    """What somebody who makes a community may not have meant: nothing of it is wrong, and nothing is refused for it.

    Doubt takes a judge's seat, and who has none trains. Where the committee trains too, that is no gain.
    """
    fair = fair_card_share(params)
    if not params.doubts or params.small_community or 2 * params.card_share >= fair:
        return []
    text = (
        f"doubts are on and card_share is {params.card_share} millionths: who is doubted, and trains while others judge, "
        f"earns more than they do; --param card_share={fair} makes a seat worth as much as an update (docs/incentives.md)"
    )
    return [text]


def compose_genesis(plan: GenesisPlan, task: TaskPlan, description: TaskDescription) -> Genesis:
    """The genesis of `plan`. Raises UsageError (`bad_genesis`) naming what contradicts what."""
    seats = min(plan.params.committee_size, len(plan.members))
    committee = plan.committee or plan.members[:seats]
    spec = TaskSpec(task.factory, description.options, description.tensors)
    genesis = Genesis(
        name=plan.name,
        time=plan.time,
        params=plan.params,
        task=replace(spec, **cast("dict[str, Any]", task.training)),
        managers=tuple(sorted(plan.managers or committee)),
        members=tuple(GenesisMember(node, plan.balance) for node in sorted(plan.members)),
        committee=committee,
        pool=plan.pool,
        model=blob_ref(description.model),
        testnet=plan.testnet,
        terms=plan.terms,
    )
    check_genesis(genesis)
    try:
        encode(genesis)
    except ValueError as error:
        raise UsageError(f"the genesis breaks a limit: {error}", hint="change that value", code="bad_genesis") from error
    return genesis
