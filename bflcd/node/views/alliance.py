"""The alliance as the API shows it: applicants, motions, who has gone, what waits for its block."""

from bflcd.api.schema.alliance import (
    AllianceView,
    ApplicantView,
    FormerMemberView,
    MotionView,
    OperationView,
    RollbackView,
    TermsView,
    VoucherView,
)
from bflcd.core.snapshot import CoreSnapshot
from bflcd.ledger.alliance.membership import membership_of
from bflcd.ledger.alliance.parameters import changes
from bflcd.ledger.operations.admitting import ADMIT
from bflcd.ledger.operations.application import expires
from bflcd.ledger.operations.motion import manager_quorum, motion_id
from bflcd.ledger.operations.open_motions import describe_motion
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.operations.vouching import standing_behind
from bflcd.ledger.state import NEVER, State, account_of, is_member
from bflcd.node.views.status import least_members
from bflcd.types import NodeId
from bflcd.wire.operation import Operation, operation_id


def alliance_view(core: CoreSnapshot) -> AllianceView:
    """All of it, by the ledger of the running round."""
    context = core.context
    state, terms = context.state, context.state.terms
    return AllianceView(
        round=context.round,
        membership=membership_of(state, context.me)[0].value,
        members=len(context.members),
        least=least_members(context),
        managers=[node.hex() for node in state.managers],
        i_am_manager=context.me in state.managers,
        my_operations=0 if (account := account_of(state, context.me)) is None else account.operations,
        terms=TermsView(
            admission=min(terms.admission, len(state.managers)),
            quorum=manager_quorum(state),
            motion_rounds=terms.motion_rounds,
            application_rounds=terms.application_rounds,
        ),
        changed=dict(changes(state, context.genesis.terms)),
        applicants=[
            ApplicantView(
                node_id=one.node.hex(),
                round=one.round,
                note=one.note,
                expires=one.round + terms.application_rounds,
                refused=one.refused_round != NEVER,
                reason=one.reason,
            )
            for one in state.applicants
        ],
        motions=_motions(state),
        former=[
            FormerMemberView(
                node_id=account.node.hex(),
                balance=account.balance,
                standing=membership_of(state, account.node)[0].value,
                round=max(account.kicked_round, account.left_round),
                successor="" if account.successor is None else account.successor.hex(),
                heir="" if account.heir is None else account.heir.hex(),
            )
            for account in state.accounts
            if not is_member(account)
        ],
        waiting=[operation_view(operation, context.me) for operation in core.waiting],
        vouchers=[
            VoucherView(
                key=one.key.hex(),
                approvals=[node.hex() for node in standing_behind(state, one)],
                needed=ADMIT.needed(state),
                until=one.until,
            )
            for one in state.vouchers
        ],
        rollback=None
        if (last := state.rollback) is None
        else RollbackView(round=last.round, target=last.target, model=last.model.root.hex()),
    )


def operation_view(operation: Operation, me: NodeId) -> OperationView:
    """One that waits."""
    return OperationView(
        id=operation_id(operation).hex(),
        kind=operation.kind,
        author=operation.author.hex(),
        number=kind_of(operation).number(operation) or 0,
        expires=expires(operation) or 0,
        text=kind_of(operation).describe(operation),
        mine=operation.author == me,
    )


def _motions(state: State) -> list[MotionView]:
    views = []
    for motion in state.motions:
        target, needed, text = describe_motion(state, motion)
        views.append(
            MotionView(
                id=motion_id(motion.kind, motion.content).hex(),
                kind=motion.kind,
                node_id="" if target is None else target.hex(),
                text=text,
                opener=motion.opener.hex(),
                approvals=[node.hex() for node in motion.approvals],
                needed=needed,
                opened=motion.opened,
                expires=motion.opened + state.terms.motion_rounds,
            )
        )
    return views
