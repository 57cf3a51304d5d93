"""Certificates, and the chain of headers that they prove."""

from dataclasses import replace
from itertools import pairwise

import pytest

from bflcd.consensus.certificate import certificate_of, opened_by, verify_certificate, verify_chain
from bflcd.errors import InvariantError, PeerError, Rejection
from bflcd.params import BlobRef, Params
from bflcd.types import ZERO_DIGEST, Digest, Epoch, Height, Millis, NodeId, Round, Signature, View
from bflcd.wire.blocks import KIND_MODEL, KIND_UPDATE, CertifiedHeader, Header, ModelFields, header_hash, model_height
from bflcd.wire.codec import decode, encode
from bflcd.wire.envelope import seal, verify_envelope
from bflcd.wire.messages import Commit
from tests.helpers.consensus import KEYS, body_of, digest_of, lot_after, make_instance, make_proposal, signed_commits

I4 = make_instance()
DA = digest_of(make_proposal(1))
PARAMS = Params(committee_size=4, places=6)
MANAGERS = tuple(sorted(key.node_id for key in KEYS[:4]))


def certificate(seats=(0, 1, 2), instance=I4, segment=DA):
    return certificate_of(signed_commits(instance, seats, segment))


def refusal(value, instance=I4):
    with pytest.raises(PeerError) as caught:
        verify_certificate(value, instance, verify_envelope)
    return caught.value.rejection


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5, 6, 7, 10])
def test_q_commits_certify_at_every_size(members):
    instance = make_instance(members)
    made = certificate(range(instance.q), instance)
    verify_certificate(made, instance, verify_envelope)
    assert decode(encode(made), type(made)) == made


def bad():
    good = certificate()
    (a, sa), (b, sb), (c, sc) = good.signatures
    yield "too few", replace(good, signatures=good.signatures[:2])
    yield "one more than q", certificate((0, 1, 2, 3))
    yield "an author twice", replace(good, signatures=((a, sa), (b, sb), (b, sb)))
    yield "not sorted", replace(good, signatures=((b, sb), (a, sa), (c, sc)))
    yield "a stranger", certificate_of(signed_commits(I4, [0, 1, 8], DA))
    yield "a wrong signature", replace(good, signatures=((a, sa), (b, sb), (c, Signature(bytes(64)))))
    yield "signatures exchanged", replace(good, signatures=((a, sb), (b, sa), (c, sc)))
    yield "another digest", replace(good, digest=Digest(bytes(32)))
    yield "another view", replace(good, view=View(1))
    yield "another chain", replace(good, chain=Digest(bytes(32)))
    yield "another round", replace(good, round=Round(1))
    yield "another epoch", replace(good, epoch=Epoch(1))
    yield "another parent", replace(good, parent=Digest(bytes(32)))
    yield "another committee", replace(good, committee=Digest(bytes(32)))


@pytest.mark.parametrize(("name", "value"), list(bad()), ids=[name for name, _ in bad()])
def test_a_bad_certificate_is_refused(name, value):
    assert refusal(value) is Rejection.BAD_CERTIFICATE


def test_a_certificate_is_made_of_distinct_equal_commits_only():
    commits = signed_commits(I4, [0, 1], DA)
    with pytest.raises(InvariantError):
        certificate_of([*commits, commits[0]])
    with pytest.raises(InvariantError):
        certificate_of([*commits, seal(body_of(I4, Commit, 1, digest=DA), KEYS[2])])
    with pytest.raises(InvariantError):
        certificate_of([])


def committee(round_):
    return tuple(key.node_id for key in KEYS[round_ % 5 : round_ % 5 + 4])


def make_header(round_, **fields):
    proof, lot = lot_after(I4.chain, tuple(committee(led)[0] for led in range(round_)))
    model = ModelFields(Epoch(0), View(0), proof, lot, ZERO_DIGEST, committee(round_), degraded=False)
    values = {
        "chain": I4.chain,
        "height": model_height(Round(round_), PARAMS.places),
        "round": Round(round_),
        "kind": KIND_MODEL,
        "parent": Digest(bytes([round_]) * 32),
        "body": ZERO_DIGEST,
        "blob": BlobRef(ZERO_DIGEST, 1),
        "time": Millis(1_000 + round_),
        "model": model,
    }
    return Header(**(values | fields))


