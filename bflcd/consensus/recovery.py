"""Whether a recovery certificate is one, and the instance that it opens (design 6.8).

Managers stand outside the committee's quorums: what they sign isn't held against the old committee's votes, which may be lost for
ever. So a recovery is the one thing that can undo a decision, and everything about it is loud. What keeps that from happening is
the proof: whatever was decided was prepared by q members, and one honest survivor of those is enough to find it.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from bflcd.consensus.events import Instance, LockedProposal, Prepared
from bflcd.errors import InvariantError, PeerError, Rejection
from bflcd.ledger.quorum import quorum
from bflcd.types import Epoch, NodeId, short
from bflcd.wire.blocks import Certificate, committee_hash
from bflcd.wire.codec import encode
from bflcd.wire.envelope import Envelope, Verify
from bflcd.wire.messages import Prepare
from bflcd.wire.proposal import proposal_id
from bflcd.wire.recovery import PreparedClaim, PreparedProof, ProposalBasis, Recovery, RecoveryCertificate, claim_hash


def recovered_instance(base: Instance, certificate: RecoveryCertificate) -> Instance:
    """The instance that a verified recovery of `base`'s round opens."""
    recovery, proof = certificate.recovery, certificate.proof
    return replace(
        base,
        epoch=recovery.epoch,
        committee=recovery.committee,
        locked=None if proof is None else LockedProposal(proof.claim.digest, proof.claim.proposal),
    )


def instance_of(certificate: Certificate, base: Instance, managers: Sequence[NodeId], verify: Verify) -> Instance:
    """The instance that a round's certificate is to be held against: the round's own, or the one its recovery opened.

    Raises PeerError(BAD_RECOVERY) if the recovery that it carries is none.
    """
    if certificate.recovery is None:
        return base
    verify_recovery(certificate.recovery, base, managers, verify)
    return recovered_instance(base, certificate.recovery)


def verify_recovery(certificate: RecoveryCertificate, base: Instance, managers: Sequence[NodeId], verify: Verify) -> None:
    """Raise PeerError(BAD_RECOVERY) unless a quorum of managers signed this recovery of `base`'s round."""
    check_recovery(certificate, base, managers, verify)
    needed = quorum(len(managers))
    if len(certificate.signatures) < needed:
        raise _refuse(f"{len(certificate.signatures)} managers signed, {needed} of {len(managers)} are needed")


def check_recovery(certificate: RecoveryCertificate, base: Instance, managers: Sequence[NodeId], verify: Verify) -> None:
    """As `verify_recovery`, but a single manager is enough: a recovery on its way."""
    recovery, proof = certificate.recovery, certificate.proof
    _check_place(recovery, base)
    if recovery.prepared != (None if proof is None else claim_hash(proof.claim)):
        raise _refuse("the proof that it carries is not of what it names prepared")
    _check_signatures(certificate, managers, verify)
    if proof is not None:
        check_proof(proof, base, below=recovery.epoch, verify=verify)


def _check_place(recovery: Recovery, base: Instance) -> None:
    for name, found, wanted in (
        ("chain", recovery.chain, base.chain),
        ("round", recovery.round, base.round),
        ("parent", recovery.parent, base.parent),
    ):
        if found != wanted:
            raise _refuse(f"it is for another {name} than that of round {base.round}")
    if recovery.epoch <= base.epoch:
        raise _refuse(f"its epoch {recovery.epoch} is not above {base.epoch}, that of round {base.round}")
    if len(set(recovery.committee)) != len(recovery.committee):
        raise _refuse("its committee has a member twice")


def _check_signatures(certificate: RecoveryCertificate, managers: Sequence[NodeId], verify: Verify) -> None:
    authors = [manager for manager, _ in certificate.signatures]
    if any(low >= high for low, high in pairwise(authors)):
        raise _refuse("its managers are not distinct and sorted")
    strangers = set(authors) - set(managers)
    if strangers:
        raise _refuse(f"{short(min(strangers))} is no manager and signed it")
    payload = encode(certificate.recovery)
    for manager, signature in certificate.signatures:
        if not verify(Envelope(manager, payload, signature)):
            raise _refuse(f"the signature of manager {short(manager)} is wrong")


def is_signed_by_any(certificate: RecoveryCertificate, managers: Sequence[NodeId], verify: Verify) -> bool:
    """Whether one of `managers` signed it: of a round that can't be judged yet nobody else's word is worth a question."""
    payload = encode(certificate.recovery)
    signed = (Envelope(node, payload, signature) for node, signature in certificate.signatures if node in managers)
    return any(verify(envelope) for envelope in signed)


def check_proof(proof: PreparedProof, base: Instance, *, below: int, verify: Verify) -> None:
    """Raise PeerError(BAD_RECOVERY) unless q members of its committee prepared it, in an epoch of the round under `below`.

    That an epoch between had this committee is its managers' word: they gave it to it.
    """
    if not base.epoch <= proof.claim.epoch < below:
        raise _refuse(f"its prepared proof is of epoch {proof.claim.epoch}, which is not between {base.epoch} and {below}")
    if proof.claim.epoch == base.epoch and proof.claim.committee != base.committee:
        raise _refuse(f"its prepared proof names another committee than that of epoch {base.epoch}")
    if len(set(proof.claim.committee)) != len(proof.claim.committee):
        raise _refuse("the committee of its prepared proof has a member twice")
    instance = replace(base, epoch=proof.claim.epoch, committee=proof.claim.committee)
    authors = [author for author, _ in proof.prepares]
    if any(low >= high for low, high in pairwise(authors)) or not set(authors) <= set(proof.claim.committee):
        raise _refuse("the authors of its prepared proof are not distinct members of its committee, sorted")
    if len(authors) < instance.q:
        raise _refuse(f"{len(authors)} members prepared what it names, {instance.q} are needed")
    for prepare in prepares_of(proof, instance):
        if not verify(prepare):
            raise _refuse(f"the prepare of {short(prepare.author)} in its prepared proof is not signed by it")


def prepares_of(proof: PreparedProof, instance: Instance) -> tuple[Envelope, ...]:
    """The signed prepares of a proof: all of one payload."""
    payload = encode(
        Prepare(
            chain=instance.chain,
            round=instance.round,
            epoch=proof.claim.epoch,
            view=proof.claim.view,
            parent=instance.parent,
            committee=committee_hash(proof.claim.epoch, proof.claim.committee),
            digest=proof.claim.digest,
            proposal=proposal_id(proof.claim.proposal),
        )
    )
    return tuple(Envelope(author, payload, signature) for author, signature in proof.prepares)


def proof_of(
    prepared: Prepared, epoch: Epoch, committee: tuple[NodeId, ...], basis: ProposalBasis | None = None
) -> PreparedProof:
    """A prepared certificate of `epoch`, as managers carry it."""
    prepares = tuple(sorted((envelope.author, envelope.signature) for envelope in prepared.prepares))
    return PreparedProof(PreparedClaim(epoch, committee, prepared.view, prepared.digest, prepared.proposal, basis), prepares)


def merged(one: RecoveryCertificate, other: RecoveryCertificate) -> RecoveryCertificate:
    """One recovery with the signatures of both. Raises InvariantError if they are of different recoveries."""
    if one.recovery != other.recovery:
        raise InvariantError("the signatures of two different recoveries can't be merged")
    signatures = dict(other.signatures) | dict(one.signatures)
    return replace(one, proof=one.proof or other.proof, signatures=tuple(sorted(signatures.items())))


def _refuse(text: str) -> PeerError:
    return PeerError(Rejection.BAD_RECOVERY, f"a recovery certificate: {text}")
