"""Where the node stands, and what holds it up."""

from typing import Any, Final

from bflcd.api.schema.status import Activity, Role, Status
from bflcd.consensus.status import Phase
from bflcd.core.round.context import RoundContext
from bflcd.core.snapshot import CoreSnapshot
from bflcd.learn.health import Work, WorkHealth
from bflcd.ledger.alliance.parameters import changes
from bflcd.ledger.pace import too_short
from bflcd.ledger.quorum import leader
from bflcd.node.privacy.judging import noise_warnings
from bflcd.node.recovery.report import pending_warning
from bflcd.node.views.facts import NodeFacts
from bflcd.node.views.kicked import kick_warnings
from bflcd.node.views.members import training_view
from bflcd.node.views.money import dues_warnings
from bflcd.params import MILLION
from bflcd.types import Millis, NodeId, short
from bflcd.wire.blocks import model_height

MAX_NAMED: Final = 12
"""Nodes that one text names."""

_ACTIVITIES: Final = {
    Phase.COLLECTING: Activity.WAITING_FOR_CARDS,
    Phase.VIEW_CHANGE: Activity.VIEW_CHANGE,
    Phase.PROPOSING: Activity.PROPOSING,
    Phase.CHECKING: Activity.CHECKING,
    Phase.PREPARING: Activity.PREPARING,
    Phase.COMMITTING: Activity.COMMITTING,
    Phase.DECIDED: Activity.DECIDED,
}
"""What a member of the committee does once its card is sent."""

NOWHERE: Final[dict[str, Any]] = {
    "chain_id": "",
    "name": "",
    "role": Role.SYNCING,
    "task": "",
    "syncing": True,
    "height": 0,
    "round": 0,
    "last_round": 0,
    "done": False,
    "view": 0,
    "phase": Activity.WAITING_FOR_GENESIS,
    "head_hash": "",
    "trusted_head": "",
    "model_hash": "",
    "state_hash": "",
    "epoch": 0,
    "committee": [],
    "leader": "",
    "committee_size": 0,
    "places": 0,
    "members": 0,
    "peers": 0,
    "oldest_payload_round": 0,
    "waiting_for": "a peer that gives the genesis; check --bootstrap",
}
"""Where a node stands that is on no chain yet."""


def status_without_chain(facts: NodeFacts) -> Status:
    """Before the genesis is known."""
    return Status(**NOWHERE, **facts.here(), warnings=facts.warnings())


def status_of(core: CoreSnapshot, facts: NodeFacts, device: str, *, rows: int = 0) -> Status:
    """On a chain. `device`: where training and scoring run, empty while that is not known; `rows` to judge on, 0 likewise."""
    context, measures = core.context, facts.measures
    header, state, params = context.head_header, context.state, context.params
    first = measures.models.first
    return Status(
        **facts.here(),
        chain_id=state.chain.hex(),
        name=context.genesis.name,
        role=_role(core, facts),
        task=context.genesis.task.factory,
        syncing=core.syncing,
        height=header.height,
        round=context.round,
        last_round=params.last_round,
        done=context.finished,
        view=core.view,
        phase=activity(core, facts.work),
        head_hash=context.head_hash.hex(),
        trusted_head=f"{header.round}:{context.head_hash.hex()}",
        model_hash=context.head_blob.root.hex(),
        state_hash=header.model.state.hex() if header.model else "",
        epoch=state.epoch,
        committee=[node.hex() for node in state.committee],
        leader=leader(state.committee, core.view).hex(),
        committee_size=params.committee_size,
        places=params.places,
        members=len(context.members),
        peers=len(facts.peers.members()),
        prune_height=None if first is None else model_height(first, params.places),
        oldest_payload_round=measures.stats.oldest_payload,
        last_commit_age=measures.commit_age,
        accuracy=None if measures.accuracy is None else measures.accuracy[0],
        accuracy_round=None if measures.accuracy is None else measures.accuracy[1],
        worst_accuracy=None if measures.worst is None else measures.worst.accuracy / MILLION,
        worst_at=[] if measures.worst is None else [judge.hex() for judge in measures.worst.judges],
        held_out=params.validation_fraction / MILLION,
        test_accuracy=measures.test_accuracy,
        warnings=[
            *facts.warnings(),
            *_stalled(core, measures.commit_age),
            *measures.left_out.warnings(context),
            *_too_short(core),
            *noise_warnings(params, rows),
            *_recovering(core),
            *too_few(core),
            *kick_warnings(context, core.waiting),
            *dues_warnings(core.context, facts.config.node.fee_limit),
        ],
        changed=dict(changes(state, context.genesis.terms)),
        waiting_for=waiting_for(core),
        device=device,
        training=training_view(facts.training),
        not_training=[node.hex() for node in facts.not_training()],
        work_failures=facts.work.failures,
    )


