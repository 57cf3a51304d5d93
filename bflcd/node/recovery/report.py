"""A recovery plan as the API answers it, and in words: what stopped, who judges from then on, what can be lost."""

from collections.abc import Iterable, Sequence

from bflcd.api.schema.recovery import PreparedView, RecoveryRow, RecoverySeat, RecoveryView, Unanswered
from bflcd.core.snapshot import RecoveriesSeen
from bflcd.ledger.quorum import quorum
from bflcd.node.recovery.observation import recovery_id
from bflcd.node.recovery.plan import Action, Plan
from bflcd.types import Epoch, NodeId, short
from bflcd.wire.recovery import PreparedProof, Recovery, RecoveryCertificate, claim_hash


def recovery_view(
    plan: Plan, recoveries: RecoveriesSeen, stalled_ms: int, *, signed: bool = False, adopted: bool = False
) -> RecoveryView:
    """The answer. `recoveries`: what managers have signed by now."""
    context, found = plan.context, plan.found
    managers = context.state.managers
    signers = _signers(plan.recovery, recoveries)
    later = [held for held in recoveries.held if held.recovery.epoch > context.state.epoch]
    pending = [held for held in later if not recoveries.complete(held)]
    objections = {entry.id: entry.objection for entry in plan.pending}
    refusal = plan.refusal
    return RecoveryView(
        round=context.round,
        epoch=context.state.epoch,
        stalled_ms=stalled_ms,
        managers=_hex(managers),
        needed=recoveries.needed,
        i_am_manager=context.me in managers,
        can_still_decide=plan.can_still_decide,
        quorum=context.q,
        committee=[
            RecoverySeat(
                node_id=seat.node.hex(),
                connected=seat.connected,
                heard=seat.heard,
                awaited=seat.awaited,
                signed=seat.signed,
                me=seat.node == context.me,
            )
            for seat in plan.seats
        ],
        silent=[seat.node.hex() for seat in plan.seats if not seat.connected],
        action=plan.action.value,
        proposal=_row(plan.recovery, plan.proof, signers, ""),
        pending=[
            _row(held.recovery, held.proof, _authors(held), objections.get(recovery_id(held.recovery), "")) for held in pending
        ],
        prepared=None if found.proof is None else _prepared(found.proof, found.holder),
        answered=_hex(sorted(found.answered)),
        unanswered=[Unanswered(node_id=node.hex(), reason=reason) for node, reason in found.unanswered],
        warnings=list(plan.warnings),
        refusal="" if refusal is None else refusal.text,
        hint="" if refusal is None else refusal.hint,
        code="" if refusal is None else refusal.code,
        lines=_lines(plan, signers, recoveries.needed, stalled_ms, adopted=adopted),
        signed=signed,
        adopted=adopted,
    )


def _row(recovery: Recovery, proof: PreparedProof | None, signers: Iterable[NodeId], objection: str) -> RecoveryRow:
    return RecoveryRow(
        id=recovery_id(recovery).hex(),
        epoch=recovery.epoch,
        committee=_hex(recovery.committee),
        retired=_hex(recovery.retired),
        prepared=None if proof is None else _prepared(proof, None),
        signed_by=_hex(signers),
        objection=objection,
    )


def _prepared(proof: PreparedProof, holder: NodeId | None) -> PreparedView:
    return PreparedView(
        digest=proof.claim.digest.hex(),
        epoch=proof.claim.epoch,
        view=proof.claim.view,
        holder="" if holder is None else holder.hex(),
    )


def _signers(recovery: Recovery, recoveries: RecoveriesSeen) -> list[NodeId]:
    return next((_authors(held) for held in recoveries.held if held.recovery == recovery), [])


def _authors(certificate: RecoveryCertificate) -> list[NodeId]:
    return [manager for manager, _ in certificate.signatures]


# -- in words -------------------------------------------------------------------------------------------------------------


