"""The chain: committed rounds, models, and what pruning leaves of their payloads."""

from typing import Final

from msgspec import field

from bflcd.api.schema.answer import Answer
from bflcd.api.schema.privacy import PrivacyClaimView

MAX_HISTORY: Final = 1000
"""Rows of history in one answer."""


class HistoryRow(Answer, frozen=True, kw_only=True):
    """One committed model and the round that made it."""

    round: int
    """Of the model block: it closes round - 1."""
    height: int
    time: int
    packed: int
    places: int
    accuracy: float | None
    """Of the parent model, the base of the cards that closed the round: median."""
    worst: float | None = None
    """As `accuracy`, the lowest on any card, where the median hides it: the word of one judge, which one liar can make up."""
    worst_at: list[str] = field(default_factory=list)
    """Whose cards say `worst`."""
    worst_proven: float | None = None
    """The (f + 1)-th lowest: an honest judge found the model no better, if at most f lie; none of f words or fewer."""
    loss: float | None
    """As `accuracy`, in nats."""
    committee: list[str]
    """Who decided it."""
    not_judged: list[str] = field(default_factory=list)
    """Present by most cards, without a seat, and with no update on any: too late, at rest, not drawn, or not training."""
    claims: list[PrivacyClaimView] = field(default_factory=list)
    """What packed trainers claim of their rows' privacy, each for itself: nobody can check it."""
    degraded: bool
    rewards: int
    """Total paid out."""
    view: int
    """View in which it was decided."""
    rolled_back_to: int | None = None
    """The round whose model this is, where managers put it in the aggregate's place."""
    seconds: float
    """Since the model before."""
    hash: str


class PruneRequest(Answer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/prune: exactly one of `keep` (rounds, at least 1) and `to` (a height, at most the newest model's)."""

    keep: int | None = None
    to: int | None = None
    dry_run: bool = False


class PruneView(Answer, frozen=True, kw_only=True):
    """What a prune did, or would do."""

    dry_run: bool
    keep: int
    height: int
    """Last height whose payload may be gone; 0 if none is."""
    round: int
    """First round whose payloads stay."""
    blobs: int
    """Payloads that this prune removed, or would remove."""
    payload_bytes: int
    freed: int
    """Bytes returned to the disk; before a prune, about as many."""


class ModelView(Answer, frozen=True, kw_only=True):
    """What a model's payload is; travels beside its bytes."""

    round: int
    height: int
    root: str
    size: int
    block_hash: str
    accuracy: float | None = None
    chain_id: str = ""
    task: str = ""
    """What the genesis names."""
