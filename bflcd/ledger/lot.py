"""The lot: what a community draws by, and what each round's leader adds to it without a choice (design 5, Lot; ADR 16).

The lot of round t + 1 is a hash of the lot of round t and of what the leader's key says of (chain, t, lot of t). That is one
value for each key (`bflcd.crypto.vrf`), which nobody else can compute before the leader shows it. Nothing else of a block enters:
its time, cards, operations and model move no draw, nor do the bytes of the proof, of which one value has many. What is left to a
leader is to propose nothing: then the next view's leader adds its own value, and the ledger remembers who let its view fail.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.crypto.vrf import verify_proof
from bflcd.errors import PeerError, Rejection
from bflcd.types import Digest, NodeId, Proof, Round, View, short

_REMEMBERED: Final = 1024
"""Proofs whose verification is remembered: a member checks one when it is proposed, and again when it is committed."""

_output_of = lru_cache(maxsize=_REMEMBERED)(verify_proof)


@dataclass(frozen=True, slots=True)
class Draw:
    """What a segment's first proposer added: in which view, with which proof, and the lot after it."""

    view: View
    proof: Proof
    lot: Digest


def first_lot(chain: Digest) -> Digest:
    """The lot of round 0. Whoever composed the genesis could try many; the first honest leader ends that."""
    return digest(Domain.LOT, chain)


def lot_input(chain: Digest, round_: Round, lot: Digest) -> bytes:
    """What the leader of a round that has `lot` must speak of: nothing in it is any leader's to choose, nor the view or epoch."""
    return digest(Domain.DRAW, chain, integer(round_), lot)


def lot_after(lot: Digest, output: bytes) -> Digest:
    """The lot of the next round, when this one's leader says `output`."""
    return digest(Domain.LOT, lot, output)


def checked_draw(chain: Digest, round_: Round, lot: Digest, *, proposer: NodeId, view: View, proof: Proof) -> Draw:
    """The draw of `proposer`, who leads `view` of the round that has `lot`. Raises PeerError(BAD_DRAW) if it is not its own."""
    output = _output_of(proposer, lot_input(chain, round_, lot), proof)
    if output is None:
        raise PeerError(
            Rejection.BAD_DRAW,
            f"the proof for round {round_} is not what {short(proposer)}, leader of view {view}, says of that round's lot",
        )
    return Draw(view, proof, lot_after(lot, output))
