"""What a manager's node proposes for a round that can't go on, and what speaks against signing it (design 6.8). Pure.

A recovery is right only when no quorum of the committee can come together any more. So the plan counts who can still vote, takes
nobody for alive who isn't connected now (a beacon of this round may be older than its sender's failure), never retires who is,
and names every reason not to sign. What was found prepared comes first: a recovery that leaves it out may undo a decision.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bflcd.core.round.context import RoundContext
from bflcd.core.snapshot import CoreSnapshot
from bflcd.errors import PeerError, UsageError
from bflcd.ledger.operations.recovery import check_recovery
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.state import NEVER, member_of, members_of
from bflcd.node.recovery.observation import (
    Found,
    Observation,
    SeatNow,
    doubt_of,
    known_epochs,
    pending_recoveries,
    rank_of,
    recovery_id,
    seats_now,
)
from bflcd.types import MAX_COMMITTEE, Digest, NodeId, short
from bflcd.wire.recovery import PreparedProof, Recovery, RecoveryCertificate, claim_hash

SAFE_SEATS: Final = 4
"""Fewer seats survive no liar and no loss at all: f is 0."""


class Action(Enum):
    """What signing would do now."""

    NEW = "new"
    """Sign a recovery that no other manager has signed yet."""
    JOIN = "join"
    """Add this manager's signature to a recovery that others have signed."""
    WAIT = "wait"
    """Nothing: this manager has signed it, others have to."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What the operator asks for; None leaves it to the plan."""

    committee: tuple[NodeId, ...] | None = None
    retired: tuple[NodeId, ...] | None = None
    join: Digest | None = None
    new: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class PlanInput:
    """What a plan is made from. `refusal`: why the core would not sign a recovery now, empty if it would."""

    core: CoreSnapshot
    refusal: Callable[[Recovery], str]
    seen: Observation
    found: Found
    request: PlanRequest

    @property
    def context(self) -> RoundContext:
        """The running round."""
        return self.core.context


@dataclass(frozen=True, slots=True)
class Pending:
    """A recovery that managers have signed and that still lacks signatures. `objection`: why not to join it; empty if nothing."""

    id: Digest
    certificate: RecoveryCertificate
    objection: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why this node does not sign. `lasting`: force does not help."""

    code: str
    text: str
    hint: str
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an operator has to know before signing, and what would be signed."""

    context: RoundContext
    seen: Observation
    found: Found
    seats: tuple[SeatNow, ...]
    pending: tuple[Pending, ...]
    action: Action
    recovery: Recovery
    proof: PreparedProof | None
    refusal: Refusal | None
    warnings: tuple[str, ...]

    @property
    def id(self) -> Digest:
        """Names the recovery that would be signed."""
        return recovery_id(self.recovery)

    @property
    def can_still_decide(self) -> bool:
        """Whether a quorum of the running committee can still vote."""
        return sum(seat.votes for seat in self.seats) >= self.context.q


def make_plan(inputs: PlanInput) -> Plan:
    """What to sign now. Raises UsageError for a request that names what is not there."""
    core, seen, found = inputs.core, inputs.seen, inputs.found
    seats = seats_now(core, seen)
    pending = tuple(Pending(recovery_id(held.recovery), held, _objection(held, inputs)) for held in pending_recoveries(core))
    action, chosen = _choose(inputs, pending)
    if chosen is not None:
        recovery, proof = chosen.certificate.recovery, chosen.certificate.proof
    else:
        recovery, proof = _new_recovery(inputs), found.proof
    refusal = _refusal(inputs, seats, recovery, "" if chosen is None else chosen.objection)
    if action is Action.WAIT or (refusal is not None and inputs.request.force and not refusal.lasting):
        refusal = None
    warnings = _warnings(inputs, recovery, tuple(entry for entry in pending if entry is not chosen))
    return Plan(inputs.context, seen, found, seats, pending, action, recovery, proof, refusal, warnings)


# -- what to sign ---------------------------------------------------------------------------------------------------------


