"""Open motions, read: whom they are about, how many managers they need, and how one more manager agrees."""

from dataclasses import replace
from typing import Any, Final

from bflcd.errors import InvariantError
from bflcd.ledger.operations.admitting import ADMIT, REFUSE
from bflcd.ledger.operations.keys import REPLACE
from bflcd.ledger.operations.leaving import KICK, RETURN
from bflcd.ledger.operations.managing import APPOINT, DISMISS
from bflcd.ledger.operations.motion import ManagerKind
from bflcd.ledger.operations.rollback import ROLLBACK
from bflcd.ledger.operations.setting import SET
from bflcd.ledger.state import Motion, State
from bflcd.types import NodeId, Round
from bflcd.wire.codec import decode

MANAGER_KINDS: Final[dict[str, ManagerKind[Any]]] = {
    kind.name: kind for kind in (ADMIT, REFUSE, KICK, RETURN, APPOINT, DISMISS, SET, ROLLBACK, REPLACE)
}
"""Kinds that a motion can be of, by name."""


def describe_motion(state: State, motion: Motion) -> tuple[NodeId | None, int, str]:
    """Whom it is about, if anybody; how many managers have to be for it; why, or what it sets."""
    kind = _kind(motion)
    body = decode(motion.content, kind.body_type)
    target = kind.target(body)
    if isinstance(target, str):
        return None, kind.needed(state), f"{target} = {body.value}"
    return target, kind.needed(state), kind.why(body)


def agreeing_body(motion: Motion, round_: Round, number: int) -> Any:
    """What one more manager signs for it in `round_`, as its own `number`-th operation."""
    return replace(decode(motion.content, _kind(motion).body_type), round=round_, number=number)


def _kind(motion: Motion) -> ManagerKind[Any]:
    kind = MANAGER_KINDS.get(motion.kind)
    if kind is None:
        raise InvariantError(f"the ledger has a motion of kind {motion.kind!r}, which is none of managers")
    return kind
