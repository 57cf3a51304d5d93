"""Each rule of genesis in whole communities, in virtual time: what the members measure decides who judges next (paper IV-B)."""

from collections.abc import Iterator

import pytest

from bflcd.learn.health import WorkHealth
from bflcd.ledger.judgement import OfferJudgement
from bflcd.ledger.roles import lead_lot, seed_of, tie_break
from bflcd.ledger.state import State, genesis_header, genesis_state
from bflcd.ledger.transition import Outcome, validate_segment
from bflcd.node.views.members import members_view
from bflcd.node.views.round import round_view
from bflcd.params import ELECTIONS
from bflcd.types import Digest, NodeId
from tests.helpers.ledger import make_genesis
from tests.helpers.world import World

ROUNDS = 8
AWAY = 3
"""Index of the member that is away until the third round."""


def played(rule: str) -> tuple[World, list[tuple[State, Outcome]]]:
    """A world of fourteen in which one comes late and the updates of some are pulled faster, and what each round decided on what."""
    genesis, identities = make_genesis(14, 4, 10, election=rule)
    world = World(genesis, identities)
    nodes = list(world.identities)
    world.rate = lambda node: 100 + 50 * (nodes.index(node) % 5)
    late = nodes[-1]
    for node in nodes:
        if node != late:
            world.start(node)
    assert world.run_until(lambda: min(world.rounds()) >= AWAY, 60_000)
    world.start(late)
    world.catch_up(late)
    assert world.run_until(lambda: min(world.rounds()) >= ROUNDS, 120_000), world.notices[-20:]
    return world, list(decisions(world))


def decisions(world: World) -> Iterator[tuple[State, Outcome]]:
    """The ledger before each round, and what the round made of it."""
    params, header, state = world.genesis.params, genesis_header(world.genesis), genesis_state(world.genesis)
    segments = next(iter(world.disks.values())).segments
    for round_ in range(1, ROUNDS + 1):
        segment = segments[round_].segment
        outcome = validate_segment(params, state, header, segment, lambda _: True)
        yield state, outcome
        header, state = segment.model_header, outcome.state


def expected(rule: str, state: State, drawn: Digest, packed: tuple[OfferJudgement, ...]) -> list[NodeId]:
    """The packed in the order that the rule's words give them."""
    lots = {offer.uploader: tie_break(drawn, offer.uploader) for offer in packed}
    shares = {account.node: account.availability for account in state.accounts}
    scores, rates = ({o.uploader: value or 0 for o in packed for value in [pick(o)]} for pick in (_score, _rate))
    nodes = sorted(lots, key=lambda node: (-scores[node], lots[node]))
    if rule == "random":
        return sorted(nodes, key=lambda node: lots[node])
    if rule == "top-half":
        half = max(-(-len(nodes) // 2), 4)
        return sorted(nodes[:half], key=lambda node: lots[node]) + nodes[half:]
    if rule == "multi-factor":
        worse = {n: [sum(f[m] > f[n] for m in nodes) for f in (scores, rates, shares)] for n in nodes}
        return sorted(nodes, key=lambda n: (2 * worse[n][0] + worse[n][1] + worse[n][2], lots[n]))
    return nodes


def _score(offer: OfferJudgement) -> int | None:
    return offer.score


def _rate(offer: OfferJudgement) -> int | None:
    return offer.rate


@pytest.mark.parametrize("rule", ELECTIONS)
def test_a_community_elects_as_its_genesis_says(rule: str) -> None:
    """Given fourteen members, when they play eight rounds, then every committee is what the rule makes of the packed, and it is not
    always what another rule would have made; whatever the rule, it leads in the order that the round's own seed draws."""
    world, rounds = played(rule)
    seats = [
        {name: set(expected(name, state, seed_of(outcome.state), outcome.judgement.packed)[:4]) for name in ELECTIONS}
        for state, outcome in rounds
    ]
    assert [set(outcome.committee) for _, outcome in rounds] == [seat[rule] for seat in seats]
    for _, outcome in rounds:
        drawn = seed_of(outcome.state)
        assert list(outcome.committee) == sorted(outcome.committee, key=lambda node: lead_lot(drawn, node))
    assert not any(outcome.degraded for _, outcome in rounds)
    for other in set(ELECTIONS) - {rule}:
        assert any(seat[rule] != seat[other] for seat in seats), other
    assert world.blames == []


def test_the_ledger_knows_how_fast_each_update_came_and_who_was_there() -> None:
    """Given a member that comes after three rounds, then its availability is behind everybody else's, and every update has the
    rate at which the judges pulled it."""
    world, rounds = played("multi-factor")
    offers = [offer for _, outcome in rounds for offer in outcome.judgement.offers]
    assert [offer.rate for offer in offers] == [world.rate(offer.uploader) for offer in offers]
    shares = {account.node: account.availability for account in rounds[-1][1].state.accounts}
    late = shares.pop(list(world.identities)[-1])
    assert 0 < late < min(shares.values())
    assert max(shares.values()) < 1_000_000


def test_the_operator_sees_rate_and_availability() -> None:
    """Given a judged round, when a node is asked, then it shows shares of 0 to 1, and KiB/s as the judges measured them."""
    world, _ = played("multi-factor")
    core = next(iter(world.cores.values()))
    seen = core.snapshot(world.instant())
    accounts = core.context.state.accounts
    assert [member.availability for member in members_view(seen)] == [account.availability / 1_000_000 for account in accounts]
    decided = round_view(seen, WorkHealth(lambda: 0.0)).last_decision
    assert {row.uploader: row.rate for row in decided} == {
        row.uploader: world.rate(NodeId(bytes.fromhex(row.uploader))) for row in decided
    }
    assert decided
