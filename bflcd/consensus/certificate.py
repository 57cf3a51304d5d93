"""Certificates: q commits of distinct members under one signed payload; and the chain of model headers that they prove."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from bflcd.consensus.events import Instance
from bflcd.consensus.recovery import instance_of
from bflcd.errors import InvariantError, PeerError, Rejection
from bflcd.ledger.lot import checked_draw
from bflcd.ledger.quorum import leader
from bflcd.params import Params
from bflcd.types import Epoch, NodeId, short
from bflcd.wire.blocks import KIND_MODEL, Certificate, CertifiedHeader, Header, header_hash, model_height
from bflcd.wire.codec import encode
from bflcd.wire.envelope import Envelope, Signed, Verify
from bflcd.wire.messages import Commit
from bflcd.wire.recovery import RecoveryCertificate


def certificate_of(commits: Sequence[Signed[Commit]]) -> Certificate:
    """The certificate of verified commits for one digest in one view. Pass exactly q of them (design 6.2).

    Raises InvariantError unless their bodies are equal and their authors distinct.
    """
    ordered = sorted(commits, key=lambda commit: commit.author)
    if not ordered or any(commit.body != ordered[0].body for commit in ordered):
        raise InvariantError("a certificate needs commits with one and the same body")
    if len({commit.author for commit in ordered}) != len(ordered):
        raise InvariantError("a certificate needs commits of distinct members")
    body = ordered[0].body
    return Certificate(
        chain=body.chain,
        round=body.round,
        epoch=body.epoch,
        view=body.view,
        parent=body.parent,
        committee=body.committee,
        digest=body.digest,
        signatures=tuple((commit.author, commit.envelope.signature) for commit in ordered),
    )


def commit_payload(certificate: Certificate) -> bytes:
    """The bytes that every author of this certificate signed: the canonical Commit."""
    return encode(
        Commit(
            chain=certificate.chain,
            round=certificate.round,
            epoch=certificate.epoch,
            view=certificate.view,
            parent=certificate.parent,
            committee=certificate.committee,
            digest=certificate.digest,
        )
    )


def _refuse(text: str) -> PeerError:
    return PeerError(Rejection.BAD_CERTIFICATE, text)


def verify_certificate(certificate: Certificate, instance: Instance, verify: Verify) -> None:
    """Raise PeerError(BAD_CERTIFICATE) unless exactly q distinct members of this instance committed to its digest.

    Exactly q, sorted by author: one more would let anyone make many encodings of one certificate.
    """
    for name, found, wanted in (
        ("chain", certificate.chain, instance.chain),
        ("round", certificate.round, instance.round),
        ("epoch", certificate.epoch, instance.epoch),
        ("parent", certificate.parent, instance.parent),
        ("committee", certificate.committee, instance.committee_hash),
    ):
        if found != wanted:
            raise _refuse(f"a certificate of round {certificate.round} for another {name} than that of round {instance.round}")
    authors = [author for author, _ in certificate.signatures]
    if len(authors) != instance.q:
        raise _refuse(f"{len(authors)} signatures in a certificate of round {instance.round}, exactly {instance.q} are needed")
    if any(left >= right for left, right in pairwise(authors)):
        raise _refuse(f"the authors of the certificate of round {instance.round} are not distinct and sorted")
    if instance.locked is not None and certificate.digest != instance.locked.digest:
        raise _refuse(f"epoch {instance.epoch} of round {instance.round} had to decide what an older epoch had prepared")
    strangers = set(authors) - set(instance.committee)
    if strangers:
        raise _refuse(f"{short(min(strangers))} has no seat in round {instance.round} and signed its certificate")
    payload = commit_payload(certificate)
    for author, signature in certificate.signatures:
        if not verify(Envelope(author, payload, signature)):
            raise _refuse(f"the commit signature of {short(author)} in the certificate of round {instance.round} is wrong")


def opened_by(header: Header, params: Params) -> Instance:
    """The instance of the round that a model header opens: its committee decides what follows it.

    Raises InvariantError for a header of another kind.
    """
    if header.model is None:
        raise InvariantError(f"block {header.height} is no model block and opens no round")
    return Instance(
        chain=header.chain,
        round=header.round,
        epoch=header.model.epoch,
        parent=header_hash(header),
        committee=header.model.committee,
        view_timeout=params.view_timeout,
    )


def verify_chain(
    trusted: Header,
    certified: Iterable[CertifiedHeader],
    params: Params,
    managers: Sequence[NodeId],
    verify: Verify,
) -> Header:
    """Walk certified model headers from a trusted one (genesis, or our head), and return the last that is proved.

    Update headers lie between two model headers, so it is the certificate's signed `parent` that links them. Raises PeerError
    (WRONG_CHAIN, BAD_LINK, BAD_TIME, WRONG_EPOCH, BAD_CERTIFICATE, BAD_RECOVERY, BAD_DRAW) at the first one that doesn't follow.
    `managers`: of the chain; a change of epoch needs their recovery certificate.
    """
    for item in certified:
        verify_successor(trusted, item, params, managers, verify)
        trusted = item.header
    return trusted


def verify_successor(trusted: Header, item: CertifiedHeader, params: Params, managers: Sequence[NodeId], verify: Verify) -> None:
    """Raise PeerError, as `verify_chain` does, unless `item` is proved to follow the model header `trusted`."""
    header, certificate = item.header, item.certificate
    check_follows(trusted, header, params, certificate.recovery)
    instance = instance_of(certificate, opened_by(trusted, params), managers, verify)
    if certificate.digest != header_hash(header):
        raise _refuse(f"the certificate of round {certificate.round} is for another block than header {header.height}")
    verify_certificate(certificate, instance, verify)
    check_lot(trusted, header, certificate.recovery)


def check_lot(parent: Header, header: Header, recovery: RecoveryCertificate | None) -> None:
    """Raise PeerError(BAD_DRAW) unless `header` has the lot that its first proposer's key makes of `parent`'s: not even a quorum
    chooses another. `recovery`: the one that its certificate carries, verified."""
    before, after = parent.model, header.model
    if before is None or after is None or after.proof is None:
        raise PeerError(Rejection.BAD_DRAW, f"model header at height {header.height} has no proof of what its lot follows from")
    proposer = leader(_first_committee(before.committee, recovery), after.view)
    draw = checked_draw(parent.chain, parent.round, before.lot, proposer=proposer, view=after.view, proof=after.proof)
    if after.lot != draw.lot:
        raise PeerError(
            Rejection.BAD_DRAW,
            f"the lot of model header at height {header.height} is {short(after.lot)}, its proof makes it {short(draw.lot)}",
        )


def _first_committee(opened: tuple[NodeId, ...], recovery: RecoveryCertificate | None) -> tuple[NodeId, ...]:
    """The committee under which a round's segment was first proposed; `opened`: the one that its model header names."""
    if recovery is None:
        return opened
    if recovery.proof is None:
        return recovery.recovery.committee
    basis = recovery.proof.claim.basis
    return opened if basis is None else basis.committee


