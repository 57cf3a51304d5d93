"""The function of a round with a thousand members: from the cards to the ledger after it, beside writing that ledger and hashing it."""

import time
from typing import Any

from bflcd.ledger.state import state_hash
from bflcd.ledger.transition import decide
from bflcd.params import default_committee
from tests.helpers.ledger import by_digest, make_cards, make_community, make_draw, make_offer

MEMBERS = 1_000
REPEATS = 30


def run() -> dict[str, Any]:
    """One row: CPU milliseconds of both, medians; every member is present, and two for each seat have offered."""
    seats = default_committee(MEMBERS)
    community = make_community(MEMBERS, seats, 2 * seats)
    offers = by_digest([make_offer(community, trainer) for trainer in community.outsiders[: 2 * seats]])
    cards = make_cards(community, {offer: [1000] * community.q for offer in offers}, offers)
    draw, at = make_draw(community), community.state.time + 1000
    values, floors = [], []
    for _ in range(REPEATS):
        begun = time.process_time()
        outcome = decide(community.params, community.state, community.head, cards, offers, draw=draw, time=at)
        values.append(time.process_time() - begun)
        begun = time.process_time()
        state_hash(outcome.state)
        floors.append(time.process_time() - begun)
    value, floor = sorted(values)[REPEATS // 2] * 1e3, sorted(floors)[REPEATS // 2] * 1e3
    return {
        "row": f"the function of a round, {MEMBERS:,} members and {seats} seats, ms (CPU)",
        "value": round(value, 1),
        "floor": round(floor, 1),
        "floor_is": "the ledger's encoding and its hash",
        "ratio": round(value / floor, 2),
        "budget": "<= 20 ms",
    }
