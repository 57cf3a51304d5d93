"""What offers that do harm cost their trainer: once and again nothing, in a row rounds in which it may not offer (design 5.4).

An offer that harms is also a question that every judge answers. Honest updates harm now and then, of odd rows or by bad luck;
so a few are free, and each packed one makes up for one. Whoever goes on is heard ever more rarely, for as long as it goes on.
"""

from dataclasses import replace
from typing import Final

from bflcd.ledger.judgement import OfferJudgement
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.state import MAX_REFUSALS, NEVER, Account
from bflcd.types import Round

PATIENCE: Final = 3
"""Harmful offers that cost nothing: of honest trainers, where nobody lies, none came to rest (docs/measurements/rules.md)."""


def harms(offer: OfferJudgement, m: int) -> bool:
    """Whether an offer does harm on most honest judges' rows, in a committee of m.

    More than half of the q cards that are left when f of those that refuse it are taken away say so: f liars frame nobody.
    """
    return count_harms(offer.refusals, m)


def count_harms(refusals: int, m: int) -> bool:
    """As `harms`, of how many of the q cards refuse the offer."""
    f, q = faults(m), quorum(m)
    return 2 * (refusals - f) > q - f


def standing_after(account: Account, round_: Round, *, harmed: bool, packed: bool) -> Account:
    """A trainer's account after the offer that it made in `round_`.

    From the harmful offer after the last free one on it rests for 2, then 4, 8, ... rounds, at most 2^(MAX_REFUSALS - PATIENCE).
    """
    if packed:
        return replace(account, refusals=max(0, account.refusals - 1))
    if not harmed:
        return account
    refusals = min(account.refusals + 1, MAX_REFUSALS)
    rest = 2 ** (refusals - PATIENCE) if refusals > PATIENCE else 0
    return replace(account, refusals=refusals, rest_round=Round(round_ + 1 + rest) if rest else account.rest_round)


def standing_without(account: Account, round_: Round) -> Account:
    """A trainer's account as if its harmful offer in `round_` had not been: a rest that began with it is over."""
    refusals = max(0, account.refusals - 1)
    caused = account.refusals > PATIENCE and account.rest_round == round_ + 1 + 2 ** (account.refusals - PATIENCE)
    return replace(account, refusals=refusals, rest_round=NEVER if caused else account.rest_round)
