"""What tests look at inside of a core, and the product does not."""

from bflcd.consensus.pbft import Pbft
from bflcd.core.core import Core
from bflcd.core.operation_pool import OperationPool
from bflcd.core.round.segments import SegmentCandidates
from bflcd.core.round.state import RoundState
from bflcd.ledger.trust.noise import Noise, Rows
from bflcd.wire.blocks import Certificate


def round_of(core: Core) -> RoundState:
    """The running round."""
    return core._round


def quiet(core: Core) -> Noise:
    """What a judge of a community without noise adds to what it measured: nothing."""
    return Noise.of(core.context.params, b"", core.context.round, core.context.state.epoch, Rows(1, 1))


def pbft_of(core: Core) -> Pbft | None:
    """This round's machine, if the node holds a seat."""
    agreement = core._round.agreement
    return None if agreement is None else agreement.pbft


def candidates_of(core: Core) -> SegmentCandidates | None:
    """The segments that may become this round's, if the node holds a seat."""
    agreement = core._round.agreement
    return None if agreement is None else agreement._candidates


def pool_of(core: Core) -> OperationPool:
    """What is held against members."""
    return core._node.operations.pool


def last_certificate(core: Core) -> Certificate | None:
    """That of the newest committed round."""
    return core._certificates._last


def pending_certificate(core: Core) -> Certificate | None:
    """That of the running round."""
    decision = core._round.decision
    return None if decision is None else decision.certificate
