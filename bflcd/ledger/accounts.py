"""What a round leaves in each account: pay, presence, whose offers came, who did harm, who let a view fail (design 5)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from bflcd.ledger.disclosure import HALF_RIGHT, REFUSED
from bflcd.ledger.election import Merit
from bflcd.ledger.judgement import Judgement, OfferJudgement, Reason
from bflcd.ledger.quorum import faults, leader
from bflcd.ledger.roles import offering, trainers
from bflcd.ledger.standing import harms, standing_after
from bflcd.ledger.state import NEVER, Account, State
from bflcd.ledger.trust.doubts import Bearing, of_cards
from bflcd.ledger.trust.reputation import Measure, harm_is_shown, measure_of, reputation_after
from bflcd.params import MILLION, Params
from bflcd.types import Amount, NodeId, PartsPerMillion, View

PRESENCE_ROUNDS: Final = 8
"""Rounds that a member's availability averages over: an absence costs an eighth of it, and a newcomer has two thirds after eight
rounds. It divides a million, so that who is always there reaches exactly that."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a round found of its members, besides the judgement: who was packed, who is paid what, who let a view fail, and how
    each of the q cards stood to the others."""

    merits: Mapping[NodeId, Merit]
    paid: Mapping[NodeId, Amount]
    failed: frozenset[NodeId]
    stood: Mapping[NodeId, Bearing]


def accounts_after(params: Params, state: State, judgement: Judgement, found: Findings) -> tuple[Account, ...]:
    """Every account after the round's learning; operations and the election come later."""
    judged = _judged(params, state, judgement, _learned(state, judgement, found, offering_after(params, state, judgement)))
    return of_cards(judged, found.stood)


def failed_before(committee: tuple[NodeId, ...], view: View) -> frozenset[NodeId]:
    """Who led a view below `view`, in which the deciding segment was first proposed, and did not lead that one."""
    return frozenset(committee[:view]) - {leader(committee, view)}


def _learned(
    state: State, judgement: Judgement, found: Findings, offering: Mapping[NodeId, PartsPerMillion]
) -> tuple[Account, ...]:
    """The accounts with pay, packing and presence, with whose offers came, and who let a view fail."""
    merits, paid, present = found.merits, found.paid, frozenset(judgement.present)
    return tuple(
        replace(
            account,
            balance=Amount(account.balance + paid.get(account.node, 0)),
            packed_round=state.round if account.node in merits else account.packed_round,
            packed_score=merits[account.node].score if account.node in merits else account.packed_score,
            retired_round=NEVER if account.node in present else account.retired_round,
            availability=availability_after(account.availability, present=account.node in present),
            offering=offering.get(account.node, account.offering),
            failed_round=state.round if account.node in found.failed else account.failed_round,
        )
        for account in state.accounts
    )


def _judged(params: Params, state: State, judgement: Judgement, accounts: tuple[Account, ...]) -> tuple[Account, ...]:
    """The accounts with what each judged offer does to its uploader's standing and reputation: nothing in a round that proves
    nothing. While the model knows little an empty one blames nobody, and the next bears more (`disclosure.margin_after`)."""
    if judgement.proves_nothing:
        return accounts
    judged = {offer.uploader: offer for offer in judgement.offers if offer.gain is not None}
    measure = measure_of(params, state.known, judgement.gains)
    if state.known < HALF_RIGHT and not judgement.packed:
        judged = {uploader: offer for uploader, offer in judged.items() if offer.gain != REFUSED}
    return tuple(
        _after(measure, state, account, offer) if (offer := judged.get(account.node)) is not None else account
        for account in accounts
    )


def _after(measure: Measure, state: State, account: Account, offer: OfferJudgement) -> Account:
    """One trainer's account after its judged offer; what a copy gains is not its merit."""
    m, gain = len(state.committee), offer.gain
    stands = standing_after(account, state.round, harmed=harms(offer, m), packed=offer.reason is None)
    if measure.rounds == 0 or offer.reason is Reason.COPY:
        return stands
    if gain is not None and gain < 0 and not harm_is_shown(offer.refusals, m):
        gain = None
    return replace(stands, reputation=reputation_after(account.reputation, gain, measure))


def availability_after(before: PartsPerMillion, *, present: bool) -> PartsPerMillion:
    """The exponential average of presence after another round; never above a million, at which presence keeps it."""
    return PartsPerMillion(before - before // PRESENCE_ROUNDS + (MILLION // PRESENCE_ROUNDS if present else 0))


def expected_in(params: Params, state: State, judgement: Judgement) -> frozenset[NodeId]:
    """Whom the judges could wait for: present trainers with a name for offering; all that are present, if those are less than a
    third (design 5.3)."""
    here = trainers(params, state) & frozenset(judgement.present)
    reliable = here & offering(state)
    return reliable if 3 * len(reliable) >= len(here) else here


def offered_in(state: State, judgement: Judgement) -> frozenset[NodeId]:
    """Whose offers are on f + 1 cards."""
    return frozenset(offer.uploader for offer in judgement.offers if offer.entries > faults(len(state.committee)))


def offering_after(params: Params, state: State, judgement: Judgement) -> dict[NodeId, PartsPerMillion]:
    """The exponential average of each trainer's rounds with an offer, after one more; who could not train keeps its own.

    An offer counts on f + 1 cards, whatever it is worth: an honest member holds it, and adversaries can hide none that all honest
    members hold. A round in which none counts says nothing about anybody.
    """
    offered = offered_in(state, judgement)
    if not offered:
        return {}
    able = trainers(params, state)
    return {
        account.node: availability_after(account.offering, present=account.node in offered)
        for account in state.accounts
        if account.node in able
    }
