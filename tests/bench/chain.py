"""Verifying a chain of certified headers, beside the signatures and proofs that it can't do without (design 12)."""

import time
from typing import Any

from bflcd.consensus.certificate import commit_payload, opened_by, verify_chain
from bflcd.crypto.identity import verify
from bflcd.crypto.vrf import verify_proof
from bflcd.ledger import lot
from bflcd.ledger.lot import checked_draw, lot_input
from bflcd.ledger.quorum import quorum
from bflcd.ledger.state import genesis_header
from bflcd.params import BlobRef
from bflcd.types import ZERO_DIGEST, Digest, Epoch, Millis, Round, View
from bflcd.wire.blocks import KIND_MODEL, Certificate, CertifiedHeader, Header, ModelFields, header_hash, model_height
from bflcd.wire.envelope import Envelope, seal, signing_hash, verify_envelope
from bflcd.wire.messages import Commit
from tests.helpers.ledger import make_genesis

HEADERS = 300
REPEATS = 5


def run() -> list[dict[str, Any]]:
    """One row: CPU seconds of both, the least of some repeats."""
    genesis, identities = make_genesis(nodes=10)
    by_id = {identity.node_id: identity for identity in identities}
    trusted = header = genesis_header(genesis)
    chain, draws = [], []
    for round_ in range(1, HEADERS + 1):
        instance = opened_by(header, genesis.params)
        parent, leads = header_hash(header), instance.leader(View(0))
        assert header.model is not None
        place = (header.chain, header.round, header.model.lot)
        proof = by_id[leads].prove(lot_input(*place))
        draws.append((leads, lot_input(*place), proof))
        drawn = checked_draw(*place, proposer=leads, view=View(0), proof=proof)
        header = Header(
            chain=header.chain,
            height=model_height(Round(round_), genesis.params.places),
            round=Round(round_),
            kind=KIND_MODEL,
            parent=Digest(bytes([round_ % 256]) * 32),
            body=ZERO_DIGEST,
            blob=BlobRef(genesis.model.root, genesis.model.size),
            time=Millis(header.time + 1),
            model=ModelFields(Epoch(0), View(0), proof, drawn.lot, ZERO_DIGEST, genesis.committee, degraded=False),
        )
        digest = header_hash(header)
        commit = Commit(header.chain, Round(round_ - 1), Epoch(0), View(0), parent, instance.committee_hash, digest)
        signers = sorted(genesis.committee)[: quorum(len(genesis.committee))]
        signatures = tuple((node, seal(commit, by_id[node]).envelope.signature) for node in signers)
        certificate = Certificate(
            header.chain, Round(round_ - 1), Epoch(0), View(0), parent, instance.committee_hash, digest, signatures
        )
        chain.append(CertifiedHeader(header, certificate))
    checks = [
        (node, signing_hash(commit_payload(item.certificate)), signature)
        for item in chain
        for node, signature in item.certificate.signatures
    ]
    values, floors = [], []
    for _ in range(REPEATS):
        lot._output_of.cache_clear()
        begun = time.process_time()
        verify_chain(trusted, chain, genesis.params, genesis.managers, _verify)
        values.append(time.process_time() - begun)
        begun = time.process_time()
        assert all(verify(*check) for check in checks)
        assert all(verify_proof(*draw) for draw in draws)
        floors.append(time.process_time() - begun)
    value, floor = min(values) / HEADERS * 1e6, min(floors) / HEADERS * 1e6
    return [
        {
            "row": "verifying the header chain, µs a header (CPU)",
            "value": round(value, 1),
            "floor": round(floor, 1),
            "floor_is": "Ed25519 and VRF alone",
            "ratio": round(value / floor, 2),
            "budget": "<= 1.5",
        }
    ]


def _verify(envelope: Envelope) -> bool:
    return verify_envelope(envelope)
