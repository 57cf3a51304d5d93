"""From what an operator asks for to what its node signs."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, Final

from bflcd.api.schema.alliance import OperationRequest
from bflcd.errors import UsageError
from bflcd.ledger.alliance.fees import price_of
from bflcd.ledger.alliance.parameters import BOUNDS
from bflcd.ledger.operations.motion import motion_id
from bflcd.ledger.operations.open_motions import agreeing_body
from bflcd.ledger.operations.rollback import ROLLBACK
from bflcd.ledger.operations.vouching import VOUCH
from bflcd.ledger.state import Motion, State, Voucher, member_of
from bflcd.limits import is_printable
from bflcd.params import BlobRef
from bflcd.types import HASH_BYTES, Amount, NodeId, Round, short
from bflcd.wire.alliance import Admit, Kick, Leave, Refuse, Return, Transfer, Vouch
from bflcd.wire.codec import decode
from bflcd.wire.governance import Appoint, Dismiss, SetParameter
from bflcd.wire.keys import Replace
from bflcd.wire.money import Pay
from bflcd.wire.rollback import Rollback

LEAST_DIGITS: Final = 4
"""A shorter beginning of an id is too easily mistyped."""

MAX_REASON_BYTES: Final = 256

_Make = Callable[[State, OperationRequest, int], Any]


def body_of(state: State, request: OperationRequest, number: int, me: NodeId, model: BlobRef | None = None) -> tuple[str, Any]:
    """The operation's kind, and what is signed as the `number`-th of `me`. Raises UsageError for what means nothing.

    `model`: of the round to which a rollback goes back.
    """
    for name in ("reason", "node", "by", "motion", "name"):
        if not is_printable(getattr(request, name)):
            raise UsageError(f"{name} has characters that can't be printed", code="bad_argument")
    if len(request.reason.encode()) > MAX_REASON_BYTES:
        text = f"the reason has {len(request.reason.encode())} bytes, at most {MAX_REASON_BYTES} are possible"
        raise UsageError(text, code="bad_argument")
    if request.kind == "approve":
        agreed = _open(state, request.motion)
        if isinstance(agreed, Voucher):
            return VOUCH.name, Vouch(state.chain, state.round, number, agreed.key, agreed.until, opens=False)
        return agreed.kind, agreeing_body(agreed, state.round, number)
    if request.kind == ROLLBACK.name and model is not None:
        target = wanted_round(request)
        body = Rollback(state.chain, state.round, number, target, model, request.reason)
        return request.kind, _as_proposed(state, request, body)
    if request.kind == "pay":
        return request.kind, _pay(state, request, number, me)
    return request.kind, _as_proposed(state, request, _MAKES[request.kind](state, request, number))


def wanted_round(request: OperationRequest) -> Round:
    """The round whose model is to come back. Raises UsageError if the request names none."""
    if request.round is None:
        raise UsageError("rollback needs the round whose model is to come back", code="bad_argument")
    return Round(request.round)


def motion_to_go_back(state: State, request: OperationRequest) -> Rollback | None:
    """What is agreed to, if that is to go back to an older model. Raises UsageError for a motion that is none."""
    if request.kind != "approve":
        return None
    agreed = _open(state, request.motion)
    return decode(agreed.content, Rollback) if isinstance(agreed, Motion) and agreed.kind == ROLLBACK.name else None


def _as_proposed(state: State, request: OperationRequest, body: Any) -> Any:
    """`body`, in the words of the open motion that does the same, as other words would be a motion of their own; a reason that is
    given is meant as it stands. Raises UsageError where several motions do it."""
    if request.reason or not hasattr(body, "reason"):
        return body
    agreeing = [
        (motion, agreed)
        for motion in state.motions
        if motion.kind == request.kind and replace(agreed := agreeing_body(motion, state.round, body.number), reason="") == body
    ]
    if len(agreeing) > 1:
        ids = ", ".join(short(motion_id(motion.kind, motion.content)) for motion, _ in agreeing)
        text = f"{request.kind}: {len(agreeing)} motions do this, each for a reason of its own: {ids}"
        raise UsageError(text, hint="`bflc-cli approve MOTION` says which is meant", code="bad_argument")
    return agreeing[0][1] if agreeing else body


def _replace(state: State, request: OperationRequest, number: int) -> Replace:
    return Replace(state.chain, state.round, number, _node(state, request), _id(state, request.kind, "by", request.by))


def _vouch(state: State, request: OperationRequest, number: int) -> Vouch:
    if request.round is None:
        raise UsageError("vouch needs the last round in which the voucher holds", code="bad_argument")
    return Vouch(state.chain, state.round, number, _node(state, request), Round(request.round), opens=True)


def _transfer(state: State, request: OperationRequest, number: int) -> Transfer:
    if request.amount < 1:
        raise UsageError("transfer needs an amount of at least 1", code="bad_argument")
    return Transfer(state.chain, state.round, number, _node(state, request), Amount(request.amount))


def _set(state: State, request: OperationRequest, number: int) -> SetParameter:
    if request.name not in BOUNDS:
        raise UsageError(f"name: {request.name!r} can't be set", hint=f"known: {', '.join(BOUNDS)}", code="bad_argument")
    return SetParameter(state.chain, state.round, number, request.name, request.value)


def _pay(state: State, request: OperationRequest, number: int, me: NodeId) -> Pay:
    node = _node(state, request) if request.node else me
    account = member_of(state, node)
    if account is None:
        raise UsageError(f"pay: {short(node)} is no member", hint="`bflc-cli ledger` lists them", code="bad_argument")
    price = price_of(state.terms, account)
    if request.amount and price.total > request.amount:
        raise UsageError(f"pay: it costs {price}, more than {request.amount}", hint="raise --most", code="too_dear")
    return Pay(state.chain, state.round, number, node, account.paid_round, price.fee, price.deposit)


_MAKES: Final[dict[str, _Make]] = {
    "admit": lambda state, request, number: Admit(state.chain, state.round, number, _node(state, request)),
    "refuse": lambda state, request, number: Refuse(state.chain, state.round, number, _node(state, request), request.reason),
    "kick": lambda state, request, number: Kick(state.chain, state.round, number, _node(state, request), request.reason),
    "return": lambda state, request, number: Return(state.chain, state.round, number, _node(state, request)),
    "appoint": lambda state, request, number: Appoint(state.chain, state.round, number, _node(state, request)),
    "dismiss": lambda state, request, number: Dismiss(state.chain, state.round, number, _node(state, request), request.reason),
    "set": _set,
    "leave": lambda state, request, number: Leave(
        state.chain, state.round, number, _node(state, request) if request.node else None
    ),
    "transfer": _transfer,
    "replace": _replace,
    "vouch": _vouch,
}
"""By what `OperationRequest.kind` says."""


def _node(state: State, request: OperationRequest) -> NodeId:
    return _id(state, request.kind, "node", request.node)


def _id(state: State, kind: str, name: str, text: str) -> NodeId:
    """The id that is given, or the only known one that begins so. Raises UsageError."""
    if not text:
        raise UsageError(f"{kind} needs a node" + ("" if name == "node" else f" in `{name}`"), code="bad_argument")
    if len(text) == 2 * HASH_BYTES:
        try:
            return NodeId(bytes.fromhex(text))
        except ValueError as error:
            message = f"{name}: {text!r} is no id of {2 * HASH_BYTES} hexadecimal digits"
            raise UsageError(message, code="bad_argument") from error
    known = {account.node for account in state.accounts} | {one.node for one in state.applicants}
    known |= {one.key for one in state.vouchers}
    return NodeId(_beginning_with(known, text, name))


def _open(state: State, text: str) -> Motion | Voucher:
    """What more managers may agree to, by the beginning of its id: a motion, or a voucher by its key. Raises UsageError."""
    by_id: dict[bytes, Motion | Voucher] = {motion_id(one.kind, one.content): one for one in state.motions}
    by_id |= {one.key: one for one in state.vouchers}
    return by_id[_beginning_with(set(by_id), text, "motion")]


def _beginning_with(ids: AbstractSet[bytes], text: str, what: str) -> bytes:
    if len(text) < LEAST_DIGITS:
        raise UsageError(f"{what}: give at least {LEAST_DIGITS} digits of its id", code="bad_argument")
    found = [one for one in ids if one.hex().startswith(text.lower())]
    if len(found) != 1:
        how = "none is known that begins" if not found else f"{len(found)} begin"
        hint = "`bflc-cli --json alliance` and `bflc-cli --json members` show whole ids"
        raise UsageError(f"{what}: {how} with {text}", hint=hint, code="bad_argument")
    return found[0]
