"""Everything that genesis fixes: parameters, task, tensor specification, members. All of it is hashed into the chain id."""

from dataclasses import dataclass, field
from typing import Annotated, Final

from bflcd.errors import UsageError
from bflcd.limits import Between, Name, Size
from bflcd.types import MAX_COMMITTEE, MAX_MEMBERS, MAX_PLACES, Amount, Digest, MicroNats, Millis, NodeId, PartsPerMillion

MILLION: Final = 1_000_000

NOISE_UNIT: Final = 1_000
"""Of `Params.score_noise`: thousandths of the most by which one row changes an answer."""

LEAST_NOISE: Final = NOISE_UNIT // 10
"""Of `Params.score_noise` where it is not 0."""

MAX_TENSORS: Final = 4096
"""Tensors of one model."""

MAX_DIMENSIONS: Final = 8
"""Dimensions of one tensor."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named tensor of the model. `dtype`: "F32" is averaged, "I64" (counters) comes from the parent model."""

    name: Name
    shape: Annotated[tuple[Annotated[int, Between(1, 2**31)], ...], Size(0, MAX_DIMENSIONS)]
    dtype: Annotated[str, Size(3, 3)]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What is learned and how. `factory`: a name among the entry points `bflcd.tasks`, or `module:attribute`.

    `options` are the task's own settings, sorted by key. Learning rate and momentum in millionths. The learning rate of
    round t is rate * decay^t, with `rate_decay` in millionths (1_000_000: constant).
    """

    factory: Name
    options: Annotated[tuple[tuple[Name, Annotated[str, Size(0, 1024)]], ...], Size(0, 64)]
    tensors: Annotated[tuple[TensorSpec, ...], Size(1, MAX_TENSORS)]
    learning_rate: Annotated[int, Between(1, 100 * MILLION)] = 50_000
    rate_decay: Annotated[int, Between(1, MILLION)] = MILLION
    momentum: Annotated[int, Between(0, MILLION)] = 900_000
    batch_size: Annotated[int, Between(1, 2**16)] = 32
    local_epochs: Annotated[int, Between(1, 1000)] = 1
    calibration: Annotated[PartsPerMillion, Between(0, MILLION)] = PartsPerMillion(MILLION)
    """How much of its own labels' shares a device takes out of what it learns at first (`learn.labels.calibration`), in
    millionths; 0: nothing."""


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of the protocol, by design section; durations in milliseconds, shares in millionths."""

    committee_size: Annotated[int, Between(1, MAX_COMMITTEE)] = 4
    """M, design 1."""
    places: Annotated[int, Between(1, MAX_PLACES)] = 6
    """k, the update blocks of a round, design 4; at least M."""
    small_community: bool = False
    """Allows M < 4 or N < M + 1: members of the committee then train too, design 4."""
    view_timeout: Annotated[Millis, Between(50, 3_600_000)] = Millis(1_250)
    """T0, design 6.7."""
    collect_deadline: Annotated[Millis, Between(100, 86_400_000)] = Millis(60_000)
    """Longest collection of a round, counted from storing the certificate, design 5.3."""
    score_rows: Annotated[int, Between(1, 2**20)] = 256
    """Rows that a member scores on, design 5.2."""
    score_noise: Annotated[int, Between(0, 1_000 * NOISE_UNIT)] = 0
    """Standard deviation of the noise in what a card says of its author's rows, in thousandths of the most by which one of them
    changes it (`ledger.trust.noise`); 0: none, and no bound. Design 5.3."""
    score_damping: Annotated[int, Between(1, 1024)] = 4
    """An update U is judged at base + U / score_damping, design 5."""
    score_margin: Annotated[MicroNats, Between(0, 10 * MILLION * MILLION)] = MicroNats(300_000)
    """What a packed update may cost where the model is always right; less where it is not, design 5: `disclosure.margin`."""
    norm_clip: Annotated[PartsPerMillion, Between(0, 64 * MILLION)] = PartsPerMillion(2 * MILLION)
    """An update counts as if its norm were at most this multiple of the usual one, in millionths, and a
    round's step is no longer than this multiple of what was usual before (`influence.step_limit`); 0: both as they are,
    design 5."""
    idle_weight: Annotated[PartsPerMillion, Between(0, MILLION)] = PartsPerMillion(500_000)
    """Where few updates are packed, those by which no more than f cards gain weigh together at most this part of what the others
    weigh, in millionths; 0: all that they are, design 5."""
    copy_likeness: Annotated[PartsPerMillion, Between(0, MILLION)] = PartsPerMillion(990_000)
    """Cosine, in millionths, from which on an update is a copy of an earlier one or of the last step; 0: none is. Design 5."""
    fresh_gains: bool = True
    """An update is measured without what it repeats of the last step, once the model is right more often than not, design 5.2."""
    balanced_gains: bool = True
    """A judge says the less of what its rows and its classes gain, these counting alike, design 5.2; with `score_noise` what its
    rows do."""
    odd_limit: Annotated[PartsPerMillion, Between(0, 1000 * MILLION)] = PartsPerMillion(0)
    """Offers that cost one class on a judge's rows more than the usual ones do, by this multiple of what those differ by, in
    millionths, are refused there (`ledger.trust.oddness`); 0: none is. Design 5."""
    score_rule: Annotated[str, Size(1, 16)] = "gain"
    """`gain` ranks by median paired loss gain; `accuracy` by the paper's median accuracy."""
    validation_fraction: Annotated[PartsPerMillion, Between(0, 900_000)] = PartsPerMillion(0)
    """Share of a node's rows that is never trained on; 0: it judges on all of its rows, as in the paper, design 5.2."""
    active_fraction: Annotated[PartsPerMillion, Between(1, MILLION)] = PartsPerMillion(MILLION)
    """Share of the nodes that train in a round, design 5.1."""
    aggregation: Annotated[str, Size(1, 16)] = "fedavg"
    """`fedavg` or `median` (coordinate-wise)."""
    election: Annotated[str, Size(1, 16)] = "random"
    """Which of the packed get the next seats, design 5: `score`, `random`, `top-half` or `multi-factor`."""
    reputation_rounds: Annotated[int, Between(0, 1024)] = 8
    """Over so many offers a member's gains are averaged; 0: what it offered before counts for nothing, design 5, Reputation."""
    reward_share: Annotated[PartsPerMillion, Between(0, MILLION)] = PartsPerMillion(1_000)
    """Share of the pool that is paid out after each aggregation, design 7."""
    last_round: Annotated[int, Between(0, 2**32)] = 0
    """The community stops at the model of this round; 0 goes on for ever."""
    sealed_cards: bool = True
    """A judge shows its card only once others are bound to theirs, so that none is copied, design 5.3."""
    late_serving: bool = False
    """Updates are given to judges only once offers are closed, so that nobody offers what a judge has passed on, design 5.2."""
    canary_share: Annotated[PartsPerMillion, Between(0, MILLION // 2)] = PartsPerMillion(0)
    """Share of the trainers that offer what harms, to find out who measures, design 5; 0: nobody does, since in
    small communities canaries cost more than they find (docs/measurements/judges.md)."""
    card_share: Annotated[PartsPerMillion, Between(0, MILLION)] = PartsPerMillion(100_000)
    """Share of a round's reward that is for its cards, design 7; the rest is for the packed."""
    doubts: Annotated[int, Between(0, 1)] = 0
    """1: judges whose words can't come from measuring lose seat and pay, design 5; 0: they don't."""


@dataclass(frozen=True, slots=True)
class Terms:
    """By which the community admits, puts out and is paid, design 7; durations in rounds. They begin as genesis says, in the
    ledger."""

    admission: Annotated[int, Between(1, MAX_COMMITTEE)] = 1
    """Managers that have to admit a member, if there are so many."""
    motion_rounds: Annotated[int, Between(1, 2**32)] = 1_000
    """A motion for which too few managers are is dropped after so many rounds."""
    application_rounds: Annotated[int, Between(1, 2**32)] = 1_000
    """An application is forgotten after so many rounds; who was refused can't apply again before."""
    entry_fee: Annotated[Amount, Between(0, 2**53)] = Amount(0)
    """Paid into the pool once, by who becomes a member; those of genesis are in (`ledger.alliance.fees`)."""
    period_fee: Annotated[Amount, Between(0, 2**53)] = Amount(0)
    """Paid into the pool for each period; the first one of who is a member from genesis is free."""
    period_rounds: Annotated[int, Between(1, 2**32)] = 1_000
    """What one payment is for."""
    deposit: Annotated[Amount, Between(0, 2**53)] = Amount(0)
    """What a member leaves with the community as long as it belongs to it: burnt when it lies or is put out."""
    deposit_rounds: Annotated[int, Between(1, 2**32)] = 100
    """Who has left gets its deposit back after so many rounds."""


LEAST_COMMITTEE: Final = 4
"""Seats of the smallest committee that survives a Byzantine member."""

MOST_BY_DEFAULT: Final = 20
"""Seats above which a default committee does not grow: a random draw from a community with 30 % adversaries then gives them the
majority once in 60 rounds, and the cost of judging and agreeing grows with every further seat (docs/measurements/rules.md).
"""

_DEFAULT_PART: Final = 5
"""A fifth of those at work judge: more would train too few, fewer refuse more honest updates (docs/measurements/rules.md)."""


def default_committee(at_work: int) -> int:
    """Seats for a community of which `at_work` members train or judge in a round."""
    return min(max(LEAST_COMMITTEE, at_work // _DEFAULT_PART), MOST_BY_DEFAULT)


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A payload's address: root over its chunk hashes, and its size in bytes."""

    root: Digest
    size: Annotated[int, Between(1, 2**34)]


@dataclass(frozen=True, slots=True)
class GenesisMember:
    """A member from the start: its id and its first balance."""

    node: NodeId
    balance: Annotated[Amount, Between(0, 2**53)]


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first facts of a chain; the chain id is the hash of its canonical encoding.

    `members` sorted by id; `committee` in seat order, all of them members; `managers` sorted, all of them members.
    """

    name: Name
    time: Annotated[Millis, Between(0, 2**53)]
    params: Params
    task: TaskSpec
    managers: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]
    members: Annotated[tuple[GenesisMember, ...], Size(1, MAX_MEMBERS)]
    committee: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]
    pool: Annotated[Amount, Between(0, 2**53)]
    model: BlobRef
    testnet: bool = False
    """Nothing of worth is learned here: nodes may play attacks (`bflcd.learn.attacks`)."""
    terms: Terms = Terms()


AGGREGATIONS: Final = ("fedavg", "median")
ELECTIONS: Final = ("score", "random", "top-half", "multi-factor")
SCORE_RULES: Final = ("gain", "accuracy")
DTYPES: Final = ("F32", "I64")


@dataclass(slots=True)
class _Complaints:
    """Collects every contradiction, so that the operator sees them all at once."""

    found: list[str] = field(default_factory=list)

    def check(self, holds: bool, text: str) -> None:
        if not holds:
            self.found.append(text)


def check_genesis(genesis: Genesis) -> None:
    """Raise UsageError naming every contradiction that field limits can't express (design 4)."""
    params, complaints = genesis.params, _Complaints()
    ids = tuple(member.node for member in genesis.members)
    m, n = params.committee_size, len(ids)
    complaints.check(ids == tuple(sorted(set(ids))), "members must be distinct and sorted by id")
    complaints.check(
        genesis.managers == tuple(sorted(set(genesis.managers))) and set(genesis.managers) <= set(ids),
        "managers must be distinct members, sorted by id",
    )
    complaints.check(
        len(set(genesis.committee)) == len(genesis.committee) == min(m, n) and set(genesis.committee) <= set(ids),
        f"the first committee must be {min(m, n)} distinct members",
    )
    complaints.check(
        params.small_community or (m >= 4 and n >= m + 1),
        f"{n} members with a committee of {m}: at least 4 seats and one member more than seats are needed, "
        "or set small_community, where members of the committee train too",
    )
    complaints.check(
        params.places >= m or params.small_community,
        f"places (k = {params.places}) must be at least committee_size (M = {m})",
    )
    complaints.check(params.aggregation in AGGREGATIONS, f"aggregation must be one of {', '.join(AGGREGATIONS)}")
    complaints.check(
        params.score_noise == 0 or params.score_noise >= LEAST_NOISE,
        f"score_noise is in thousandths of what one row changes: 0, or at least {LEAST_NOISE}; less bounds nothing",
    )
    complaints.check(
        not (params.odd_limit and params.score_noise),
        "odd_limit looks at single classes of a judge's rows, which score_noise does not blur: set one of the two to 0",
    )
    complaints.check(params.election in ELECTIONS, f"election must be one of {', '.join(ELECTIONS)}")
    complaints.check(params.score_rule in SCORE_RULES, f"score_rule must be one of {', '.join(SCORE_RULES)}")
    poorest, deposit = min((member.balance for member in genesis.members), default=0), genesis.terms.deposit
    complaints.check(poorest >= deposit, f"a member has {poorest} units, its deposit is {deposit}: raise its balance")
    names = tuple(tensor.name for tensor in genesis.task.tensors)
    complaints.check(names == tuple(sorted(set(names))), "tensors must have distinct names, sorted")
    complaints.check(all(t.dtype in DTYPES for t in genesis.task.tensors), f"tensor dtypes must be among {', '.join(DTYPES)}")
    keys = tuple(key for key, _ in genesis.task.options)
    complaints.check(keys == tuple(sorted(set(keys))), "task options must have distinct keys, sorted")
    if complaints.found:
        raise UsageError("the genesis contradicts itself: " + "; ".join(complaints.found), code="bad_genesis")
