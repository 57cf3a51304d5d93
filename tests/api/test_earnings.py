"""What a block gave members and took from them, read from the block alone."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from bflcd.api.earnings import earnings_of, earnings_rows
from bflcd.types import Amount, Round
from bflcd.wire.alliance import Transfer
from tests.helpers.ledger import make_community, play_gains
from tests.helpers.money import pays, says, with_terms

START = make_community(10, 4, 6)
BEST, SECOND, POOR = START.outsiders[:3]
PLAYED = play_gains(START, {BEST: 3000, SECOND: 1000})
STATE = with_terms(START.state)


def certified(*operations: Any) -> Any:
    """The round's segment as if its block had carried these."""
    segment = replace(PLAYED.segment, model=replace(PLAYED.segment.model, operations=operations))
    return SimpleNamespace(segment=segment)


def test_who_was_packed_paid_gave_and_was_given_has_a_row() -> None:
    best = START.keys[BEST]
    gives = says(STATE, best, Transfer, to=POOR, amount=Amount(7))
    dear = pays(STATE, START.keys[SECOND], best, fee=Amount(110), deposit=Amount(50))
    rows = {row.node_id: row for row in earnings_of(certified(gives, dear))}
    paid = dict(PLAYED.outcome.rewards)
    assert list(rows) == sorted(node.hex() for node in (BEST, SECOND, POOR))
    assert (rows[BEST.hex()].packed, rows[BEST.hex()].pay, rows[BEST.hex()].given) == (True, paid[BEST], 7)
    second = rows[SECOND.hex()]
    assert (second.pay, second.fees, second.deposits, second.taken) == (paid[SECOND], 110, 50, 0)
    poor = rows[POOR.hex()]
    assert (poor.packed, poor.pay, poor.taken, poor.round) == (False, 0, 7, 1)


async def test_rounds_are_read_up_to_the_head_and_no_further() -> None:
    asked: list[int] = []

    async def segment(round_: Round) -> Any:
        asked.append(round_)
        return certified() if round_ <= 2 else None

    rows = await earnings_rows(SimpleNamespace(segment=segment), 0, 9)  # type: ignore[arg-type]
    assert (asked, len(rows)) == ([1, 2, 3], 4)
