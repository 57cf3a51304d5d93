"""Taking up the running round after a restart: what this node said is said again byte for byte, what it held is held again."""

from typing import Final

from bflcd.core.effects import Effect, Halt, Send
from bflcd.core.events import Instant
from bflcd.core.records import RoundRecords
from bflcd.core.round.recovery_signatures import CONFLICT_HINT, RecoverySignatures
from bflcd.core.round.state import RoundState
from bflcd.wire.envelope import Signed, open_envelope
from bflcd.wire.messages import CardSeal, Offer, OffersClosed, ScoreCard
from bflcd.wire.recovery import Recovery, RecoveryCertificate

_OWN: Final = (Offer, OffersClosed, CardSeal, ScoreCard, Recovery)
"""What an `OwnRecord` holds."""


def recovery_in_force(recoveries: RecoverySignatures, records: RoundRecords) -> RecoveryCertificate | Halt | None:
    """The recovery of the highest epoch that a quorum of managers signed, if any; two of one epoch stop the node."""
    complete = (record.certificate for record in records.recoveries if recoveries.complete(record.certificate))
    signed = sorted(complete, key=lambda certificate: certificate.recovery.epoch)
    if len(signed) > 1 and signed[-1].recovery.epoch == signed[-2].recovery.epoch:
        text = f"managers signed two different recoveries for epoch {signed[-1].recovery.epoch} of this round"
        return Halt(text, CONFLICT_HINT)
    return signed[-1] if signed else None


def restore(round_: RoundState, records: RoundRecords, now: Instant) -> list[Effect]:
    """Fill an opened round with what the store holds of it."""
    effects = _restore_own(round_, records, now)
    for certificate in round_.recoveries.restored(records.recoveries, round_.context):
        round_.retransmissions.add(certificate, now.mono)
        effects.append(Send(certificate))
    for held in records.offers:
        offer: Signed[Offer] = open_envelope(held.envelope, (Offer,))
        if round_.context.counts(offer.body.epoch):
            effects += round_.intake.keep(held.envelope)
    if round_.collection.closing.knows(round_.context.me):
        round_.collection.close(now.mono)  # with the offers that it had then
    for proposal in records.proposals:
        for operation in proposal.operations:
            round_.node.operations.pool.add(operation, wanted=True)
        if not round_.context.counts(proposal.proposal.epoch):
            continue  # a recovery has ended the epoch in which it was found right, and does not name it
        for envelope in (*proposal.cards, *proposal.offers):
            effects += round_.intake.keep(envelope)
        if round_.agreement is not None:
            round_.agreement.restore(proposal)
    return effects


def _restore_own(round_: RoundState, records: RoundRecords, now: Instant) -> list[Effect]:
    """Our offer and our card, or its seal until it may be shown (`round.sealing`); a manager's recovery stands beside them as a
    certificate with its signature alone."""
    context, effects = round_.context, list[Effect]()
    for record in records.own:
        signed: Signed[Offer | OffersClosed | CardSeal | ScoreCard | Recovery] = open_envelope(record.envelope, _OWN)
        if isinstance(signed.body, Recovery):
            continue
        if isinstance(signed.body, Offer):
            round_.work.has_offered(signed.body)
        if record.epoch != context.state.epoch:
            continue
        if isinstance(signed.body, ScoreCard):
            round_.collection.hold_own(Signed(signed.body, record.envelope))
            if round_.collection.sealing.enabled:
                continue
        round_.retransmissions.add(record.envelope, now.mono, to=context.judges_but_me)
        effects.append(Send(record.envelope, context.judges_but_me))
        if isinstance(signed.body, Offer):
            round_.work.hold_own(Signed(signed.body, record.envelope))
        elif isinstance(signed.body, OffersClosed):
            round_.work.has_closed(Signed(signed.body, record.envelope))
        elif isinstance(signed.body, CardSeal):
            round_.collection.sealing.add(Signed(signed.body, record.envelope), now.mono)
    return effects
