"""A recovery with anything swapped proves nothing: the row of the one signed kind that is no envelope of its own (catalogue 23, 29, 33)."""

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace

import pytest

from bflcd.consensus.recovery import verify_recovery
from bflcd.errors import PeerError
from bflcd.types import Digest, Epoch, Millis, NodeId, Round, Signature, View
from bflcd.wire.envelope import Envelope, seal, verify_envelope
from bflcd.wire.messages import Commit, Prepare
from bflcd.wire.proposal import proposal_id
from bflcd.wire.recovery import PreparedClaim, PreparedProof, ProposalBasis, Recovery, RecoveryCertificate, claim_hash
from tests.helpers.consensus import KEYS, make_instance, make_proposal, prepared_by, vote
from tests.helpers.proofs import claiming

HERE = make_instance()
MANAGERS = KEYS[8:12]


def pairs(prepares: Iterable[Envelope]) -> tuple[tuple[NodeId, Signature], ...]:
    """As a proof carries them: sorted by author, the signatures alone."""
    return tuple(sorted((envelope.author, envelope.signature) for envelope in prepares))


IDS = tuple(key.node_id for key in MANAGERS)
FOUND = prepared_by(HERE, 0, make_proposal(1), (0, 1, 2))
PROOF = PreparedProof(PreparedClaim(HERE.epoch, HERE.committee, View(0), FOUND.digest, FOUND.proposal), pairs(FOUND.prepares))
BODY = Recovery(HERE.chain, HERE.round, Epoch(1), HERE.parent, tuple(sorted(IDS)), (), claim_hash(PROOF.claim))
ELSE = {
    "chain": Digest(bytes([1]) * 32),
    "round": Round(1),
    "epoch": Epoch(2),
    "parent": Digest(bytes([2]) * 32),
    "committee": HERE.committee,
    "retired": (HERE.committee[0],),
    "prepared": Digest(bytes([3]) * 32),
}
OUT_OF_PLACE = ("chain", "round", "parent", "prepared")
"""Fields that no manager can sign rightly with another value here."""


def certified(
    body: Recovery, signed: object = None, keys: tuple = MANAGERS[:3], proof: PreparedProof | None = PROOF
) -> RecoveryCertificate:
    """`body` with signatures over `signed`, by default over itself."""
    pairs = sorted((key.node_id, seal(body if signed is None else signed, key).envelope.signature) for key in keys)
    return RecoveryCertificate(body, proof, tuple(pairs))


def wrong_prepares(place: int) -> Iterator[Envelope]:
    good = FOUND.prepares[place]
    yield FOUND.prepares[(place + 1) % 3]
    for other in (make_instance(name=b"another"), make_instance(round_=1), make_instance(epoch=1)):
        yield vote(other, place, Prepare, 0, digest=FOUND.digest)
    yield vote(HERE, place, Commit, 0, digest=FOUND.digest)
    yield vote(HERE, place, Prepare, 1, digest=FOUND.digest)
    yield vote(HERE, place, Prepare, 0, digest=Digest(bytes([4]) * 32))
    yield seal(
        Prepare(
            HERE.chain,
            HERE.round,
            HERE.epoch,
            View(0),
            HERE.parent,
            HERE.committee_hash,
            FOUND.digest,
            proposal_id(FOUND.proposal),
        ),
        KEYS[9],
    ).envelope
    yield replace(good, signature=FOUND.prepares[(place + 1) % 3].signature)


def forged() -> Iterator[tuple[str, RecoveryCertificate]]:
    for name, value in ELSE.items():
        changed = replace(BODY, **{name: value})
        yield f"{name} under other signatures", certified(changed, BODY)
        if name in OUT_OF_PLACE:
            yield f"{name} truly signed", certified(changed)
    yield "an epoch that is no higher", certified(replace(BODY, epoch=HERE.epoch))
    yield "too few managers", certified(BODY, keys=MANAGERS[:2])
    yield "no managers", certified(BODY, keys=KEYS[:3])
    yield "one stranger", certified(BODY, keys=(*MANAGERS[:2], KEYS[0]))
    good = certified(BODY)
    first, second, third = good.signatures
    yield "a manager twice", replace(good, signatures=(first, first, second))
    yield "unsorted", replace(good, signatures=(third, second, first))
    yield "signatures exchanged", replace(good, signatures=((first[0], second[1]), (second[0], first[1]), third))
    yield (
        "commit signatures",
        certified(BODY, Commit(HERE.chain, HERE.round, BODY.epoch, View(0), HERE.parent, HERE.committee_hash, FOUND.digest)),
    )
    yield "no proof", certified(BODY, proof=None)
    yield "a proof that it does not name", certified(replace(BODY, prepared=None))
    for name, value in {
        "epoch": Epoch(1),
        "view": View(1),
        "digest": Digest(bytes([5]) * 32),
        "committee": HERE.committee[::-1],
    }.items():
        yield f"a proof of another {name}", certified(BODY, proof=claiming(PROOF, **{name: value}))
    other = Digest(bytes([6]) * 32)
    for name, value in {"epoch": Epoch(1), "time": Millis(7), "cards": (other,), "operations": (other,)}.items():
        proposal = replace(PROOF.claim.proposal, **{name: value})
        yield f"a proof whose proposal has another {name}", certified(BODY, proof=claiming(PROOF, proposal=proposal))
    for name, basis in {
        "committee": ProposalBasis(HERE.committee, ()),
        "retired": ProposalBasis(HERE.committee, (KEYS[9].node_id,)),
    }.items():
        yield f"a basis with another {name}", certified(BODY, proof=claiming(PROOF, basis=basis))
    for place in range(3):
        rest = (*FOUND.prepares[:place], *FOUND.prepares[place + 1 :])
        yield f"prepare {place} missing", certified(BODY, proof=replace(PROOF, prepares=pairs(rest)))
        for number, wrong in enumerate(wrong_prepares(place)):
            parts = (*FOUND.prepares[:place], wrong, *FOUND.prepares[place + 1 :])
            yield f"prepare {place} replaced by {number}", certified(BODY, proof=replace(PROOF, prepares=pairs(parts)))


def test_the_untouched_recovery_holds():
    verify_recovery(certified(BODY), HERE, IDS, verify_envelope)
    verify_recovery(certified(replace(BODY, prepared=None), proof=None), HERE, IDS, verify_envelope)
    assert set(ELSE) == {field.name for field in fields(Recovery)}, "a new field needs its row"


@pytest.mark.parametrize(("name", "certificate"), list(forged()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_recovery_with_anything_swapped_proves_nothing(name, certificate):
    with pytest.raises(PeerError):
        verify_recovery(certificate, HERE, IDS, verify_envelope)
    assert name


@pytest.mark.parametrize(
    "other",
    [make_instance(name=b"another"), make_instance(round_=1), make_instance(epoch=1), replace(HERE, parent=Digest(bytes(32)))],
)
def test_a_recovery_proves_nothing_elsewhere(other):
    with pytest.raises(PeerError):
        verify_recovery(certified(BODY), other, IDS, verify_envelope)
