"""What liars gain who steer the draws: `python -m tests.bench.grinding [--runs N]` prints the table of docs/measurements/seed.md.

A community of members that are all packed in each round, so that nothing but the draws decides who sits and who leads. Elections,
orders of leaders, lots and what a failed view costs are the ledger's own functions; what a key says of a lot stands in as a hash
with the key's secret, which is as unforeseeable. Liars share all their keys: where they lead they know what they would draw, and
what follows as long as they lead on. A liar that leads proposes, or lets its view fail, so that the next leader's draw counts.
Which is better it judges by the next rounds, as far as they are known, and by what is expected of the first that is not.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import comb, sqrt
from statistics import fmean, stdev

from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.ledger.accounts import failed_before
from bflcd.ledger.election import Merit, elect, has_failed, lead_order
from bflcd.ledger.lot import first_lot, lot_after, lot_input
from bflcd.ledger.quorum import faults
from bflcd.ledger.roles import seed
from bflcd.ledger.state import NEVER, Account, State
from bflcd.params import Params
from bflcd.types import Amount, Digest, Epoch, MicroNats, Millis, NodeId, Round, View

ROUNDS = 300
TRIES = 32
"""Values of the time that a liar tries under the rule before, in which the seed followed from the block: fewer than it had."""


@dataclass(frozen=True)
class Place:
    """A community: so many members, seats and liars."""

    members: int
    seats: int
    liars: int

    def __str__(self) -> str:
        return f"{self.liars} of {self.members}, {self.seats} seats"


PLACES = (Place(12, 4, 3), Place(12, 7, 3), Place(20, 4, 4), Place(20, 7, 4), Place(5, 4, 1))
"""Those of the target, with the smallest committee that survives a liar and one twice as large; and one without spare members."""


@dataclass(frozen=True)
class Strategy:
    """What liars do where they lead. `wants`: seats, leads or captured (rounds), nothing for honest ones; `cost`: what a failed
    view counts; `depth`: rounds looked ahead; `tries`: draws to choose from, as under the rule before; `blocks`: with more than f
    seats they also let the views of honest leaders fail."""

    wants: str = ""
    cost: float = 0.0
    depth: int = 1
    tries: int = 1
    blocks: bool = False

    def __str__(self) -> str:
        if self.tries > 1:
            return f"the rule before: best of {self.tries} draws for {self.wants}"
        if self.blocks:
            return "with more than f seats: let every honest leader's view fail"
        return f"let a view fail for more {self.wants}; {self.depth} rounds ahead, a failure counts {self.cost:g}"


HONEST = Strategy()
BEFORE = tuple(Strategy(wants, tries=TRIES) for wants in ("seats", "leads"))
BLOCKING = Strategy(blocks=True)
STRATEGIES = (
    Strategy("seats"),
    Strategy("seats", 0.0, 3),
    Strategy("seats", 0.5, 3),
    Strategy("leads"),
    Strategy("leads", 0.2, 3),
    Strategy("leads", 0.5, 3),
    Strategy("leads", 1.0, 3),
    Strategy("captured", 0.0, 3),
    Strategy("captured", 0.2, 3),
)


@dataclass(frozen=True)
class Shares:
    """Of a run's rounds: liars' share of the seats, of the deciding proposals, of first leaders; rounds with more than f seats."""

    seats: float
    leads: float
    first: float
    captured: float


class Community:
    """The ledger of one run as far as draws go. Round 0 is opened by a committee drawn like all others."""

    def __init__(self, place: Place, run: int) -> None:
        self.place = place
        self.params = Params(committee_size=place.seats, election="random", small_community=True)
        self._secret = digest(Domain.CONFIG, b"grinding", integer(run))
        nodes = sorted(NodeId(digest(Domain.CONFIG, self._secret, integer(number))) for number in range(place.members))
        self.liars = frozenset(sorted(nodes, key=lambda node: digest(Domain.TIE, self._secret, node))[: place.liars])
        self.everybody = frozenset(nodes)
        self._packed = {node: Merit(MicroNats(1), 1) for node in nodes}
        accounts = tuple(Account(node, Amount(0), 0, MicroNats(1), NEVER) for node in nodes)
        chain = digest(Domain.CHAIN, self._secret)
        empty = State(chain, Round(0), Epoch(0), Millis(0), (), (), first_lot(chain), accounts, Amount(0), Amount(0), Amount(0))
        self.start = self.after(empty, View(0), empty.lot)

    def drawn(self, state: State, node: NodeId, attempt: int = 0) -> Digest:
        """The lot after this round if `node` proposes; `attempt` is 0 but under the rule before."""
        said = digest(Domain.PRIVATE, self._secret, node, lot_input(state.chain, state.round, state.lot), integer(attempt))
        return lot_after(state.lot, said)

    def after(self, state: State, view: View, lot: Digest) -> State:
        """The ledger after a round that was decided by a proposal of `view`."""
        failed = failed_before(state.committee, view) if view else frozenset()
        accounts = (
            replace(a, packed_round=state.round, failed_round=state.round if a.node in failed else a.failed_round)
            for a in state.accounts
        )
        learned = replace(state, accounts=tuple(accounts))
        drawn = seed(state.chain, Round(state.round + 1), lot)
        elected = elect(self.params, learned, self._packed, self.everybody, drawn).committee
        committee = lead_order(learned, elected, drawn)
        return replace(learned, committee=committee, round=Round(state.round + 1), lot=lot)

    def worth(self, wants: str, state: State) -> float:
        """What the committee of a round is worth to liars, over what one drawn from all members would be."""
        held = sum(node in self.liars for node in state.committee)
        values = {"seats": held, "leads": state.committee[0] in self.liars, "captured": held > faults(self.place.seats)}
        return values[wants] - self._mean(wants, self.place.liars, self.place.members)

    def expected(self, wants: str, state: State) -> float:
        """The same of the next committee, as long as its draw is unknown."""
        able = self.everybody - set(state.committee)
        able = able if len(able) >= self.place.seats else self.everybody
        if wants == "leads":
            failed = {account.node for account in state.accounts if has_failed(account, state.round)}
            able = (able - failed) or able
        ours = self._mean(wants, len(able & self.liars), len(able))
        return ours - self._mean(wants, self.place.liars, self.place.members)

    def _mean(self, wants: str, liars: int, members: int) -> float:
        """What a committee drawn from so many members is worth in the mean."""
        seats = self.place.seats
        if wants == "captured":
            above = range(faults(seats) + 1, min(seats, liars) + 1)
            return sum(comb(liars, x) * comb(members - liars, seats - x) for x in above) / comb(members, seats)
        return liars / members * (seats if wants == "seats" else 1)


def best(community: Community, strategy: Strategy, state: State, view: View, depth: int) -> tuple[float, bool]:
    """What liars expect of a round that stands in `view`, and whether the view's leader had better let it fail.

    Counted are the next committee, as drawn or expected, and what is expected of the first one after those that are known.
    """
    if view >= len(state.committee) or state.committee[view] not in community.liars:
        return community.expected(strategy.wants, state), False
    wait, _ = best(community, strategy, state, View(view + 1), depth)
    following = community.after(state, view, community.drawn(state, state.committee[view]))
    speak = community.worth(strategy.wants, following)
    if depth > 1 and following.committee[0] in community.liars:
        speak += best(community, strategy, following, View(0), depth - 1)[0]
    else:
        speak += community.expected(strategy.wants, following)
    return max((speak, False), (wait - strategy.cost, True), key=lambda option: option[0])


def decided(community: Community, strategy: Strategy, state: State) -> tuple[View, Digest]:
    """In which view of a round the deciding proposal is made, and the lot after it."""
    view = View(0)
    while _fails(community, strategy, state, view):
        view = View(view + 1)
    proposer = state.committee[view]
    tries = strategy.tries if proposer in community.liars else 1
    lots = [community.drawn(state, proposer, attempt) for attempt in range(tries)]
    if len(lots) == 1:
        return view, lots[0]
    return view, max(lots, key=lambda lot: community.worth(strategy.wants, community.after(state, view, lot)))


def _fails(community: Community, strategy: Strategy, state: State, view: View) -> bool:
    if strategy.blocks:
        held = sum(node in community.liars for node in state.committee)
        return held > faults(community.place.seats) and state.committee[view] not in community.liars
    return bool(strategy.wants) and strategy.tries == 1 and best(community, strategy, state, view, strategy.depth)[1]


def play(place: Place, strategy: Strategy, run: int, rounds: int = ROUNDS) -> Shares:
    """One run."""
    community = Community(place, run)
    state, counts = community.start, [0, 0, 0, 0]
    for _ in range(rounds):
        view, lot = decided(community, strategy, state)
        held = sum(node in community.liars for node in state.committee)
        counts[0] += held
        counts[1] += state.committee[view] in community.liars
        counts[2] += state.committee[0] in community.liars
        counts[3] += held > faults(place.seats)
        state = community.after(state, view, lot)
    return Shares(counts[0] / rounds / place.seats, *(count / rounds for count in counts[1:]))


@dataclass(frozen=True)
class Figure:
    """A mean with half the width of its interval of 95 %."""

    value: float
    half: float

    def over(self, other: "Figure") -> "Figure":
        """The ratio of two means that were measured apart."""
        ratio = self.value / other.value
        return Figure(ratio, ratio * sqrt((self.half / self.value) ** 2 + (other.half / other.value) ** 2))

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.half:.3f}"


def figure(values: list[float]) -> Figure:
    """Mean of independent runs."""
    return Figure(fmean(values), 1.96 * stdev(values) / sqrt(len(values)))


def measured(place: Place, strategy: Strategy, runs: int, rounds: int = ROUNDS) -> dict[str, Figure]:
    """All four shares over so many runs."""
    found = [play(place, strategy, run, rounds) for run in range(runs)]
    return {name: figure([getattr(shares, name) for shares in found]) for name in Shares.__dataclass_fields__}


def rows(places: tuple[Place, ...], runs: int) -> Iterator[str]:
    """A table's lines: shares of honest liars, then for each strategy what it gets over that."""
    yield "| community | what the liars do | seats | leads | first leaders | more than f seats |"
    yield "|---|---|---|---|---|---|"
    for place in places:
        fair = measured(place, HONEST, 4 * runs)
        yield f"| {place} | nothing: their shares | " + " | ".join(str(fair[name]) for name in fair) + " |"
        for strategy in (*BEFORE, *STRATEGIES, BLOCKING):
            found = measured(place, strategy, max(runs // 10, 2) if strategy.tries > 1 else runs)
            ratios = (str(found[name].over(fair[name])) if fair[name].value else "-" for name in fair)
            yield f"| | {strategy} | " + " | ".join(ratios) + " |"


def main(arguments: list[str]) -> int:
    """Print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="runs of 300 rounds for each strategy (40)")
    parser.add_argument("--place", type=int, action="append", help="only this one of the communities, by its number from 0")
    options = parser.parse_args(arguments)
    places = PLACES if options.place is None else tuple(PLACES[number] for number in options.place)
    for line in rows(places, options.runs):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
