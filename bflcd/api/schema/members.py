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
    """What weighs most of what the ledger holds against it. punished: it was proved to have lied, and neither trains nor judges
    any more; retired: managers declared it gone, and it gets no seat until it is seen again; owes: it takes no part until what it
    owes is paid; doubted: its words as a judge are thought to be made up, and it sits out; resting: its offers did harm, and it
    may not offer for some rounds; in debt: its offers are judged and not packed until they have made up for the harm that they
    did; member: nothing."""
    reputation: int = 0
    """Moving average of what its offers were worth, in micro-nats; 0 of who has offered nothing."""
    in_debt: bool = False
    """Its reputation is below 0: its offers are judged and not packed until gains have paid that, unless most are in debt."""
    refusals: int = 0
    """Offers that did harm and are not made up for by packed ones; the fourth and each further one brings a rest."""
    rest_until: int = -1
    """The round in which it may offer again, if it rests now; else -1."""
    doubt: float = 0.0
    """That its words as a judge come from measuring, as a share of the limit; at 1 or more it is doubted."""
    sits_out_until: int = -1
    """The first round for which it may be seated as others are again, if doubt keeps it from that now; else -1. In a community
    whose `doubts` are off, or whose judges add noise, doubt keeps nobody."""
    seat_floor: int = 0
    """Reputation, in micro-nats, from which on seats are given first, by the ledger as it stands; the same of all members."""
    seated_first: bool = True
    """Its reputation is no lower than that and it has no refusals: once packed, it is seated before those of whom that is not
    so."""
