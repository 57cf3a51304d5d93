"""What a node's answers and updates tell of its rows, and may tell."""

from bflcd.api.schema.answer import Answer


class TrainingPrivacy(Answer, frozen=True, kw_only=True):
    """The budget of this node's updates. What is not known before the worker has counted its rows is null."""

    epsilon: float
    """What all updates together may tell of a row."""
    spent: float
    """What they have told, rounded up to thousandths."""
    delta_exponent: int
    """Both at a delta of 10^-delta_exponent."""
    updates: int
    """Noisy updates that were made."""
    updates_left: int | None
    """How many more the budget allows, made as the next one; 2^20 stands for that many or more."""
    stopped: bool
    """Whether it is spent, so that nothing is trained."""
    clip: float | None
    """L2 norm of a row's gradient, at most."""
    noise: float | None
    """Deviation of the noise on each coordinate of a step's sum, in clips."""
    sampling: float | None
    """With what probability a step looks at a row."""
    steps: int | None
    """Noisy steps of one update."""
    accountant: str


class JudgingPrivacy(Answer, frozen=True, kw_only=True):
    """What this node's score cards tell of a single one of its rows at most: epsilon at `delta`; null where nothing bounds it."""

    mechanism: str
    """In words: the noise, the rows, what is composed."""
    delta: float
    """From the configuration: privacy.judging_delta."""
    noise: float
    """Standard deviation, in what one row changes an answer by; 0: none."""
    card: float | None
    """Of one card that answers all trainers of the running round once; null also before this node has measured on its rows."""
    life: float | None
    """Of a hundred such cards together."""
    cards: int
    """Cards of this node that said something of its rows, over its life."""
    answers: int
    """Numbers on them."""
    spent: float | None
    """Of all these cards together."""
    budget: float | None
    """The most that `spent` may come to, from the configuration; null: there is none."""
    left: float | None
    """Of the budget."""


class PrivacyView(Answer, frozen=True, kw_only=True):
    """By what this node's rows are told of."""

    training: TrainingPrivacy | None = None
    """Of its updates; null where it trains without privacy (`privacy.epsilon`)."""
    judging: JudgingPrivacy | None = None
    """Of its score cards."""


class PrivacyClaimView(Answer, frozen=True, kw_only=True):
    """What a trainer claims in its offer: nobody can check it."""

    node_id: str
    epsilon: float
    delta_exponent: int
