"""Who holds the seats of the next round: by genesis' rule, and on whom to fall back when the packed are too few (design 5)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from bflcd.ledger.alliance.fees import in_arrears
from bflcd.ledger.roles import lead_lot, tie_break
from bflcd.ledger.state import HALF, NEVER, Account, State, is_member
from bflcd.ledger.trust.doubts import doubts_count, is_doubted
from bflcd.ledger.trust.reputation import repute_among
from bflcd.params import Params
from bflcd.registry import entry_of
from bflcd.types import Digest, MicroNats, NodeId, PartsPerMillion, Round


class Group(IntEnum):
    """In which order seats are filled: 2 to 7 of `elect`."""

    PACKED = 0
    """Present, packed in this round or lately enough for the community's rule, without a seat: by that rule. Or drawn
    (`says_nothing`)."""
    PACKED_BEFORE = 1
    """Present, packed in an earlier round, without a seat: latest round first, then score."""
    SEATED = 2
    """Present, holding a seat now: packed by score, packed before, never packed, as above and below."""
    OTHER = 3
    """Present, never packed, without a seat: longest without one first."""
    ABSENT = 4
    """Not present: managers first, then as above."""
    DOUBTED = 5
    """Thought to make up its words as a judge (`trust.doubts`), whatever else it is: as above, among themselves."""


@dataclass(frozen=True, slots=True)
class Merit:
    """What the cards say of a packed uploader: its score, and the rate in KiB/s at which its update was pulled."""

    score: MicroNats
    rate: int


@dataclass(frozen=True, slots=True)
class Election:
    """`committee` in the order in which seats were given; `degraded`: a seat went past the packed."""

    committee: tuple[NodeId, ...]
    degraded: bool


# -- the rules of genesis -----------------------------------------------------------------------------------------------------

SCORE_WEIGHT: Final = 2
"""As much as both other factors together: who is last by score and first by both is at best level with its opposite."""

RATE_WEIGHT: Final = 1
"""Who is slow is fetched from for longer by every member of the committee, in each round."""

AVAILABILITY_WEIGHT: Final = 1
"""An absent seat brings its committee nearer to standing still."""


@dataclass(frozen=True, slots=True)
class SeatCandidate:
    """A member of the first group. `availability`: after this round; `lot`: what the round's seed draws, lower first."""

    node: NodeId
    merit: Merit
    availability: PartsPerMillion
    lot: Digest


@dataclass(frozen=True, slots=True)
class Rule:
    """`order`: of candidates, in which they get seats; the number is that of the seats. `memory`: rounds since a candidate was
    packed, at most; 0: in this one."""

    order: Callable[[Sequence[SeatCandidate], int], list[SeatCandidate]]
    memory: int = 0


DRAWN_FROM: Final = 16
"""Rounds from whose packed the random election draws. From one round's alone, adversaries who once hold a majority and
pack nobody else would hold all seats for good (docs/measurements/rules.md)."""


UNPROVEN_ROUNDS: Final = 2
"""Rounds after which half of those who offer have to have been packed, or being packed says nothing: the first committee is
nobody's choice, and may be the adversaries'. A young model alone leaves as many out, but not for long."""

FAILED_ROUNDS: Final = 8
"""Committees in which who let a view fail leads last: more than drawing once more gains in leads (docs/measurements/seed.md).
A seat it does not cost: whoever holds more than f could take honest leaders' seats that way (ADR 16)."""


def by_score(candidates: Sequence[SeatCandidate], _seats: int) -> list[SeatCandidate]:
    """Best score first (paper IV-B, election by score); ties by lot."""
    return sorted(candidates, key=lambda one: (-one.merit.score, one.lot))


def by_lot(candidates: Sequence[SeatCandidate], _seats: int) -> list[SeatCandidate]:
    """Drawn, whatever the score (paper IV-B, random election)."""
    return sorted(candidates, key=lambda one: one.lot)


