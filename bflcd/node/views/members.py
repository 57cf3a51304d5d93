"""Who is in the community: its committee, its members, connected peers."""

from typing import Final

from bflcd.api.schema.members import CommitteeMember, CommitteeView, MemberView
from bflcd.api.schema.status import Peer, TrainingWord
from bflcd.core.snapshot import CoreSnapshot
from bflcd.crypto.identity import peer_id_of
from bflcd.ledger.quorum import faults, leader, quorum
from bflcd.ledger.state import NEVER, Account, members_of
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
    state, me, late = core.context.state, core.context.me, core.context.owing
    present = core.present | {me} | core.present_before
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
            standing=_standing(account, state.round, owes=account.node in late),
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


def _standing(account: Account, round_: Round, *, owes: bool) -> str:
    """What the ledger holds against a member: proved misbehaviour weighs more than having been gone, that more than what it owes
    and is left out for, that more than a rest."""
    if account.punished_round != NEVER:
        return "punished"
    if account.retired_round != NEVER:
        return "retired"
    if owes:
        return "owes"
    return "resting" if account.rest_round > round_ else "member"
