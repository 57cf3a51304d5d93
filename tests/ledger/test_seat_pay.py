"""docs/incentives.md: what a seat is worth beside an update, by the ledger's own rounds, and what a doubted judge earns."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bflcd.ledger.state import MAX_DOUBT, account_of, with_accounts
from bflcd.setup.genesis_plan import fair_card_share
from tests.helpers.ledger import make_community, play_gains

DOCUMENT = (Path(__file__).parents[2] / "docs" / "incentives.md").read_text()
ROUNDS = 120
LITTLE = 100_000
"""Millionths of a reward: the default."""


@cache
def shares(members: int, places: int, card_share: int, *, doubted: bool) -> tuple[float, float]:
    """Of all pay of `ROUNDS` rounds in which every update gains alike: what the first member has, and one other on average."""
    community = make_community(members, 4, places, card_share=card_share, doubts=1, election="random")
    one, paid = community.members[0], dict.fromkeys(community.members, 0)
    for _ in range(ROUNDS):
        if doubted:
            account = account_of(community.state, one)
            assert account is not None
            community = replace(community, state=with_accounts(community.state, replace(account, doubt=MAX_DOUBT)))
        played = play_gains(community, dict.fromkeys(community.outsiders, 1_000))
        for node, amount in played.outcome.rewards:
            paid[node] += amount
        community = played.after
    total = sum(paid.values())
    return paid[one] / total, (total - paid[one]) / total / (members - 1)


def row(members: int, places: int, card_share: int) -> str:
    """A line of the document's table, of a doubted member beside the others."""
    mine, others = shares(members, places, card_share, doubted=True)
    return f"| {members} | {places} | {card_share:,} | {100 * mine:.1f} | {100 * others:.1f} | {mine / others:.2f} |"


SIZES = [(10, 6), (8, 4)]


@pytest.mark.parametrize(("members", "places"), SIZES)
def test_every_line_of_the_table_is_what_the_ledger_gives(members: int, places: int) -> None:
    fair = fair_card_share(make_community(members, 4, places).params)
    lines = [row(members, places, share) for share in (LITTLE, fair)]
    assert [line for line in lines if line not in DOCUMENT] == []


@pytest.mark.parametrize(("members", "places"), SIZES)
def test_a_lost_seat_pays_by_little_for_cards_and_nothing_by_the_fair_share(members: int, places: int) -> None:
    """Given a tenth for cards, then who is doubted and trains has half as much again as others, or more; by M / (M + k) as much as they."""
    fair = fair_card_share(make_community(members, 4, places).params)
    mine, others = shares(members, places, LITTLE, doubted=True)
    assert mine > 1.4 * others
    mine, others = shares(members, places, fair, doubted=True)
    assert mine == pytest.approx(others, rel=0.05)
    mine, others = shares(members, places, LITTLE, doubted=False)
    assert mine == pytest.approx(others, rel=0.25), "by lot"
