"""What gets out of a node's rows by what it says, as bounds."""

from bflcd.api.schema.answer import Answer


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
    """The bounds of this node; null where there are none to tell."""

    training: None
    judging: JudgingPrivacy | None
