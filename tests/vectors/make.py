"""Writes the golden bytes: `python -m tests.vectors.make [--force]`. Without --force what is written already must stay as it is.

A changed vector is a changed protocol: nodes of the old and the new version would not understand each other.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bflcd.crypto.hashing import Domain, blob_root, chunk_hash, digest
from bflcd.crypto.identity import Identity, peer_id_of
from bflcd.ledger.state import State, state_hash
from bflcd.params import Genesis
from bflcd.types import CHUNK_BYTES, Epoch
from bflcd.wire.blocks import (
    Header,
    ModelBody,
    Segment,
    UpdateBody,
    body_hash,
    chain_id_of,
    committee_hash,
    header_hash,
    segment_digest,
)
from bflcd.wire.codec import encode
from bflcd.wire.envelope import payload_digest, seal, signing_hash
from bflcd.wire.messages import Beacon, CardSeal, Commit, Offer, OffersClosed, Prepare, PrePrepare, ScoreCard, ViewChange
from bflcd.wire.operation import Operation, operation_id
from bflcd.wire.proposal import Proposal, proposal_id
from bflcd.wire.recovery import PreparedClaim, claim_hash
from tests.helpers.schema import FLAVOURS, MESSAGES, as_json, sample, schema_of

RETIRED: dict[int, str] = {
    1: "Genesis",
    2: "Genesis",
    10: "Header",
    12: "ModelBody",
    13: "Segment",
    14: "Certificate",
    15: "CertifiedHeader",
    16: "CertifiedSegment",
    17: "RecoveryCertificate",
    18: "ModelBody",
    19: "Segment",
    21: "CertifiedSegment",
    23: "Segment",
    24: "CertifiedSegment",
    25: "RecoveryCertificate",
    26: "Certificate",
    27: "CertifiedHeader",
    31: "Offer",
    32: "ScoreCard",
    33: "PrePrepare",
    34: "Prepare",
    38: "ScoreCard",
    39: "PrePrepare",
    41: "JustifiedViewChange",
    42: "Announcement",
    43: "Evidence",
    45: "Proposal",
    46: "PreparedClaim",
    47: "JustifiedViewChange",
    48: "Announcement",
    50: "GetStatus",
    51: "Status",
    53: "GenesisReply",
    60: "GetManifest",
    62: "GetChunk",
    55: "Headers",
    57: "SegmentReply",
    66: "GetCertificate",
    67: "CertificateReply",
    70: "GetEvidence",
    71: "EvidenceReply",
    73: "PreparedReply",
    74: "GenesisReply",
    75: "SegmentReply",
    76: "SegmentReply",
    77: "Headers",
    80: "State",
    81: "State",
    82: "State",
    83: "State",
    84: "PreparedReply",
    88: "State",
    90: "State",
    92: "Leave",
    113: "State",
    126: "ScoreCard",
    128: "State",
    129: "Genesis",
    130: "GenesisReply",
    133: "Invitation",
    134: "State",
    135: "Genesis",
    136: "GenesisReply",
    137: "State",
    160: "Genesis",
    161: "GenesisReply",
    165: "Genesis",
    166: "GenesisReply",
}
"""Numbers whose message is gone, with its last name: never given to another, their vectors kept as they were."""

FOLDER = Path(__file__).parent
MESSAGE_FILE = FOLDER / "messages.json"
HASH_FILE = FOLDER / "hashes.json"
SIGNER_SEED = bytes(range(32))


def message_vectors() -> dict[str, Any]:
    """Three samples of every registered message: shortest, ordinary, at the limits. Those of retired ones as they were."""
    kept = json.loads(MESSAGE_FILE.read_text()) if RETIRED else {}
    vectors = {str(number): kept[str(number)] for number in RETIRED}
    for number, cls in MESSAGES.items():
        cases = {}
        for flavour in FLAVOURS:
            value = sample(schema_of(cls), flavour)
            cases[flavour] = {"value": as_json(value), "hex": encode(value).hex()}
        vectors[str(number)] = {"name": cls.__name__, "cases": cases}
    return dict(sorted(vectors.items(), key=lambda item: int(item[0])))


def hash_vectors() -> dict[str, Any]:
    """What the hash functions and signatures give for the ordinary samples and for fixed bytes."""
    signer = Identity(SIGNER_SEED)
    header, segment = sample(schema_of(Header)), sample(schema_of(Segment))
    envelopes = {
        cls.__name__: seal(sample(schema_of(cls)), signer).envelope
        for cls in (Beacon, Offer, OffersClosed, CardSeal, ScoreCard, PrePrepare, Prepare, Commit, ViewChange)
    }
    return {
        "domains": {domain.name: digest(domain, b"abc", b"").hex() for domain in Domain},
        "chunks": {str(size): chunk_hash(bytes(size)).hex() for size in (1, CHUNK_BYTES)},
        "roots": {
            "1 zero byte": blob_root(1, [chunk_hash(b"\0")]).hex(),
            "1 MiB and 1 of zeros": blob_root(CHUNK_BYTES + 1, [chunk_hash(bytes(CHUNK_BYTES)), chunk_hash(b"\0")]).hex(),
        },
        "plain samples": {
            "chain_id_of(Genesis)": chain_id_of(sample(schema_of(Genesis))).hex(),
            "header_hash(Header)": header_hash(header).hex(),
            "body_hash(UpdateBody)": body_hash(sample(schema_of(UpdateBody))).hex(),
            "body_hash(ModelBody)": body_hash(sample(schema_of(ModelBody))).hex(),
            "segment_digest(Segment)": segment_digest(segment).hex(),
            "state_hash(State)": state_hash(sample(schema_of(State))).hex(),
            "operation_id(Operation)": operation_id(sample(schema_of(Operation))).hex(),
            "proposal_id(Proposal)": proposal_id(sample(schema_of(Proposal))).hex(),
            "claim_hash(PreparedClaim)": claim_hash(sample(schema_of(PreparedClaim))).hex(),
            "committee_hash(7, (signer,))": committee_hash(Epoch(7), (signer.node_id,)).hex(),
        },
        "signer": {"seed": SIGNER_SEED.hex(), "node_id": signer.node_id.hex(), "peer_id": peer_id_of(signer.node_id)},
        "signed": {
            name: {
                "signing_hash": signing_hash(envelope.payload).hex(),
                "signature": envelope.signature.hex(),
                "payload_digest": payload_digest(envelope).hex(),
            }
            for name, envelope in envelopes.items()
        },
    }


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where `new` changes or drops what `old` has; additions are no difference."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [item for key in old for item in differences(old[key], new.get(key), f"{path}/{key}")]
    return [] if old == new else [path]


def main() -> int:
    """Write both files; 1 if something would change and --force is not given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--force", action="store_true", help="overwrite changed vectors: the protocol changes on purpose")
    force = parser.parse_args().force
    made = {MESSAGE_FILE: message_vectors(), HASH_FILE: hash_vectors()}
    changed = [
        f"{path.name}{where}"
        for path, new in made.items()
        if path.exists()
        for where in differences(json.loads(path.read_text()), new)
    ]
    if changed and not force:
        sys.stderr.write("these vectors would change; give --force if the protocol changes on purpose:\n")
        sys.stderr.write("".join(f"  {where}\n" for where in changed))
        return 1
    for path, new in made.items():
        path.write_text(json.dumps(new, indent=1, sort_keys=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
