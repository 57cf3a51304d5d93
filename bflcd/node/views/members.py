"""Who is in the community: its committee, its members, connected peers."""

from typing import Final

from bflcd.api.schema.members import CommitteeMember, CommitteeView, MemberView
from bflcd.api.schema.status import Peer, TrainingWord
from bflcd.core.snapshot import CoreSnapshot
from bflcd.crypto.identity import peer_id_of
from bflcd.ledger.election import seat_floor, seated_first
from bflcd.ledger.quorum import faults, leader, quorum
from bflcd.ledger.state import NEVER, Account, members_of
from bflcd.ledger.trust.doubts import LIMIT, doubts_count, is_doubted, rounds_out
from bflcd.net.peer import PeerInfo
from bflcd.params import MILLION
from bflcd.types import Round
from bflcd.wire.training import Training

_WORDS: Final = {
    Training.TRAINS: TrainingWord.TRAINS,
    Training.OBSERVES: TrainingWord.OBSERVES,
    Training.DATA: TrainingWord.DATA,
    Training.TASK: TrainingWord.TASK,
    Training.DEVICE: TrainingWord.DEVICE,
    Training.MEMORY: TrainingWord.MEMORY,
    Training.STORAGE: TrainingWord.STORAGE,
    Training.WORKER: TrainingWord.WORKER,
    Training.BEHIND: TrainingWord.BEHIND,
    Training.BUDGET: TrainingWord.BUDGET,
}


def committee_view(core: CoreSnapshot) -> CommitteeView:
    """The committee of the running round."""
    context = core.context
    balances = {account.node: account.balance for account in context.state.accounts}
    present = core.present | {context.me}
    model = context.head_header.model
    return CommitteeView(
        round=context.round,
        epoch=context.state.epoch,
        quorum=quorum(len(context.committee)),
        faults=faults(len(context.committee)),
        degraded=bool(model and model.degraded),
        members=[
            CommitteeMember(
                node_id=node.hex(),
                seat=seat,
                leader=node == leader(context.committee, core.view),
                present=node in present,
                balance=balances.get(node, 0),
                me=node == context.me,
            )
            for seat, node in enumerate(context.committee)
        ],
    )


def members_view(core: CoreSnapshot) -> list[MemberView]:
    """All members, sorted by id."""
    context = core.context
    state, me, params = context.state, context.me, context.params
    present = core.present | {me} | core.present_before
    floor, out = seat_floor(params, state), doubts_count(params)
    return [
        MemberView(
            node_id=account.node.hex(),
            balance=account.balance,
            packed_round=account.packed_round,
            packed_score=account.packed_score,
            seat_round=account.seat_round,
            availability=account.availability / MILLION,
            present=account.node in present,
            manager=account.node in state.managers,
            me=account.node == me,
            standing=_standing(account, state.round, owes=account.node in context.owing, doubts=out),
            reputation=account.reputation,
            in_debt=account.reputation < 0,
            refusals=account.refusals,
            rest_until=account.rest_round if account.rest_round > state.round else NEVER,
            doubt=account.doubt / LIMIT,
            sits_out_until=state.round + 1 + rounds_out(account) if out and is_doubted(account) else NEVER,
            seat_floor=floor,
            seated_first=seated_first(params, account, floor),
        )
        for account in members_of(state)
    ]


def peer_view(info: PeerInfo) -> Peer:
    """One open connection."""
    return Peer(
        node_id=info.node.hex(),
        peer_id=peer_id_of(info.node),
        address=info.address,
        inbound=info.inbound,
        latency_ms=info.latency_ms,
        round=info.round,
        height=info.height,
        score=info.score,
        version=info.version,
        last_seen_ms=info.last_seen_ms,
        clock_ahead_ms=info.clock_ahead_ms,
        training=None if info.training is None else training_view(info.training),
    )


def training_view(word: Training) -> TrainingWord:
    """What a node says of whether it trains."""
    return _WORDS[word]


def _standing(account: Account, round_: Round, *, owes: bool, doubts: bool) -> str:
    """The heaviest of what the ledger holds against a member: proved misbehaviour, that it was gone, what it owes and is left out
    for, doubt of its words where `doubts` count, a rest, a debt."""
    if account.punished_round != NEVER:
        return "punished"
    if account.retired_round != NEVER:
        return "retired"
    if owes:
        return "owes"
    if doubts and is_doubted(account):
        return "doubted"
    if account.rest_round > round_:
        return "resting"
    return "in debt" if account.reputation < 0 else "member"
