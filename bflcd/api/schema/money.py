"""Who has what, who owes what, and who earned what from what."""

from bflcd.api.schema.answer import Answer


class LedgerMember(Answer, frozen=True, kw_only=True):
    """What a member, or who was one, has, and what it owes."""

    node_id: str
    balance: int
    deposit: int
    """Held by the community: burnt if it lies or is put out."""
    paid_round: int
    """The last round that it has paid for; -1 if it never paid."""
    owes: int
    """Units that are due now."""
    owes_text: str = ""
    """The same in words, empty if nothing is due."""
    price: int
    """Units that its next period costs."""
    left_out: bool
    """Whether the running round goes on without it because it owes."""
    standing: str
    """member, left, kicked or punished."""
    me: bool


class LedgerTerms(Answer, frozen=True, kw_only=True):
    """What the community asks for; durations in rounds."""

    entry_fee: int
    period_fee: int
    period_rounds: int
    deposit: int
    deposit_rounds: int
    reward_share: float
    """Share of the pool that is paid out after each aggregation."""


class LedgerView(Answer, frozen=True, kw_only=True):
    """All units that there are, and where: balances, deposits, pool and burnt sum to the supply."""

    round: int
    supply: int
    pool: int
    burnt: int
    balances: int
    deposits: int
    terms: LedgerTerms
    members: list[LedgerMember]
    """By id, former members too."""


class EarningsRow(Answer, frozen=True, kw_only=True):
    """What one committed round gave a member, or took from it, by its block."""

    round: int
    """Of the model block."""
    time: int
    node_id: str
    packed: bool
    """Whether an update of its was packed."""
    pay: int
    """For it, out of the pool."""
    taken: int
    """By transfers from others."""
    given: int
    """By transfers to others."""
    fees: int
    """That it paid into the pool, for itself or others."""
    deposits: int
    """That it left with the community, for itself or others."""