def _role(core: CoreSnapshot, facts: NodeFacts) -> Role:
    if core.syncing:
        return Role.SYNCING
    if core.context.judges:
        return Role.COMMITTEE
    return Role.TRAINER if core.context.trains and facts.config.compute.train else Role.OBSERVER


def activity(core: CoreSnapshot, work: WorkHealth) -> Activity:
    """What the node does now; what fails is called so also while it is tried again."""
    if (aside := _aside(core)) is not None:
        return aside
    if core.decided:
        return Activity.FETCHING_SEGMENT
    if core.phase is None:
        if core.context.trains and work.fails(Work.TRAIN):
            return Activity.TRAINING_FAILS
        return Activity.TRAINING if core.training else Activity.WAITING_FOR_CERTIFICATE
    if not core.card_sent:
        if core.offers and work.fails(Work.SCORE):
            return Activity.SCORING_FAILS
        return Activity.SCORING if core.scoring else Activity.COLLECTING
    return _ACTIVITIES[core.phase]


def _aside(core: CoreSnapshot) -> Activity | None:
    """Why the node has no part in the round, or can't begin it."""
    if core.context.finished or core.context.me not in core.context.members:
        return Activity.IDLE
    if not core.started:
        return Activity.STARTING
    if core.syncing:
        return Activity.SYNCING
    if core.context.owes:
        return Activity.PAYMENT_DUE
    return None if core.model_held else Activity.FETCHING_MODEL


def missing(core: CoreSnapshot) -> list[NodeId]:
    """Nodes that something is awaited from, as far as this node can tell."""
    context = core.context
    if core.phase is None or context.finished or core.syncing:
        return []
    if not core.card_sent:
        return sorted(core.expected - {seen.offer.author for seen in core.offers})
    if len(core.cards) < context.q:
        return [node for node in context.committee if node not in core.cards]
    return list(core.awaited)


def waiting_for(core: CoreSnapshot) -> str:
    """Who is missing, in words; empty when all is well."""
    collecting = core.phase is not None and not core.card_sent and not core.context.finished
    if collecting and not core.expected:
        return "a trainer: no member that may train in this round is present and says that it trains"
    nodes = missing(core)
    if not nodes:
        return ""
    what = "an offer" if not core.card_sent else "a score card" if len(core.cards) < core.context.q else "a vote"
    return f"{what} of {_named(nodes)}"


def least_members(context: RoundContext) -> int:
    """Members with whom every seat has somebody and somebody trains."""
    return 1 if context.params.small_community else context.params.committee_size + 1


def too_few(core: CoreSnapshot) -> list[str]:
    """That members are missing, so that seats are empty or nobody trains."""
    members, least = len(core.context.members), least_members(core.context)
    if members >= least:
        return []
    return [f"{members} members are too few: {least} are needed; a manager admits somebody with `bflc-cli admit`"]


def longest_collection(core: CoreSnapshot) -> Millis:
    """How long cards of this round wait at most, milliseconds: as the deadline has grown only where a trainer is expected."""
    return core.context.collect_deadline if core.expected else core.context.params.collect_deadline


def _too_short(core: CoreSnapshot) -> list[str]:
    """That the deadline of collections has grown as far as it may, and most trainers need longer still."""
    if not too_short(core.context.state.pace):
        return []
    seconds = core.context.collect_deadline / 1000
    text = f"the training of most does not end within {seconds:.0f} s, the longest that rounds wait for it"
    return [f"{text}: managers set a longer collect_deadline, or trainers train on fewer rows"]


def _stalled(core: CoreSnapshot, commit_age: float | None = None) -> list[str]:
    """Once this process has waited in vain; for how long nobody has committed, the chain knows better (`commit_age`)."""
    context, age = core.context, core.at - core.opened
    if context.finished or core.syncing or age < longest_collection(core) + 10 * context.view_timeout:
        return []
    lasted = max(age / 1000, commit_age or 0.0)
    return [f"nothing was committed for {lasted:.0f} s; waiting for {waiting_for(core) or _unheard(core)}"]


def _recovering(core: CoreSnapshot) -> list[str]:
    text = pending_warning(core.recoveries, core.context.state.epoch)
    return [text] if text else []


def _unheard(core: CoreSnapshot) -> str:
    """What a node without a part in the decision waits for, and which members of the committee it has not heard in this round."""
    silent = [node for node in core.context.committee if node not in core.present and node != core.context.me]
    return f"a certificate; nothing was heard of {_named(silent)}" if silent else "a certificate"


def _named(nodes: list[NodeId]) -> str:
    return ", ".join(short(node) for node in nodes[:MAX_NAMED])