def certify(parent, header):
    instance = opened_by(parent, PARAMS)
    by_id = {key.node_id: key for key in KEYS}
    body = body_of(instance, Commit, 0, digest=header_hash(header))
    return CertifiedHeader(header, certificate_of([seal(body, by_id[author]) for author in instance.committee[: instance.q]]))


def make_chain(rounds, **last):
    headers = [make_header(round_, **(last if round_ == rounds else {})) for round_ in range(rounds + 1)]
    return headers[0], [certify(parent, header) for parent, header in pairwise(headers)]


def test_a_chain_of_headers_is_walked_to_its_end():
    genesis, chain = make_chain(7)
    assert verify_chain(genesis, chain, PARAMS, MANAGERS, verify_envelope) == chain[-1].header
    assert verify_chain(genesis, (), PARAMS, MANAGERS, verify_envelope) == genesis
    assert verify_chain(chain[2].header, chain[3:], PARAMS, MANAGERS, verify_envelope) == chain[-1].header


def model_of(**fields):
    return replace(make_header(3).model, **fields)


@pytest.mark.parametrize(
    ("fields", "rejection"),
    [
        ({"chain": Digest(bytes(32))}, Rejection.WRONG_CHAIN),
        ({"kind": KIND_UPDATE}, Rejection.BAD_LINK),
        ({"model": None}, Rejection.BAD_LINK),
        ({"blob": None}, Rejection.BAD_LINK),
        ({"round": Round(4)}, Rejection.BAD_LINK),
        ({"height": Height(20)}, Rejection.BAD_LINK),
        ({"time": Millis(1_002)}, Rejection.BAD_TIME),
        ({"model": model_of(epoch=Epoch(1))}, Rejection.WRONG_EPOCH),
        ({"model": model_of(committee=committee(0)[:2] * 2)}, Rejection.BAD_LINK),
        ({"model": model_of(proof=None)}, Rejection.BAD_DRAW),
        ({"model": model_of(proof=make_header(2).model.proof)}, Rejection.BAD_DRAW),
        ({"model": model_of(view=View(1))}, Rejection.BAD_DRAW),
        ({"model": model_of(lot=make_header(2).model.lot)}, Rejection.BAD_DRAW),
        ({"model": model_of(lot=Digest(bytes(32)))}, Rejection.BAD_DRAW),
    ],
)
def test_a_header_that_does_not_follow_is_refused_though_it_is_certified(fields, rejection):
    genesis, chain = make_chain(3, **fields)
    with pytest.raises(PeerError) as caught:
        verify_chain(genesis, chain, PARAMS, MANAGERS, verify_envelope)
    assert caught.value.rejection is rejection


def test_a_gap_another_order_and_another_committee_are_refused():
    genesis, chain = make_chain(4)
    for broken in (chain[1:], [chain[0], chain[2]], [chain[1], chain[0]]):
        with pytest.raises(PeerError):
            verify_chain(genesis, broken, PARAMS, MANAGERS, verify_envelope)
    header = replace(chain[1].header, time=Millis(5_000))
    with pytest.raises(PeerError, match="another block"):
        verify_chain(genesis, [chain[0], CertifiedHeader(header, chain[1].certificate)], PARAMS, MANAGERS, verify_envelope)


def test_a_chain_signed_by_an_earlier_committee_is_refused():
    genesis, chain = make_chain(2)
    instance = replace(opened_by(chain[0].header, PARAMS), committee=committee(0))
    body = body_of(instance, Commit, 0, digest=header_hash(chain[1].header))
    forged = CertifiedHeader(chain[1].header, certificate_of([seal(body, key) for key in KEYS[:3]]))
    with pytest.raises(PeerError) as caught:
        verify_chain(genesis, [chain[0], forged], PARAMS, MANAGERS, verify_envelope)
    assert caught.value.rejection is Rejection.BAD_CERTIFICATE


def test_only_a_model_header_opens_a_round():
    assert opened_by(make_header(2), PARAMS).committee == tuple(NodeId(key.node_id) for key in KEYS[2:6])
    with pytest.raises(InvariantError):
        opened_by(make_header(2, model=None), PARAMS)
