"""One round of a chain held against all that decides it: links, certificate, the function of the cards, the ledger."""

from collections.abc import Sequence

from bflcd.consensus.certificate import verify_chain
from bflcd.errors import MachineError
from bflcd.ledger.operations.recovery import judged_from
from bflcd.ledger.state import State, state_hash
from bflcd.ledger.transition import Outcome, validate_segment
from bflcd.params import Genesis
from bflcd.types import NodeId
from bflcd.wire.blocks import CertifiedHeader, CertifiedSegment, Header
from bflcd.wire.envelope import verify_envelope


def check_proved(genesis: Genesis, managers: Sequence[NodeId], header: Header, certified: CertifiedSegment) -> Header:
    """The model header of `certified`, proved to follow `header` by its certificate. `managers`: of the ledger of `header`.

    Raises PeerError.
    """
    proved = CertifiedHeader(certified.segment.model_header, certified.certificate)
    return verify_chain(header, (proved,), genesis.params, managers, verify_envelope)


def decide_anew(genesis: Genesis, header: Header, state: State, certified: CertifiedSegment) -> Outcome:
    """What the round that `header` opens decided, computed from `state`, the ledger of that header.

    Raises PeerError for what no round can have decided, MachineError for a ledger other than its header commits to.
    """
    outcome = validate_segment(genesis.params, judged_from(state, certified), header, certified.segment, verify_envelope)
    closing = certified.segment.model_header
    if closing.model is None or state_hash(outcome.state) != closing.model.state:
        raise MachineError(f"block #{closing.height}: the ledger is not the one that its header commits to")
    return outcome
