"""The committee of the running round, and the ledger's accounts."""

from bflcd.api.schema.answer import Answer


class CommitteeMember(Answer, frozen=True, kw_only=True):
    """One seat of the running round."""

    node_id: str
    seat: int
    leader: bool
    present: bool
    balance: int
    me: bool


class CommitteeView(Answer, frozen=True, kw_only=True):
    """The committee of the running round, in seat order."""

    round: int
    epoch: int
    quorum: int
    faults: int
    """f: how many members may be Byzantine."""
    degraded: bool
    """A seat went past the packed uploaders."""
    members: list[CommitteeMember]


class MemberView(Answer, frozen=True, kw_only=True):
    """One member of the alliance, from the ledger."""

    node_id: str
    balance: int
    packed_round: int
    """Last round in which an update of its was packed; -1 if never."""
    packed_score: int
    seat_round: int
    """Last round in which it held a seat; -1 if never."""
    availability: float
    """Share of the rounds in which it was seen, the last ones weighing most."""
    present: bool
    manager: bool
    me: bool
    standing: str = "member"
    """member; punished: it was proved to have lied, and neither trains nor judges any more; retired: managers declared it gone,
    and it gets no seat until it is seen again; owes: it takes no part until what it owes is paid; resting: its offers did harm,
    and it may not offer for some rounds."""
