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


class PrivacyView(Answer, frozen=True, kw_only=True):
    """By what this node's rows are told of."""

    training: TrainingPrivacy | None = None
    """Of its updates; null where it trains without privacy (`privacy.epsilon`)."""


class PrivacyClaimView(Answer, frozen=True, kw_only=True):
    """What a trainer claims in its offer: nobody can check it."""

    node_id: str
    epsilon: float
    delta_exponent: int