def _choose(inputs: PlanInput, pending: tuple[Pending, ...]) -> tuple[Action, Pending | None]:
    request, me, signed = inputs.request, inputs.context.me, inputs.core.recoveries.signed
    if request.join is not None:
        named = next((p for p in pending if p.id == request.join), None)
        if named is None:
            raise UsageError(
                f"no recovery {request.join.hex()} is pending",
                hint="`bflc-cli recover --dry-run` lists them",
                code="bad_argument",
            )
        return (Action.WAIT if me in dict(named.certificate.signatures) else Action.JOIN), named
    if request.new or request.committee is not None or request.retired is not None:
        return Action.NEW, None
    best = next((p for p in pending if not p.objection), None)
    if best is not None and me in dict(best.certificate.signatures):
        return Action.WAIT, best
    if best is not None and best.certificate.recovery.epoch > signed:
        return Action.JOIN, best
    return Action.NEW, None


def _new_recovery(inputs: PlanInput) -> Recovery:
    core, context, request, proof = inputs.core, inputs.context, inputs.request, inputs.found.proof
    committee = _default_committee(core, inputs.seen) if request.committee is None else request.committee
    retired = _default_retired(core, inputs.seen, committee) if request.retired is None else tuple(sorted(set(request.retired)))
    _check_named(context, committee, retired)
    return Recovery(
        chain=context.state.chain,
        round=context.round,
        epoch=core.recoveries.next,
        parent=context.head_hash,
        committee=committee,
        retired=retired,
        prepared=None if proof is None else claim_hash(proof.claim),
    )


def _default_committee(core: CoreSnapshot, seen: Observation) -> tuple[NodeId, ...]:
    """Those of the old committee that are alive, in seat order, then other members that are and take part, by id; at most M."""
    context = core.context
    alive = {*seen.connected} if context.follows else {*seen.connected, context.me}
    members = [a.node for a in members_of(context.state) if a.node in alive and a.punished_round == NEVER]
    members = [node for node in members if node not in context.owing]
    old = [node for node in context.committee if node in members]
    others = [node for node in members if node not in old and _takes_part(core, node)]
    return tuple([*old, *others][: context.params.committee_size])


def _takes_part(core: CoreSnapshot, node: NodeId) -> bool:
    """Whether a member is heard in this round, or was present about as often as others: who only follows is neither."""
    if node == core.context.me or node in core.present:
        return True
    usual = max(account.availability for account in members_of(core.context.state))
    account = member_of(core.context.state, node)
    return account is not None and account.availability > 0 and 2 * account.availability >= usual


def _default_retired(core: CoreSnapshot, seen: Observation, committee: tuple[NodeId, ...]) -> tuple[NodeId, ...]:
    """Seats that are not connected, and members that are neither connected nor heard in this round; nobody who is.

    Every node keeps connections to the committee, so a seat without one is silent whatever it said earlier in the round.
    """
    context = core.context
    here = {*seen.connected, context.me, *committee}
    seats = [node for node in context.committee if node not in here]
    heard = core.present
    others = [a.node for a in members_of(context.state) if a.node not in here and a.node not in seats and a.node not in heard]
    return tuple(sorted([*seats, *others][:MAX_COMMITTEE]))


def _check_named(context: RoundContext, committee: tuple[NodeId, ...], retired: tuple[NodeId, ...]) -> None:
    """Refuse ids that can't be meant, naming each. Raises UsageError."""
    most = context.params.committee_size
    for node in (*committee, *retired):
        account = member_of(context.state, node)
        if account is None:
            raise _wrong(f"{node.hex()} is no member")
        if node in committee and account.punished_round != NEVER:
            raise _wrong(f"{short(node)} was punished in round {account.punished_round}: it gets no seat")
    if len(set(committee)) != len(committee):
        raise _wrong("a member stands twice in the committee")
    if not 1 <= len(committee) <= most:
        raise _wrong(f"a committee of this community has 1 to {most} seats, not {len(committee)}")
    both = set(committee) & set(retired)
    if both:
        raise _wrong(f"{short(min(both))} can't have a seat and be retired")
    if len(retired) > MAX_COMMITTEE:
        raise _wrong(f"at most {MAX_COMMITTEE} members can be retired at once, not {len(retired)}")


def _wrong(text: str) -> UsageError:
    return UsageError(text, hint="`bflc-cli members` lists who may be named", code="bad_argument")


# -- what speaks against it -----------------------------------------------------------------------------------------------


