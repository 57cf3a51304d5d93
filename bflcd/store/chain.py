"""What a commit must satisfy whatever the store, and which payloads a segment names. Pure."""

from dataclasses import dataclass

from bflcd.core.records import Head
from bflcd.errors import OperatorError
from bflcd.ledger.state import State, state_hash
from bflcd.params import Genesis
from bflcd.types import ZERO_DIGEST, Digest, Height, Round, short
from bflcd.wire.blocks import KIND_MODEL, CertifiedSegment, Header, chain_id_of, header_hash


@dataclass(frozen=True, slots=True)
class Placed:
    """A payload and the block that names it."""

    height: Height
    round: Round
    root: Digest


def placed_payloads(certified: CertifiedSegment) -> tuple[Placed, ...]:
    """Every payload that the segment's blocks name, by height."""
    headers = certified.segment.headers
    return tuple(Placed(h.height, h.round, h.blob.root) for h in headers if h.blob is not None)


def genesis_head(genesis: Genesis, header: Header, state: State) -> Head:
    """Block 0 as a head. Raises ValueError if header or state are not of this genesis."""
    chain = chain_id_of(genesis)
    if not (header.chain == state.chain == chain and header.height == 0 and header.round == 0 and header.parent == ZERO_DIGEST):
        raise ValueError(f"block 0 of chain {short(header.chain)} does not belong to the genesis of chain {short(chain)}")
    check_state(header, state)
    return Head(header, header_hash(header), state)


def wrong_chain(directory: object, held: Genesis, offered: Genesis) -> OperatorError:
    """The refusal to put a second chain into a data directory."""
    return OperatorError(
        f"{directory} holds chain {short(chain_id_of(held))} ({held.name}), "
        f"not chain {short(chain_id_of(offered))} ({offered.name})",
        hint="use another data directory for another chain",
        code="wrong_chain",
    )


def successor(head: Head, certified: CertifiedSegment, state: State) -> Head:
    """The head after `certified`. Raises ValueError unless the segment follows `head` and `state` is what its header says."""
    segment, certificate = certified.segment, certified.certificate
    header = segment.model_header
    digest = header_hash(header)
    first = segment.headers[0]
    if header.kind != KIND_MODEL or header.round != head.header.round + 1 or first.height != head.header.height + 1:
        raise ValueError(f"a segment that ends in round {header.round} does not follow the model of round {head.header.round}")
    if first.parent != head.hash or header.chain != head.header.chain:
        raise ValueError(f"the segment of round {header.round} builds on {short(first.parent)}, the head is {short(head.hash)}")
    if certificate.digest != digest:
        raise ValueError(f"the certificate is for {short(certificate.digest)}, the segment is {short(digest)}")
    check_state(header, state)
    return Head(header, digest, state)


def check_state(header: Header, state: State) -> None:
    """Raise ValueError unless `state` is the ledger that a model header commits to."""
    if header.model is None or header.model.state != state_hash(state) or state.round != header.round:
        raise ValueError(f"the state of round {state.round} is not the one that the header of round {header.round} commits to")
