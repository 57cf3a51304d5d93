"""Keys of a simulated community: real Ed25519, or keyed BLAKE2b in its place, which is a hundred times as fast and as unforgeable here."""

from functools import cache
from hashlib import blake2b

from bflcd.crypto import vrf
from bflcd.crypto.identity import SEED_BYTES, Identity, Signer
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.types import SIGNATURE_BYTES, NodeId, Proof, Signature
from bflcd.wire.envelope import Envelope, signing_hash
from tests.helpers.ledger import make_identities


class StubSigner:
    """Signs under a real node id with a secret that only this object and the keyring know."""

    __slots__ = ("node_id", "seed")

    def __init__(self, node_id: NodeId, seed: bytes) -> None:
        self.node_id = node_id
        self.seed = seed

    def sign(self, data: bytes) -> Signature:
        return Signature(blake2b(data, key=self.seed, digest_size=SIGNATURE_BYTES).digest())

    def prove(self, alpha: bytes) -> Proof:
        """Real: there is one a round, and one function checks it everywhere."""
        return vrf.prove(self.seed, alpha)


class Keyring:
    """Everybody's keys, and the one function that says whether a signature is its author's."""

    def __init__(self, count: int, *, real: bool) -> None:
        self.real = real
        identities = make_identities(count)
        self._verified = VerifiedEnvelopes()
        self.signers: dict[NodeId, Signer] = {
            identity.node_id: identity if real else StubSigner(identity.node_id, _seed_of(identity)) for identity in identities
        }
        self.seeds = {identity.node_id: _seed_of(identity) for identity in identities}

    def another(self) -> Signer:
        """One more key, of nobody yet: for who rotates, and for vouchers."""
        identity = Identity(blake2b(b"another %d" % len(self.signers), digest_size=SEED_BYTES).digest())
        signer = identity if self.real else StubSigner(identity.node_id, identity.seed)
        self.signers[identity.node_id], self.seeds[identity.node_id] = signer, identity.seed
        return signer

    def verify(self, envelope: Envelope) -> bool:
        if self.real:
            return self._verified.verify_once(envelope)
        signer = self.signers.get(envelope.author)
        return signer is not None and signer.sign(signing_hash(envelope.payload)) == envelope.signature


@cache
def _seed_of(identity: Identity) -> bytes:
    return identity.seed