def _objection(held: RecoveryCertificate, inputs: PlanInput) -> str:
    """Why this node would not sign what other managers have, without being told to."""
    context, recovery = inputs.context, held.recovery
    try:
        check_recovery(context.head.state, recovery)
    except PeerError as error:
        return str(error)
    if held.proof is not None and (doubt := doubt_of(held.proof, known_epochs(inputs.core, ()))):
        return f"what it calls prepared can't be used: {doubt}"
    if rank_of(held.proof) < rank_of(inputs.found.proof):
        return "it leaves out what was found prepared"
    return _against(context, inputs.seen, recovery)


def _against(context: RoundContext, seen: Observation, recovery: Recovery) -> str:
    """What makes a recovery senseless as seen from here."""
    alive = {*seen.connected, context.me}
    seated, needed = sum(node in alive for node in recovery.committee), quorum(len(recovery.committee))
    if seated < needed:
        return f"only {seated} of its {len(recovery.committee)} seats are connected here, {needed} are needed to decide"
    living = sorted(alive & set(recovery.retired))
    if living:
        return f"it retires {_names(living)}, which is connected here"
    return ""


def _refusal(inputs: PlanInput, seats: tuple[SeatNow, ...], recovery: Recovery, objection: str) -> Refusal | None:
    """Why this node would not sign `recovery`, the reasons that nothing helps against first."""
    context, seen, request = inputs.context, inputs.seen, inputs.request
    if context.me not in context.state.managers:
        hint = f"the managers are {_names(context.state.managers)}"
        return Refusal("not_manager", "this node is no manager: its signature would count for nothing", hint, lasting=True)
    refused = inputs.refusal(recovery)
    if refused:
        return Refusal("refused", f"the recovery is not signed: {refused}", "look at it again with --dry-run", lasting=True)
    voting = sum(seat.votes for seat in seats)
    if voting >= context.q:
        return Refusal(
            "not_needed",
            f"{voting} of {len(seats)} seats are there and {context.q} decide: a recovery could undo what they decide",
            "find out why they don't (`bflc-cli round`); --force signs all the same",
        )
    if seen.ahead:
        return Refusal(
            "not_needed",
            f"{_names(sorted(seen.ahead))} say that round {context.round} is decided: this node has to catch up",
            "wait a moment; --force signs all the same",
        )
    against = objection or (_against(context, seen, recovery) if request.committee or request.retired else "")
    if against:
        return Refusal("doubtful", f"the recovery is not signed: {against}", "--force signs all the same")
    return None


def _warnings(inputs: PlanInput, recovery: Recovery, others: tuple[Pending, ...]) -> tuple[str, ...]:
    """What to think about before signing. `others`: pending recoveries beside the one that is proposed."""
    context, seen, found = inputs.context, inputs.seen, inputs.found
    texts = [_answers_text(context, found), *found.doubts]
    members = sum(1 for _ in members_of(context.state))
    reached = len(seen.connected) + 1
    if 2 * reached <= members:
        texts.append(f"this node sees {reached} of {members} members: it may be this node that is cut off, and not the others")
    if len(recovery.committee) < SAFE_SEATS:
        texts.append(f"a committee of {len(recovery.committee)} survives neither a liar nor a loss until the next round")
    texts += [
        f"{len(other.certificate.signatures)} managers have signed recovery {short(other.id)}, which is not what is proposed here"
        + (f": {other.objection}" if other.objection else "")
        for other in others
    ]
    return tuple(text for text in texts if text)


def _answers_text(context: RoundContext, found: Found) -> str:
    """What the answers of the old seats prove: whatever was decided had been prepared by q of them (design 6.8)."""
    answered = sum(node in found.answered for node in context.committee)
    if answered >= context.q:
        return ""
    seats, sure = len(context.committee), answered - faults(len(context.committee))
    start = f"{answered} of the {seats} old seats told what they had prepared"
    if sure <= 0:
        return (
            f"{start}: a block that the silent ones have committed could be missed and replaced by another. This is the one "
            "exception to nothing committed being lost: try to reach their operators first"
        )
    return (
        f"{start}: at least {sure} of these prepared whatever was committed, so nothing is missed as long as they tell the truth "
        "and have kept their disks; otherwise a committed block could be replaced by another"
    )


def _names(nodes: Iterable[NodeId]) -> str:
    return ", ".join(short(node) for node in nodes)
