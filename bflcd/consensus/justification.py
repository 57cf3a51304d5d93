"""What proves that a digest is prepared, and that a leader may propose what it proposes (design 6.4; the rules of QBFT).

A segment may be decided in view p only if q members hold a prepared certificate of view p. Any q view-changes for a later view
share f + 1 authors with those, so at least one honest one, which names p or a later view. So a leader that shows q
view-changes and follows the highest prepared among them can't contradict a decision, and one that may choose freely proves it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bflcd.consensus.authentication import Authenticator
from bflcd.consensus.events import Instance, Prepared
from bflcd.consensus.votes import Claim, subject_of
from bflcd.errors import PeerError, Rejection
from bflcd.types import Digest, View
from bflcd.wire.envelope import Envelope, Signed
from bflcd.wire.messages import JustifiedPrePrepare, JustifiedViewChange, Prepare, PrePrepare, ViewChange
from bflcd.wire.proposal import proposal_id


@dataclass(frozen=True, slots=True)
class Justification:
    """q view-changes for one view, and the highest prepared certificate among them; None is free choice."""

    view_changes: tuple[Envelope, ...]
    prepared: Prepared | None


def _refuse(text: str) -> PeerError:
    return PeerError(Rejection.BAD_JUSTIFICATION, text)


def require_distinct(envelopes: Sequence[Envelope], q: int, what: str) -> None:
    """Raise PeerError(BAD_JUSTIFICATION) unless these are at least q messages of distinct authors."""
    authors = {envelope.author for envelope in envelopes}
    if len(authors) != len(envelopes):
        raise _refuse(f"an author stands twice among the {what}")
    if len(authors) < q:
        raise _refuse(f"{len(authors)} {what} where {q} are needed")


def check_prepared(prepared: Prepared, q: int, auth: Authenticator) -> None:
    """Raise PeerError(BAD_JUSTIFICATION) unless q distinct members prepared exactly this digest in exactly this view, made from
    exactly this proposal: it travels beside their signatures, and whoever passes it on could put another there."""
    view, prepares = prepared.view, prepared.prepares
    require_distinct(prepares, q, "prepares of a prepared proof")
    subject = view, prepared.digest, proposal_id(prepared.proposal)
    try:
        for envelope in prepares:
            prepare = auth.read(envelope, (Prepare,)).body
            if subject_of(prepare) != subject:
                raise _refuse(f"a prepare of view {prepare.view} in a proof for view {view}, or for another digest or proposal")
        for envelope in prepares:
            auth.check_signature(envelope)
    except PeerError as error:
        raise _refuse(f"prepared proof: {error}") from error


def check_view_change(message: JustifiedViewChange, signed: Signed[ViewChange], q: int, auth: Authenticator) -> Claim:
    """The claim of a view-change whose cheap checks are made; raises PeerError (BAD_SIGNATURE, BAD_JUSTIFICATION, MALFORMED)."""
    body = signed.body
    view, digest, proposal = body.prepared_view, body.prepared_digest, message.proposal
    if view is None or digest is None:
        if view is not None or digest is not None:
            raise PeerError(Rejection.MALFORMED, "a view-change names a prepared view without a digest, or the reverse")
        if proposal is not None or message.prepares:
            raise _refuse("a view-change without a prepared segment carries a proof")
        auth.check_signature(signed.envelope)
        return Claim(signed, None)
    if view >= body.view:
        raise _refuse(f"a view-change for view {body.view} claims to be prepared in view {view}")
    if proposal is None:
        raise _refuse("a view-change names a prepared segment without its proposal")
    auth.check_signature(signed.envelope)
    prepared = Prepared(view, digest, proposal, message.prepares)
    check_prepared(prepared, q, auth)
    return Claim(signed, prepared)


def highest_prepared(view_changes: Sequence[ViewChange]) -> tuple[View, frozenset[Digest]] | None:
    """The highest prepared view that these name, and the digests named for it; None if none names any."""
    named = [(v.prepared_view, v.prepared_digest) for v in view_changes]
    pairs = [(view, digest) for view, digest in named if view is not None and digest is not None]
    if not pairs:
        return None
    top = max(view for view, _ in pairs)
    return top, frozenset(digest for view, digest in pairs if view == top)


def read_view_changes(envelopes: Sequence[Envelope], view: View, q: int, auth: Authenticator) -> list[ViewChange]:
    """The bodies of q or more view-changes of distinct members for exactly this view; raises PeerError(BAD_JUSTIFICATION)."""
    require_distinct(envelopes, q, f"view-changes for view {view}")
    view_changes = []
    try:
        for envelope in envelopes:
            view_change = auth.read(envelope, (ViewChange,)).body
            if view_change.view != view:
                raise _refuse(f"a view-change for view {view_change.view} justifies nothing in view {view}")
            view_changes.append(view_change)
        for envelope in envelopes:
            auth.check_signature(envelope)
    except PeerError as error:
        raise _refuse(f"pre-prepare of view {view}: {error}") from error
    return view_changes


def check_pre_prepare(message: JustifiedPrePrepare, body: PrePrepare, instance: Instance, auth: Authenticator) -> bool:
    """Whether this is a re-proposal (else free choice). Raises PeerError: BAD_JUSTIFICATION if it is not justified, BAD_DRAW if
    what is proposed for the first time says another view: its draw would be another leader's, and others would have failed.

    `body` is the pre-prepare's, cheap checks and signature done. Where managers found something prepared, every choice is bound
    to it (design 6.8).
    """
    follows = _follows_prepared(message, body, instance.q, auth)
    if instance.locked is None:
        if not follows and body.proposal.view != body.view:
            raise PeerError(Rejection.BAD_DRAW, f"the first proposal of view {body.view} says view {body.proposal.view}")
        return follows
    if (body.digest, body.proposal) != (instance.locked.digest, instance.locked.proposal):
        raise _refuse(f"epoch {instance.epoch} must re-propose what an older epoch had prepared")
    return True


def _follows_prepared(message: JustifiedPrePrepare, body: PrePrepare, q: int, auth: Authenticator) -> bool:
    """Whether it re-proposes the highest prepared of q view-changes; False if they leave the choice free."""
    if body.view == 0:
        if message.view_changes or message.prepares:
            raise _refuse("a pre-prepare of view 0 needs no justification")
        return False
    view_changes = read_view_changes(message.view_changes, body.view, q, auth)
    top = highest_prepared(view_changes)
    if top is None:
        if message.prepares:
            raise _refuse("prepares in a justification whose view-changes name nothing prepared")
        return False
    view, digests = top
    if view >= body.view:
        raise _refuse(f"a view-change for view {body.view} claims to be prepared in view {view}")
    if body.digest not in digests:
        raise _refuse(f"view {body.view} must re-propose what was prepared in view {view}")
    check_prepared(Prepared(view, body.digest, body.proposal, message.prepares), q, auth)
    return True


def choose(claims: Sequence[Claim], q: int, usable: Callable[[Prepared], bool]) -> Justification | None:
    """What a leader shows: q view-changes with the highest prepared among all claims that are usable; None without q.

    A claim is left out whose segment could not be found right here: with at most f liars only for want of time or room.
    """
    kept = [claim for claim in claims if claim.prepared is None or usable(claim.prepared)]
    if len(kept) < q:
        return None
    kept.sort(key=lambda claim: (-claim.prepared_view, claim.author))
    chosen = kept[:q]
    envelopes = sorted((claim.view_change.envelope for claim in chosen), key=lambda envelope: envelope.author)
    return Justification(tuple(envelopes), chosen[0].prepared)
