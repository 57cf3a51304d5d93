"""The running round: offers, cards, votes, and what the last one decided."""

from msgspec import field

from bflcd.api.schema.answer import Answer
from bflcd.api.schema.privacy import PrivacyClaimView
from bflcd.api.schema.status import Activity


class OfferView(Answer, frozen=True, kw_only=True):
    """One offer of the running round."""

    uploader: str
    samples: int
    size: int
    """Bytes of the update."""
    have: bool
    """Its payload is held here."""
    scored: bool
    claim: PrivacyClaimView | None = None
    """What its author says of its rows' privacy, if it does: nobody can check it."""


class CardView(Answer, frozen=True, kw_only=True):
    """One score card of the running round."""

    member: str
    entries: int
    mine: bool


class VotesView(Answer, frozen=True, kw_only=True):
    """Who has voted in the current view of the running round."""

    prepare: list[str] = field(default_factory=list)
    commit: list[str] = field(default_factory=list)
    view_change: list[str] = field(default_factory=list)


class DecisionRow(Answer, frozen=True, kw_only=True):
    """What the last closed round decided about one offer."""

    uploader: str
    score: int | None
    """Micro-nats, or parts per million where the accuracy ranks."""
    gain: int | None
    """Median paired loss gain, micro-nats."""
    accuracy: float | None
    norm: float | None
    rate: int | None
    """Median KiB/s at which the committee pulled it; 0 where most did not measure it."""
    weight: int
    """Weight in the aggregate; 0 if not packed."""
    packed: bool
    reason: str
    """Why it is not packed: score, norm, support, place; empty if it is."""


class RoundView(Answer, frozen=True, kw_only=True):
    """The running round from the inside."""

    round: int
    view: int
    phase: Activity
    leader: str
    started_ms_ago: int
    deadline_ms: int | None
    """Milliseconds until the collection of this round ends at the latest; none when it has ended."""
    view_timeout_ms: int
    """T0 of this round: what the community has set, as often doubled as it has needed."""
    collect_deadline_ms: int
    """How long this round waits for a first offer, likewise."""
    offers: list[OfferView]
    cards: list[CardView]
    votes: VotesView
    missing: list[str]
    """Nodes that something is awaited from."""
    waiting_for: str
    last_decision: list[DecisionRow]
