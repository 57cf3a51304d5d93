"""What a member is told of managers that want it out: who is put out is barred at once, and no block tells it so any more."""

from collections.abc import Sequence

from bflcd.core.round.context import RoundContext
from bflcd.ledger.operations.leaving import KICK
from bflcd.ledger.operations.motion import manages
from bflcd.limits import visible
from bflcd.types import NodeId
from bflcd.wire.alliance import Kick
from bflcd.wire.codec import decode
from bflcd.wire.operation import Operation


def kick_warnings(context: RoundContext, waiting: Sequence[Operation]) -> list[str]:
    """One for each motion to put this node out; `waiting`: operations that no block has carried yet, which count as well."""
    state, for_it = context.state, dict[bytes, set[NodeId]]()
    for motion in state.motions:
        if motion.kind == KICK.name:
            for_it[motion.content] = set(motion.approvals)
    for operation in waiting:
        if operation.kind == KICK.name:
            for_it.setdefault(KICK.content(KICK.body(operation)), set()).add(operation.author)
    needed, texts = KICK.needed(state), []
    for content, nodes in for_it.items():
        kick = decode(content, Kick)
        signed = sum(manages(state, node) for node in nodes)
        if kick.node == context.me and signed:
            why = f": {visible(kick.reason)}" if kick.reason else ""
            out = (
                "; with the block that carries it, it is no member any more, and nobody connects to it"
                if signed >= needed
                else ""
            )
            texts.append(f"{signed} of {needed} managers have signed that this node is put out{why}{out}")
    return texts
