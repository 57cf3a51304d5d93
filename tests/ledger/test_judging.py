"""What whoever offers knows beforehand of how judges will meet it: the words that judges do say, of what is measured."""

from dataclasses import replace

import pytest

from bflcd.ledger.disclosure import GAIN_LEVELS, REFUSED, margin, row_limit, said_gain
from bflcd.ledger.judging import judging_of
from bflcd.ledger.standing import PATIENCE
from bflcd.ledger.state import MAX_REFUSALS, account_of, with_accounts
from bflcd.params import PartsPerMillion
from bflcd.types import MicroNats
from tests.helpers.ledger import make_community

START = make_community(12, 4)
ASKER = START.outsiders[0]
STATE = replace(START.state, usual_norm=5_000, known=PartsPerMillion(900_000))


def test_it_is_what_judges_go_by():
    found = judging_of(START.params, STATE, ASKER)
    assert (found.damping, found.limit, found.row_limit) == (4, 10_000, row_limit(START.params))
    assert judging_of(START.params, START.state, ASKER).limit is None


def test_the_words_are_those_of_cards():
    """Given a gain just at and just below each edge, then a card says the word of the one, and the word before of the other."""
    least = MicroNats(-margin(START.params, STATE.known))
    edges = judging_of(START.params, STATE, ASKER).words
    said = [(said_gain(MicroNats(edge - 1), least), said_gain(edge, least)) for edge in edges]
    assert said == list(zip((REFUSED, *GAIN_LEVELS), GAIN_LEVELS, strict=False))


@pytest.mark.parametrize(("refusals", "left"), [(0, PATIENCE), (PATIENCE - 1, 1), (PATIENCE, 0), (MAX_REFUSALS, 0)])
def test_patience_is_what_is_left_before_a_rest(refusals, left):
    account = account_of(STATE, ASKER)
    assert account is not None
    state = with_accounts(STATE, replace(account, refusals=refusals))
    assert judging_of(START.params, state, ASKER).patience == left