def _lines(plan: Plan, signers: Sequence[NodeId], needed: int, stalled_ms: int, *, adopted: bool) -> list[str]:
    recovery = plan.recovery
    if adopted:
        moved = (
            f"{needed} managers have signed: round {recovery.round} goes on in epoch {recovery.epoch}, judged by "
            f"{_names(recovery.committee)}."
        )
        return [moved, "What is still said in a lower epoch of this round is dead."]
    dead = (
        f"From then on epoch {recovery.epoch} holds. What was said in a lower epoch of this round is dead, and a block that "
        "turns up certified by a lower epoch loses: whoever holds it takes it back."
    )
    return [_standing(plan, stalled_ms), _found(plan), _judges(plan), dead, _signatures(plan, signers, needed)]


def _standing(plan: Plan, stalled_ms: int) -> str:
    context, seats = plan.context, plan.seats
    gone = [seat.node for seat in seats if not seat.connected]
    bound = [seat.node for seat in seats if seat.signed and seat.connected]
    start = f"Round {context.round} has been open for {stalled_ms / 1000:.0f} s"
    said = (
        f"{len(gone)} of the {len(seats)} seats of its committee are not connected ({_names(gone)})"
        if gone
        else (f"all {len(seats)} seats of its committee are connected")
    )
    if bound:
        said += f", and {_names(bound)} signed a recovery and votes no more"
    if plan.can_still_decide:
        return (
            f"{start}; {said}. {context.q} are enough to decide, so it needs no recovery. One would be wrong: it ends an epoch "
            "in which others may be deciding now, and what they decide would be replaced."
        )
    return (
        f"{start}; {said}. {context.q} are needed to decide, so it can't go on until they are back. If they come back, no "
        "recovery is needed."
    )


def _found(plan: Plan) -> str:
    found, recovery = plan.found, plan.recovery
    told = f"{len(found.answered)} members told what they had prepared, {len(found.unanswered)} did not"
    if found.proof is None:
        text = f"Nothing was found prepared ({told}): the new committee collects and decides anew."
    else:
        claim = found.proof.claim
        holder = "this node" if found.holder in (None, plan.context.me) else short(found.holder or b"")
        text = (
            f"{holder} holds a proof that segment {short(claim.digest)} was prepared in view {claim.view} of epoch {claim.epoch} "
            f"({told}): it may have been decided, so the new committee has to decide exactly that."
        )
    if recovery.prepared != (None if found.proof is None else claim_hash(found.proof.claim)):
        named = "no prepared segment" if recovery.prepared is None else "another proof"
        text += f" The recovery to be signed names {named}."
    return text


def _judges(plan: Plan) -> str:
    recovery = plan.recovery
    text = (
        f"Round {recovery.round} is then decided by {_names(recovery.committee)}: {len(recovery.committee)} seats, quorum "
        f"{quorum(len(recovery.committee))}."
    )
    if recovery.retired:
        text += f" Declared gone, without a seat until they are seen again: {_names(recovery.retired)}."
    return text


def _signatures(plan: Plan, signers: Sequence[NodeId], needed: int) -> str:
    managers = plan.context.state.managers
    others = [node for node in managers if node not in signers and (plan.action is Action.WAIT or node != plan.context.me)]
    left = max(0, needed - len(signers))
    have = f"Signed by {len(signers)} of {needed} managers" + (f" ({_names(signers)})" if signers else "")
    if not left:
        return f"{have}."
    mine = "" if plan.action is Action.WAIT or plan.context.me not in managers else ", this node's among them if you go on"
    return f"{have}; {left} more are needed{mine}. Each of the others ({_names(others)}) types: bflc-cli --datadir DIR recover"


def pending_warning(recoveries: RecoveriesSeen, epoch: Epoch) -> str:
    """What `status` warns of while managers' signatures are being collected; empty if there are none."""
    later = [c for c in recoveries.held if c.recovery.epoch > epoch and not recoveries.complete(c)]
    if not later:
        return ""
    first = later[0]
    return (
        f"{len(first.signatures)} of {recoveries.needed} managers have signed to give round {first.recovery.round} a new "
        "committee; `bflc-cli recover --dry-run` shows it"
    )


def _names(nodes: Iterable[NodeId]) -> str:
    return ", ".join(short(node) for node in nodes) or "nobody"


def _hex(nodes: Iterable[NodeId]) -> list[str]:
    return [node.hex() for node in nodes]