def check_follows(parent: Header, header: Header, params: Params, recovery: RecoveryCertificate | None = None) -> None:
    """Raise PeerError unless `header` can be the next model header after `parent` (design 4), certificate aside.

    `recovery`: the one that its certificate carries; unverified here.
    """
    where = f"model header at height {header.height}"
    if header.chain != parent.chain:
        raise PeerError(Rejection.WRONG_CHAIN, f"{where} is of chain {short(header.chain)}, ours is {short(parent.chain)}")
    if header.kind != KIND_MODEL or header.model is None or header.blob is None:
        raise PeerError(Rejection.BAD_LINK, f"{where} lacks what a model header has")
    if header.round != parent.round + 1 or header.height != model_height(header.round, params.places):
        raise PeerError(
            Rejection.BAD_LINK,
            f"{where} of round {header.round} doesn't follow the model of round {parent.round} with {params.places} places",
        )
    if header.time <= parent.time:
        raise PeerError(Rejection.BAD_TIME, f"{where} is not later than the model before it")
    if parent.model is None or header.model.epoch != _epoch_after(parent.model.epoch, recovery):
        raise PeerError(Rejection.WRONG_EPOCH, f"{where} is of epoch {header.model.epoch}, which its round can't have had")
    if len(set(header.model.committee)) != len(header.model.committee):
        raise PeerError(Rejection.BAD_LINK, f"{where} names a committee with one member twice")


def _epoch_after(epoch: Epoch, recovery: RecoveryCertificate | None) -> Epoch:
    """The epoch of first proposal that the model header closing a round of `epoch` has (design 6.8)."""
    if recovery is None:
        return epoch
    return recovery.recovery.epoch if recovery.proof is None else recovery.proof.claim.proposal.epoch