def by_lot_of_the_better_half(candidates: Sequence[SeatCandidate], seats: int) -> list[SeatCandidate]:
    """The better half by score, and no fewer than there are seats, is drawn, the others follow by score: between the paper's two,
    of which one keeps adversaries out and the other lets more data validate (IV-B)."""
    ranked = by_score(candidates, seats)
    standing = max((len(ranked) + 1) // 2, seats)
    return by_lot(ranked[:standing], seats) + ranked[standing:]


def by_factors(candidates: Sequence[SeatCandidate], _seats: int) -> list[SeatCandidate]:
    """Lowest sum of weighted positions by score, transfer rate and availability (paper IV-B, multi-factor optimization; the last
    is design 5's); ties by lot."""
    score = _positions([one.merit.score for one in candidates])
    rate = _positions([one.merit.rate for one in candidates])
    presence = _positions([one.availability for one in candidates])

    def place(one: SeatCandidate) -> tuple[int, Digest]:
        weighted = SCORE_WEIGHT * score[one.merit.score] + RATE_WEIGHT * rate[one.merit.rate]
        return weighted + AVAILABILITY_WEIGHT * presence[one.availability], one.lot

    return sorted(candidates, key=place)


def _positions(values: Sequence[int]) -> dict[int, int]:
    """By value, how many are better, which is higher: 0 for the best, and equal ones share a position."""
    return {value: len(values) - count for count, value in enumerate(sorted(values), 1)}


RULES: Final[Mapping[str, Rule]] = {
    "score": Rule(by_score),
    "random": Rule(by_lot, DRAWN_FROM),
    "top-half": Rule(by_lot_of_the_better_half),
    "multi-factor": Rule(by_factors),
}
"""By the names of `bflcd.params.ELECTIONS`."""


# -- all seats ----------------------------------------------------------------------------------------------------------------

_Rank = tuple[int, ...]


def may_sit(account: Account, present: frozenset[NodeId]) -> bool:
    """Whether a member counts among those that seats are for: still one, no proven liar, not declared gone while it is."""
    if account.punished_round != NEVER or not is_member(account):
        return False
    return account.retired_round == NEVER or account.node in present


def elect(
    params: Params,
    state: State,
    packed: Mapping[NodeId, Merit],
    present: frozenset[NodeId],
    seed: Digest,
) -> Election:
    """Fill min(M, members that may sit) seats for round t + 1.

    `state`: the ledger after the round's learning and its operations, before anything of round t + 1. `packed`: merit by
    uploader; `present`: on f + 1 of the q cards; `seed`: of round t + 1.

    1. Only members that may sit count (`may_sit`), and that are not left out of round t + 1 because they owe (`alliance.fees`).
    2. First come the present without a seat that were packed in this round, or lately enough for genesis' rule: those in good
       repute among them, who have no refusal to make up for, then the others, each by that rule. Where being packed says nothing
       (`says_nothing`), all of them that offer are drawn.
    3. Then the present without a seat that were packed before: a round that packs nothing forgets no merit.
    4. Then the present that hold a seat now: nobody judges twice in a row while anybody else has shown what its work is worth,
       but the committee stays rather than make room for somebody of whom nobody has judged anything.
    5. Then the present that were never packed.
    6. Then the absent: a seat that is not there brings its committee nearer to standing still. Who was never present, as one
       that only follows, comes last of all.
    7. Then those whose words as judges are thought to be made up: so no doubt, however wrong, makes a committee smaller.
    8. Ties go by the seed of the round that the seats are for, which nobody could foresee when it chose its id.
    """
    seated, managers = frozenset(state.committee), frozenset(state.managers)
    # 1. Who may sit.
    late = in_arrears(state, Round(state.round + 1))
    sitting = [account for account in state.accounts if may_sit(account, present) and account.node not in late]
    # 2. Packed in this round or lately: genesis' rule orders them.
    drawn = says_nothing(state, sitting, packed)
    elected = _drawn(state, sitting, present, seed) if drawn else _by_rule(params, state, sitting, packed, present, seed=seed)
    good = repute_among(account.reputation for account in sitting if account.node in elected).good
    ranks: list[tuple[_Rank, bytes, NodeId]] = []
    for account in sitting:
        node = account.node
        standing = _standing(account, packed.get(node))
        if node in elected:
            low = not drawn and not seated_first(params, account, good)
            rank: _Rank = (Group.PACKED, low, elected[node])
        elif node in seated:
            # 4. The present committee, among themselves as 2, 3 and 5.
            rank = (Group.SEATED, *standing)
        else:
            # 3. and 5. Packed before, never packed.
            rank = standing
        if node not in present:
            # 6. The absent, who was never present last, managers first, then in the order of those present.
            rank = (Group.ABSENT, account.availability == 0, node not in managers, *rank)
        if doubts_count(params) and is_doubted(account):
            # 7. The doubted.
            rank = (Group.DOUBTED, *rank)
        # 8. Ties.
        ranks.append((rank, tie_break(seed, node), node))
    ranks.sort()
    seats = ranks[: params.committee_size]
    return Election(tuple(node for _, _, node in seats), drawn or any(rank[0] > Group.PACKED for rank, _, _ in seats))


def seat_floor(params: Params, state: State) -> MicroNats:
    """The reputation from which on seats would be given first, if `state.round`, which `state` opens, packed nobody anew.

    Half the middle of those that may sit, hold no seat and were packed within the rule's memory, at least in the round before
    (`elect`, 2). Everybody counts as present, since only cards say who is.
    """
    everybody = frozenset(account.node for account in state.accounts)
    memory = max(entry_of(RULES, params.election, "election").memory, 1)
    others = in_arrears(state, Round(state.round + 1)) | frozenset(state.committee)
    return repute_among(
        account.reputation
        for account in state.accounts
        if may_sit(account, everybody) and account.node not in others and _lately(account, state, memory) is not None
    ).good


def seated_first(params: Params, account: Account, floor: MicroNats) -> bool:
    """Whether a member that was packed lately is seated before others that were; `floor`: of reputation (`seat_floor`)."""
    return params.reputation_rounds == 0 or (account.reputation >= floor and account.refusals == 0)


def lead_order(state: State, committee: Sequence[NodeId], seed: Digest) -> tuple[NodeId, ...]:
    """The committee of round t + 1 in the order in which it leads: drawn by `seed`, that round's, whatever is on any card.

    Who has let a view fail lately leads after all others: it may have done so to have the committee drawn once more. `state`: as
    in `elect`.
    """
    failed = {account.node for account in state.accounts if has_failed(account, state.round)}
    return tuple(sorted(committee, key=lambda node: (node in failed, lead_lot(seed, node))))


def has_failed(account: Account, round_: Round) -> bool:
    """Whether a member led a view that failed in round `round_` or one of the last before it."""
    return account.failed_round != NEVER and round_ - account.failed_round < FAILED_ROUNDS


def says_nothing(state: State, sitting: Sequence[Account], packed: Mapping[NodeId, Merit]) -> bool:
    """Whether fewer than half of those who offer, of the members that may sit, were ever packed, UNPROVEN_ROUNDS after genesis.

    Such committees choose their successors by whom they don't pack: adversaries who pack each other alone, or nobody, would keep
    all seats for good.
    """
    packers = [account.packed_round != NEVER or account.node in packed for account in sitting if _offers(account)]
    return state.round >= UNPROVEN_ROUNDS and 2 * sum(packers) < len(packers)


def _offers(account: Account) -> bool:
    """Whether more of its offers have come than have not, lately."""
    return account.offering > HALF


def _drawn(state: State, sitting: Sequence[Account], present: frozenset[NodeId], seed: Digest) -> dict[NodeId, int]:
    """Places of the present that offer and hold no seat, by lot."""
    there = [account.node for account in sitting if account.node in present and _offers(account)]
    free = sorted(set(there) - set(state.committee), key=lambda node: tie_break(seed, node))
    return {node: place for place, node in enumerate(free)}


def _by_rule(
    params: Params,
    state: State,
    sitting: Sequence[Account],
    packed: Mapping[NodeId, Merit],
    present: frozenset[NodeId],
    *,
    seed: Digest,
) -> dict[NodeId, int]:
    """Places of the first group by genesis' rule, 0 for the first."""
    seated = frozenset(state.committee)
    rule = entry_of(RULES, params.election, "election")
    candidates = [
        SeatCandidate(account.node, merit, account.availability, tie_break(seed, account.node))
        for account in sitting
        if account.node in present
        and account.node not in seated
        and (merit := packed.get(account.node) or _lately(account, state, rule.memory)) is not None
    ]
    return {one.node: place for place, one in enumerate(rule.order(candidates, params.committee_size))}


def _lately(account: Account, state: State, memory: int) -> Merit | None:
    """The merit of who was packed in one of the last `memory` rounds before this."""
    if account.packed_round == NEVER or state.round - account.packed_round > memory:
        return None
    return Merit(account.packed_score, 0)


def _standing(account: Account, merit: Merit | None) -> _Rank:
    """Lower is better: packed by score, packed before by round and score, others by their last seat (NEVER is lowest)."""
    if merit is not None:
        return (Group.PACKED, -merit.score, 0)
    if account.packed_round != NEVER:
        return (Group.PACKED_BEFORE, -account.packed_round, -account.packed_score)
    return (Group.OTHER, account.seat_round, 0)
