"""What the API says of how each member stands: from the ledger at the head, so that every node says the same."""

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bflc_cli.tables import members_view as shown
from bflcd.api.schema.members import MemberView
from bflcd.ledger.state import State
from bflcd.ledger.trust.doubts import LIMIT
from bflcd.node.views.members import members_view
from tests.helpers.alliance import IDENTITIES, STATE, context_of

ME = IDENTITIES[0].node_id
NODES = tuple(account.node for account in STATE.accounts)
ROUND = 20


def views(changes: dict[int, dict[str, Any]], **params: Any) -> dict[int, MemberView]:
    """What is said of those whose accounts have `changes`, by place; all others were packed in the last round."""
    accounts = (replace(a, packed_round=ROUND - 1, **changes.get(place, {})) for place, a in enumerate(STATE.accounts))
    state: State = replace(STATE, round=ROUND, accounts=tuple(accounts))
    context = context_of(state, ME)
    object.__setattr__(context, "params", replace(context.params, **{"reputation_rounds": 8, **params}))
    said = members_view(SimpleNamespace(context=context, present=frozenset(), present_before=frozenset(NODES)))
    assert [view.node_id for view in said] == [node.hex() for node in NODES]
    return {place: said[place] for place in changes}


def facts(view: MemberView) -> dict[str, Any]:
    """What stands of one member beside balance and rounds."""
    names = (
        "standing",
        "reputation",
        "in_debt",
        "refusals",
        "rest_until",
        "doubt",
        "sits_out_until",
        "seat_floor",
        "seated_first",
    )
    return {name: getattr(view, name) for name in names}


GOOD: dict[str, Any] = {
    "standing": "member",
    "reputation": 1_000,
    "in_debt": False,
    "refusals": 0,
    "rest_until": -1,
    "doubt": 0.0,
    "sits_out_until": -1,
    "seat_floor": 500,
    "seated_first": True,
}
FINE = {place: {"reputation": 1_000} for place in range(4, 10)}
"""Members 0 to 3 hold the seats."""


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ({"reputation": 1_000}, {}),
        ({"reputation": 499}, {"reputation": 499, "seated_first": False}),
        ({"reputation": -7}, {"reputation": -7, "in_debt": True, "seated_first": False, "standing": "in debt"}),
        ({"reputation": 1_000, "refusals": 3}, {"refusals": 3, "seated_first": False}),
        (
            {"reputation": 1_000, "refusals": 4, "rest_round": ROUND + 2},
            {"refusals": 4, "rest_until": ROUND + 2, "seated_first": False, "standing": "resting"},
        ),
        ({"reputation": 1_000, "rest_round": ROUND}, {}),
        ({"reputation": 1_000, "doubt": 700}, {"doubt": 700 / LIMIT}),
        (
            {"reputation": 1_000, "doubt": LIMIT + 500, "rest_round": ROUND + 1},
            {"doubt": 1.25, "sits_out_until": ROUND + 6, "standing": "doubted", "rest_until": ROUND + 1},
        ),
        (
            {"reputation": 1_000, "doubt": LIMIT, "retired_round": 3},
            {"doubt": 1.0, "sits_out_until": ROUND + 1, "standing": "retired"},
        ),
    ],
)
def test_a_member_stands_as_the_ledger_has_it(account: dict[str, Any], said: dict[str, Any]) -> None:
    """Given a community whose doubts count, of which all others have 1 milli-nat / Then each fact is said, the heaviest in a word."""
    assert facts(views({**FINE, 5: account}, doubts=1)[5]) == {**GOOD, **said}


@pytest.mark.parametrize("params", [{"doubts": 0}, {"doubts": 1, "score_noise": 4_000}])
def test_where_doubts_do_not_count_a_doubted_judge_is_shown_and_sits(params: dict[str, int]) -> None:
    said = facts(views({**FINE, 5: {"reputation": 1_000, "doubt": LIMIT}}, **params)[5])
    assert said == {**GOOD, "doubt": 1.0}


def test_where_reputations_do_not_count_nobody_is_behind() -> None:
    said = views({5: {"refusals": 3}}, reputation_rounds=0)[5]
    assert (said.seated_first, said.seat_floor) == (True, 0)


def test_the_table_has_room_for_all_of_it_in_a_hundred_columns() -> None:
    """Given balances of ten digits and a member against whom everything stands / Then no line is longer and no word is broken."""
    worst = {"refusals": 8, "rest_round": 1_234_567, "doubt": 5_200, "reputation": -75_000, "balance": 9_999_999_999}
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(shown(list(views({**FINE, 5: worst}, doubts=1).values())))
    text = console.export_text()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    for word in ("doubted", "until", "53", "rests", "1234567", "in debt", "-75.00", "9999999999", "from +0.50 on"):
        assert word in " ".join(text.split()), text
